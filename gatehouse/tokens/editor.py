"""Changes the tokens file: every comment stays, and so does every line outside the change.

A change is a few whole lines, which `toml_places` finds: new ones are put in, a table is taken out, or
a table is cut out, changed by tomlkit, and put back. tomlkit gets one table at a time: in a whole file
it takes the comment above a table for the end of the table before, and so drops the comment with that
table, or writes in between.

The editor writes nothing that would be refused, or would mean anything but the requested change; it
leaves a faulty file alone. The file is replaced at once, so that all readers find the old file or the
new one, whatever ends this program. Two programs take turns.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from gatehouse.tokens.reader import (
    HEADER_ONLY,
    KINDS,
    MAX_BYTES,
    TokensError,
    parse_tokens,
    read_text,
)
from gatehouse.tokens.toml_places import Places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tomlkit.items import AoT, Table

    from gatehouse.tokens.reader import Token, TokenValue
    from gatehouse.tokens.toml_places import Place

HEADER = """\
# The named tokens of the gate: who may come in, and what they may do there. Change this file by hand, or
# with `python run.py tokens`; docs/tokens.md says what may stand here. It holds digests, never a value.
"""


class NotChangedError(Exception):
    """The thing to change is missing, or the thing to add exists; the text says what to do instead."""


def add(path: Path, token: Token) -> None:
    """Put a new token at the end of the file; make the file if it is missing.

    Raises NotChangedError if the name exists, TokensError if the file cannot be used.
    """
    with _changing(path, new=HEADER) as change:
        if any(token.name == other.name for other in change.tokens):
            raise NotChangedError(
                f"{token.name}: is there already; this gives it a new value: "
                f"python run.py tokens rotate {token.name}"
            )
        change.append(_token_text(token))
        change.tokens = (*change.tokens, token)


def rotate(path: Path, name: str, fresh: TokenValue, *, now: datetime, end: datetime) -> Token:
    """Give a token a fresh value, let its others end at `end`, and remove those that have expired by `now`.

    A value that ends earlier keeps its end, and one that would begin only at `end` or later is removed,
    too: from `end` on there is only the fresh one. Returns the changed token. Raises NotChangedError if
    there is no such name, TokensError if the file cannot be used.
    """
    with _changing(path) as change:
        token = change.token(name)
        kept: list[TokenValue] = []
        for number, value in enumerate(token.values):
            place = ("tokens", name, "values", number)
            has_expired = value.expires and value.expires <= now
            begins_late = value.not_before and value.not_before >= end
            if has_expired or begins_late:
                change.remove(place)
            elif value.expires and value.expires <= end:
                kept.append(value)
            else:
                change.set_expiry(place, end)
                kept.append(replace(value, expires=end))
        change.insert_after(("tokens", name), _value_text(name, fresh))
        return change.put(token, replace(token, values=(*kept, fresh)))


def revoke(path: Path, name: str, value_id: str = "") -> None:
    """Take a token out of the file, or only the value whose digest begins with `value_id` (hex).

    Raises NotChangedError if there is no such name, not exactly one such value, or no other value;
    TokensError if the file cannot be used.
    """
    with _changing(path) as change:
        token = change.token(name)
        if not value_id:
            change.remove(("tokens", name))
            change.tokens = tuple(other for other in change.tokens if other is not token)
            return
        number = _number_of(token, value_id)
        if len(token.values) == 1:
            raise NotChangedError(
                f"{name}: has only this value; this revokes the name: "
                f"python run.py tokens revoke {name}"
            )
        change.remove(("tokens", name, "values", number))
        left = (*token.values[:number], *token.values[number + 1 :])
        change.put(token, replace(token, values=left))


def _number_of(token: Token, value_id: str) -> int:
    """The number of the value whose digest begins with `value_id`."""
    found = [
        number
        for number, value in enumerate(token.values)
        if value.digest.hex().startswith(value_id.lower())
    ]
    if len(found) != 1:
        ids = ", ".join(value.id for value in token.values)
        words = "two values begin so, write more of the digest" if found else "has no such value"
        raise NotChangedError(f"{token.name}: {words}; it has: {ids}")
    return found[0]


class _Change:
    """A change in the making: the lines of the file, and the tokens that the file will have."""

    def __init__(self, text: str, name: str) -> None:
        self.tokens = parse_tokens(text, name)
        self._name = name
        self._newline = "\r\n" if "\r\n" in text else "\n"
        if text and not text.endswith("\n"):
            text += self._newline
        # A removed line becomes an empty text, so that the others keep their numbers.
        self._lines = re.findall(r".*\n", text)
        self._statements = Places(text).statements

    def token(self, name: str) -> Token:
        """The token of that name. Raises NotChangedError."""
        for token in self.tokens:
            if token.name == name:
                return token
        raise NotChangedError(
            f"{name}: there is no such name; this shows those that are: python run.py tokens list"
        )

    def put(self, old: Token, new: Token) -> Token:
        """From now on, expect `new` in the place of `old`."""
        self.tokens = tuple(new if token is old else token for token in self.tokens)
        return new

    def append(self, text: str) -> None:
        """Put lines at the end of the file."""
        self._lines.append(self._block(text) if self._lines else text)

    def insert_after(self, place: Place, text: str) -> None:
        """Put lines below the last line of `place`."""
        _, last = self._runs(place)[-1]
        self._lines[last - 1] += self._block(text)

    def remove(self, place: Place) -> None:
        """Remove the lines of `place`, with the comments among them."""
        for first, last in self._runs(place):
            follows = self._lines[last : last + 1] or ["\n"]
            above = first - 1 if first > 1 else first
            if not self._lines[above - 1].strip() and not follows[0].strip():
                first = above  # one of two blank lines that would meet
            self._lines[first - 1 : last] = [""] * (last - first + 1)

    def set_expiry(self, place: Place, end: datetime) -> None:
        """Let the value at `place` expire at `end`."""
        first, last = self._runs(place)[0]
        document = tomlkit.parse("".join(self._lines[first - 1 : last]))
        table: Any = document
        for key in (*place[:-1], 0):  # in the cut, the table is the only one
            table = table[key]
        table["expires"] = end
        text = re.sub(r"\r?\n", self._newline, document.as_string())
        self._lines[first - 1 : last] = [text, *[""] * (last - first)]

    def result(self) -> bytes:
        """The file's new content. Raises TokensError if that would not mean the change."""
        text = "".join(self._lines)
        text = text if text.strip() else HEADER  # an empty file would look half saved
        data = text.encode()
        if len(data) > MAX_BYTES:
            raise TokensError([f"{self._name}: would become larger than {MAX_BYTES} bytes"])
        with suppress(TokensError):
            if parse_tokens(text) == self.tokens:
                return data
        raise self._by_hand()

    def _runs(self, place: Place) -> list[tuple[int, int]]:
        """First and last line of each unbroken run of statements about `place`."""
        runs: list[tuple[int, int]] = []
        grouped = groupby(self._statements, lambda each: each.path[: len(place)] == place)
        for is_about, group in grouped:
            statements = list(group)
            if is_about:
                runs.append((statements[0].first, statements[-1].last))
        if not runs:  # it is part of a larger statement
            raise self._by_hand()
        return runs

    def _block(self, text: str) -> str:
        return ("\n" + text).replace("\n", self._newline)

    def _by_hand(self) -> TokensError:
        words = (
            "only tables written as [tokens.NAME] and [[tokens.NAME.values]] can be changed here"
        )
        return TokensError([f"{self._name}: {words}; change this one by hand"])


def _token_text(token: Token) -> str:
    """A new token as TOML."""
    table = tomlkit.table(is_super_table=False)
    if token.note:
        table["note"] = token.note
    for kind in KINDS:
        globs: tuple[str, ...] | None = getattr(token.grants, kind)
        if globs is not None:
            table[kind] = list(globs)
    if token.rate:
        table["rate"] = token.rate
    if token.lanes != HEADER_ONLY:
        table["lanes"] = sorted(token.lanes)
    if not table:
        table.add(tomlkit.nl())
    table["values"] = _values(*token.values)
    return _toml(token.name, table)


def _value_text(name: str, value: TokenValue) -> str:
    """A new value of a token as TOML."""
    table = tomlkit.table(is_super_table=True)
    table["values"] = _values(value)
    return _toml(name, table)


def _values(*values: TokenValue) -> AoT:
    tables = tomlkit.aot()
    for value in values:
        table = tomlkit.table()
        table["digest"] = f"sha256:{value.digest.hex()}"
        for key in ("created", "not_before", "expires"):
            moment: datetime | None = getattr(value, key)
            if moment is not None:
                table[key] = moment
        tables.append(table)
    return tables


def _toml(name: str, table: Table) -> str:
    tokens = tomlkit.table(is_super_table=True)
    tokens[name] = table
    document = tomlkit.document()
    document["tokens"] = tokens
    return document.as_string().strip() + "\n"


@contextmanager
def _changing(path: Path, new: str | None = None) -> Iterator[_Change]:
    """A change to the file, which is written when the block ends well.

    A missing file begins with `new`; without `new`, the file must exist. Raises TokensError.
    """
    target = Path(os.path.realpath(path))  # so that a link stays one
    try:
        with _locked(target):
            is_new = new is not None and not target.exists()
            change = _Change(str(new) if is_new else read_text(path), str(path))
            yield change
            _write(target, change.result())
    except FileNotFoundError:
        raise TokensError([f"{path}: its folder does not exist; make that first"]) from None
    except OSError as error:
        raise TokensError([f"{path}: cannot be changed ({error.strerror})"]) from None


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Wait for other programs that change the file, and keep them waiting.

    The lock is a file of its own, because the tokens file is replaced. The lock file stays, because
    another program may be waiting for it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(f"{target}.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(target: Path, data: bytes) -> None:
    """Put a new file in the place of the old one, at once, with its mode and owner."""
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)  # a killed program may have left it
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _resemble(descriptor, target)
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    # The new name lasts only once the folder is on the disk, too: fsync(2).
    with suppress(OSError):  # the change is made; not every folder can be opened for this
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _resemble(descriptor: int, target: Path) -> None:
    """Give a new file the owner and mode of the old one, so that its readers can read it."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)
