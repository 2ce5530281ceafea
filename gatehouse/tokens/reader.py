"""Named tokens: the tokens file is read as a whole, or refused as a whole in words.

The file holds no value of a token, only digests of values; nobody can come in by reading it. A file
with one fault is refused with all its tokens, since nobody means half of a file. Each fault is told
with its line, and repeats nothing that may be a secret.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from gatehouse.http.credentials import LANES, Lane
from gatehouse.http.mcp import Kind
from gatehouse.identity.grants import EVERYTHING, Grants
from gatehouse.identity.rate import parse_rate
from gatehouse.records.redact import PREFIX
from gatehouse.tokens.toml_places import Places

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

    from gatehouse.tokens.toml_places import Place

T = TypeVar("T")

HEADER_ONLY: frozenset[Lane] = frozenset({"header"})

KINDS: tuple[Kind, ...] = get_args(Kind)
TOKEN_KEYS = ("note", *KINDS, "rate", "lanes", "values")
VALUE_KEYS = ("digest", "created", "not_before", "expires")

MAX_BYTES = 2**20
"""The size of a tokens file: room for some thousand names, and no way to fill the memory."""

READ_TIMES = 5
"""How many times a file is read that changes while it is read."""

# Half a value is blanked, too: one that is cut shorter still leaves 120 unknown bits or more.
VALUE_PATTERN = re.compile(PREFIX + r"[A-Za-z0-9_-]{24,}")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RESERVED = "default"  # what MCP_AUTH_TOKEN is called in the log
DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")

CLEAR = (
    "holds the value of a token in clear, but only digests belong here. Take it out, and make a new "
    "token instead: python run.py tokens add NAME"
)


class TokensError(Exception):
    """The tokens file cannot be used. `faults` has one sentence for each fault, with its line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class TokenValue:
    """One value of a token, known by its digest (32 bytes), and the times when it is good, in UTC."""

    digest: bytes = field(repr=False)
    created: datetime | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    # The same as Unix time, because every request asks.
    _begins: float = field(init=False, repr=False, compare=False)
    _ends: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        begins = self.not_before.timestamp() if self.not_before else -inf
        ends = self.expires.timestamp() if self.expires else inf
        object.__setattr__(self, "_begins", begins)
        object.__setattr__(self, "_ends", ends)

    @property
    def id(self) -> str:
        """The name of this value for people: the first 8 hex digits of its digest."""
        return self.digest.hex()[:8]

    def valid_at(self, now: float) -> bool:
        """True if it is good at that Unix time: from `not_before` on, and before `expires`."""
        return self._begins <= now < self._ends


@dataclass(frozen=True, slots=True)
class Token:
    """A name, its values, and what they may do. `rate` may be empty: no rate."""

    name: str
    values: tuple[TokenValue, ...]
    grants: Grants = EVERYTHING
    rate: str = ""
    lanes: frozenset[Lane] = HEADER_ONLY
    note: str = ""


def make_value() -> str:
    """A new value of a token: a prefix and 43 URL-safe characters, 256 bits of randomness."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(value: str | bytes) -> bytes:
    """The SHA-256 digest (32 bytes) by which a value is known."""
    return sha256(value.encode() if isinstance(value, str) else value).digest()


def check_name(name: str) -> None:
    """Raise ValueError if a token cannot have this name, in words that do not repeat it."""
    if VALUE_PATTERN.search(name):
        raise ValueError("this looks like the value of a token; what is wanted is its name")
    if not NAME.fullmatch(name):
        raise ValueError(
            "a name has 1 to 64 of A-Z, a-z, 0-9, _ and -, and begins with a letter or a digit"
        )
    if name == RESERVED:
        raise ValueError(f"{RESERVED} is the name of MCP_AUTH_TOKEN; choose another one")


def load_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in the file, in its order; none if it is empty. Raises TokensError."""
    return parse_tokens(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of a tokens file, line ends as they are. Raises TokensError."""
    data, _ = read_data(path)
    return as_text(path, data)


def read_data(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """The content of a tokens file, and its stamp: the file's identity, size and dates. Raises TokensError.

    A file that is being written while it is read is read again, READ_TIMES at most.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device may have effects
            raise TokensError([f"{path}: is not a regular file"])
        # The path may be a pipe by now, and opening that could take for ever, too.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
            data, stamp = _read_steadily(path, file)
    except FileNotFoundError:
        raise TokensError(
            [f"{path}: there is no such file; this makes it: python run.py tokens add NAME"]
        ) from None
    except OSError as error:
        raise TokensError([f"{path}: cannot be read ({error.strerror})"]) from None
    if len(data) > MAX_BYTES:
        raise TokensError([f"{path}: is larger than {MAX_BYTES} bytes"])
    return data, stamp


def _read_steadily(path: Path, file: FileIO) -> tuple[bytes, tuple[int, ...]]:
    for _ in range(READ_TIMES):
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise TokensError([f"{path}: is not a regular file"])
        file.seek(0)
        data = b""
        while len(data) <= MAX_BYTES and (more := file.read(MAX_BYTES + 1 - len(data))):
            data += more
        stamp = _stamp(status)
        if stamp == _stamp(os.fstat(file.fileno())):
            return data, stamp
    raise TokensError([f"{path}: is being written"])


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def as_text(path: Path, data: bytes) -> str:
    """The data as text. Raises TokensError if it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TokensError([f"{path}, line {line}: is not UTF-8"]) from None


def parse_tokens(text: str, name: str = "tokens.toml") -> tuple[Token, ...]:
    """The tokens in the text of a tokens file, in its order.

    Raises TokensError with every fault that can be told at once, which calls the file `name`.
    """
    reader = Reader()
    tokens = reader.read(text)
    if reader.faults:
        raise TokensError(
            [f"{name}{f', line {line}' if line else ''}: {words}" for line, words in reader.faults]
        )
    return tokens


class Reader:
    """Reads one text. Faulty parts are left out of the result, and told in `faults`."""

    def __init__(self) -> None:
        self._faults: set[tuple[int, str]] = set()
        self._clear: set[int] = set()
        self._places = Places("")
        self._seen: dict[bytes, Place] = {}

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Line and sentence of each fault, in the order of the lines; line 0 is the whole file."""
        # If a value stands there in clear, nothing else matters.
        others = [fault for fault in self._faults if fault[0] not in self._clear]
        return sorted([*others, *((line, CLEAR) for line in self._clear)])

    def read(self, text: str) -> tuple[Token, ...]:
        """The tokens of `text`. Use them only if there are no `faults` then."""
        for line, content in enumerate(text.split("\n"), 1):
            if VALUE_PATTERN.search(content):  # in a comment, too
                self._clear.add(line)
        document = self._document(text)
        self._check_keys((), document, ("tokens",))
        named: dict[str, Any] = self._get((), document, "tokens", _table, {})
        return tuple(self._token(name, table) for name, table in named.items())

    def _document(self, text: str) -> dict[str, Any]:
        try:
            document = tomllib.loads(text)
            self._places = Places(text)
        except tomllib.TOMLDecodeError as error:
            self._faults.add(_syntax_fault(str(error), text))
        except RecursionError:
            self._faults.add((0, "lists are nested too deeply"))
        except ValueError:  # Python's own, for a number of thousands of digits
            self._faults.add((0, "a number is too long"))
        else:
            return document
        return {}

    def _token(self, name: str, table: Any) -> Token:
        path: Place = ("tokens", name)
        try:
            check_name(name)
        except ValueError as error:
            self._fault(path, str(error))
        if not isinstance(table, dict):
            self._fault(path, "must be a table: [tokens.NAME]")
            return Token(name, ())
        self._check_keys(path, table, TOKEN_KEYS)
        values: list[dict[str, Any]] = self._get(
            path, {"values": [], **table}, "values", _tables, []
        )
        return Token(
            name=name,
            values=tuple(
                self._value((*path, "values", number), value) for number, value in enumerate(values)
            ),
            grants=Grants(**{kind: self._get(path, table, kind, _globs, None) for kind in KINDS}),
            rate=self._get(path, table, "rate", _rate, ""),
            lanes=self._get(path, table, "lanes", _lanes, HEADER_ONLY),
            note=self._get(path, table, "note", _text, ""),
        )

    def _value(self, path: Place, table: dict[str, Any]) -> TokenValue:
        if "value" in table:
            self._clear.add(self._places.line_of((*path, "value")))
        self._check_keys(path, table, (*VALUE_KEYS, "value"))
        value = TokenValue(
            digest=self._get(path, {"digest": "", **table}, "digest", _digest, b""),
            created=self._get(path, table, "created", _time, None),
            not_before=self._get(path, table, "not_before", _time, None),
            expires=self._get(path, table, "expires", _time, None),
        )
        if value.not_before and value.expires and value.not_before >= value.expires:
            self._fault((*path, "expires"), "expires: must be later than not_before")
        first = self._seen.setdefault(value.digest, path) if value.digest else path
        if first != path:
            line = self._places.line_of((*first, "digest"))
            self._fault(
                (*path, "digest"), f"digest: stands in line {line} already; a value has one name"
            )
        return value

    def _get(
        self, path: Place, table: dict[str, Any], key: str, convert: Callable[[Any], T], default: T
    ) -> T:
        """The checked value of `key` in the table at `path`; `default` if it is missing or faulty."""
        if key not in table:
            return default
        try:
            return convert(table[key])
        except ValueError as error:
            self._fault((*path, key), f"{key}: {error}")
            return default

    def _check_keys(self, path: Place, table: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in table.keys() - set(known):
            names = ", ".join(name for name in known if name != "value")
            self._fault(
                (*path, key), f"{shown(key)}: is not known here; what may be here is: {names}"
            )

    def _fault(self, path: Place, words: str) -> None:
        self._faults.add((self._places.line_of(path), words))


# Checks of a key's value: each raises ValueError in words that complete «KEY: ...».


def _table(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("must be tables, one for each name: [tokens.NAME]")
    return given


def _tables(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise ValueError("must be tables, with two pairs of brackets: [[tokens.NAME.values]]")
    if not given:
        raise ValueError("there are none; each is a table, [[tokens.NAME.values]], with a digest")
    return given


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError("must be a text in quotes")
    return given


def _globs(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(glob, str) for glob in given):
        raise ValueError('must be a list of globs in quotes, such as ["list_*", "get_item"]')
    if not all(glob and glob.strip() == glob for glob in given):
        raise ValueError("a glob is empty, or has a blank at its end, and would match nothing")
    return tuple(given)


def _rate(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError('must be a text in quotes, such as "60/min, burst 20"')
    parse_rate(given)
    return given


def _lanes(given: Any) -> frozenset[Lane]:
    lanes = [lane for lane in LANES if isinstance(given, list) and lane in given]
    if not lanes or not all(lane in lanes for lane in given):
        raise ValueError('must be a list of "header", "query", or both')
    return frozenset(lanes)


def _digest(given: Any) -> bytes:
    written = DIGEST.fullmatch(given) if isinstance(given, str) else None
    if not written:
        raise ValueError("must be the digest of a value, sha256: and 64 hex digits, in quotes")
    return bytes.fromhex(written[1])


def _time(given: Any) -> datetime:
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise ValueError(
            "must be a date and time with an offset, without quotes, such as 2026-11-24T12:00:00Z"
        )
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("is too far away") from None


def shown(key: str) -> str:
    """An unknown key as a fault tells it: only if it is too short and plain to be a secret."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,24}", key) else "a key"


def _syntax_fault(message: str, text: str) -> tuple[int, str]:
    """Line and words for a fault that `tomllib` tells; tomllib repeats keys of the file, and we do not."""
    if text.startswith("\ufeff"):
        return 1, "begins with a byte order mark; save it as UTF-8 without one"
    said = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL
    )
    words, line = (said[1], said[2]) if said else ("", "1")
    if words.startswith(("Cannot", "Duplicate")):
        words = "the same table or key is there twice, or is one thing here and another above"
    else:
        words = f"is not valid TOML ({words})"
    return int(line or text.rstrip("\n").count("\n") + 1), words
