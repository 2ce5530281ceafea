"""Changes the tokens file: every comment stays, and so does every line outside the change.

A change is a few whole lines, which `toml_places` finds: new ones are put in, a table is taken out, or
a table is cut out, changed by tomlkit, and put back. tomlkit gets one table at a time: in a whole file
it takes the comment above a table for the end of the table before, and so drops the comment with that
table, or writes in between.

The editor writes nothing that would be refused, or would mean anything but the requested change; it
leaves a faulty file alone.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from gatehouse import advice
from gatehouse.tokens.file import MAX_BYTES, TokensError, expect_to_write, locked, read_text, write
from gatehouse.tokens.reader import parse_contents
from gatehouse.tokens.token import HEADER_ONLY, KINDS
from gatehouse.tokens.toml_places import Places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tomlkit.items import AoT, Table

    from gatehouse.tokens.token import Token
    from gatehouse.tokens.toml_places import Place
    from gatehouse.tokens.value import TokenValue

HEADER = """\
# The named tokens of the gate: who may come in, and what they may do there. Change this file by hand, or
# with `python run.py tokens`; docs/tokens.md says what may stand here. It holds digests, never a value.
"""


class NotChangedError(Exception):
    """The thing to change is missing, or the thing to add exists: `words` say so, and `remedy` names a command."""

    def __init__(self, words: str, remedy: str = "") -> None:
        super().__init__(f"{words}; {remedy}" if remedy else words)
        self.words, self.remedy = words, remedy


class Change:
    """A change in the making: the lines of the file, and the tokens that the file will have."""

    def __init__(self, text: str, name: str) -> None:
        contents = parse_contents(text, name)
        self.tokens = contents.tokens
        self._others = replace(contents, tokens=())
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
            f"{name}: there is no such name", f"this shows those that are: {advice.list_tokens()}"
        )

    def expect(self, old: Token, *new: Token) -> None:
        """From now on, expect `new` in the place of `old`; nothing if that is to go."""
        at = self.tokens.index(old)
        self.tokens = (*self.tokens[:at], *new, *self.tokens[at + 1 :])

    def append(self, token: Token) -> None:
        """Put a new token at the end of the file, and expect it there."""
        text = _token_text(token)
        self._lines.append(self._block(text) if self._lines else text)
        self.tokens = (*self.tokens, token)

    def append_value(self, name: str, value: TokenValue) -> None:
        """Put a new value below the last line of a token."""
        _, last = self._runs(("tokens", name))[-1]
        self._lines[last - 1] += self._block(_value_text(name, value))

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
            raise TokensError(f"{self._name}: would become larger than {MAX_BYTES} bytes")
        with suppress(TokensError):
            if parse_contents(text) == replace(self._others, tokens=self.tokens):
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
        return TokensError(f"{self._name}: {words}; change this one by hand")


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
        table["rate"] = str(token.rate)
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
def changing(path: Path, *, may_be_new: bool = False) -> Iterator[Change]:
    """A change to the file, which is written when the block ends well. Raises TokensError.

    With `may_be_new`, a missing file is made.
    """
    target = _target_of(path)
    with _worded(path), locked(target):
        is_new = may_be_new and not target.exists()
        change = Change(HEADER if is_new else read_text(path), str(path))
        yield change
        write(target, change.result())


def make_file(path: Path) -> None:
    """Make a file without tokens; one that is there stays as it is. Raises TokensError."""
    with changing(path, may_be_new=True):
        pass


def expect_to_change(path: Path) -> None:
    """Raise the TokensError with which a change of the file would end, as far as that can be told without one."""
    with _worded(path):
        expect_to_write(_target_of(path))


def _target_of(path: Path) -> Path:
    """The file itself, so that a link to it stays one."""
    return Path(os.path.realpath(path))


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    """Make TokensError of an OSError."""
    try:
        yield
    except FileNotFoundError:
        raise TokensError(f"{path}: its folder does not exist; make that first") from None
    except OSError as error:
        about = f": {error.filename}" if error.filename else ""
        denied = isinstance(error, PermissionError)
        rights = f"; let UID {os.geteuid()} write to the folder" if denied else ""
        raise TokensError(f"{path}: cannot be changed ({error.strerror}{about}){rights}") from None
