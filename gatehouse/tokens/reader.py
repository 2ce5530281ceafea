"""Named tokens: the tokens file is read as a whole, or refused as a whole in words.

The file holds no value of a token, only digests of values; nobody can come in by reading it. A file
with one fault is refused with all its tokens, since nobody means half of a file. Each fault is told
with its line, and repeats nothing that may be a secret.
"""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from gatehouse import advice
from gatehouse.http.credentials import LANES, Lane
from gatehouse.identity.grants import by_kind
from gatehouse.identity.rate import RateOrOff, parse_rate_or_off
from gatehouse.tokens.file import TokensError, read_text
from gatehouse.tokens.moments import beginning_of, end_of
from gatehouse.tokens.token import HEADER_ONLY, KINDS, Token, check_name
from gatehouse.tokens.toml_places import Places
from gatehouse.tokens.value import VALUE_PATTERN, TokenValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gatehouse.tokens.toml_places import Place

T = TypeVar("T")

TOKEN_KEYS = ("note", *KINDS, "rate", "lanes", "values")
VALUE_KEYS = ("digest", "created", "not_before", "expires")

DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")

CLEAR = (
    "holds the value of a token in clear, but only digests belong here. Take it out, and make a new token "
    f"instead: {advice.add_token()}"
)


def load_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in the file, in its order; none if it is empty. Raises TokensError."""
    return parse_tokens(read_text(path), str(path))


def parse_tokens(text: str, name: str = "tokens.toml") -> tuple[Token, ...]:
    """The tokens in the text of a tokens file, in its order.

    Raises TokensError with every fault that can be told at once, which calls the file `name`.
    """
    reader = Reader()
    tokens = reader.read(text)
    if reader.faults:
        raise TokensError(
            *(f"{name}{f', line {line}' if line else ''}: {words}" for line, words in reader.faults)
        )
    return tokens


class Reader:
    """Reads one text. It leaves faulty parts out of the result, and tells them in `faults`."""

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
            grants=by_kind({kind: self._get(path, table, kind, _globs, None) for kind in KINDS}),
            rate=self._get(path, table, "rate", _rate, None),
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
            expires=self._get(path, table, "expires", _end, None),
        )
        if value.not_before and value.expires and value.not_before >= value.expires:
            self._fault((*path, "expires"), "expires: must be later than not_before")
        first = self._seen.setdefault(value.digest, path) if value.digest else path
        if first != path:
            line = self._places.line_of((*first, "digest"))
            self._fault(
                (*path, "digest"), f"digest: is in line {line} already; a value belongs to one name"
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
            words = f"is not known here; this place may have: {names}"
            if key in VALUE_KEYS and known is TOKEN_KEYS:
                words = "belongs to a value; put it below [[tokens.NAME.values]]"
            elif key in TOKEN_KEYS and path:
                words = "belongs to the token; put it below [tokens.NAME], above its values"
            self._fault((*path, key), f"{shown(key)}: {words}")

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
        raise ValueError("a glob is empty, or begins or ends with a blank, and would match nothing")
    return tuple(given)


def _rate(given: Any) -> RateOrOff | None:
    if not isinstance(given, str):
        raise ValueError('must be a text in quotes, such as "60/min, burst 20", or "off"')
    return parse_rate_or_off(given)


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


def _time(given: Any, of_day: Callable[[date], datetime] = beginning_of) -> datetime:
    if not isinstance(given, date) or (isinstance(given, datetime) and given.tzinfo is None):
        raise ValueError(
            "must be a date and time with an offset, or a date, without quotes, such as 2026-12-24T12:00:00Z or "
            "2026-12-24"
        )
    try:
        return given.astimezone(UTC) if isinstance(given, datetime) else of_day(given)
    except OverflowError:
        raise ValueError("is too far away") from None


def _end(given: Any) -> datetime:
    return _time(given, end_of)


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
        words = "this table or key is in the file twice, or is one thing here and another above"
    else:
        words = f"is not valid TOML ({words})"
    return int(line or text.rstrip("\n").count("\n") + 1), words
