"""Finds the lines of tables and keys in a TOML text, for faults and for edits; `tomllib` does not tell them.

`tomllib` has read the text before, so it is known to be valid, and little remains to be understood: see
«Keys» and «Table» in TOML's specification.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str | int, ...]
"""The keys and numbers that lead to a thing: `("tokens", "alice", "values", 0, "digest")`."""

PIECE = re.compile(
    r'''
      (?P<string>  """(?:\\.|[^\\])*?"{3,5} | \'{3}.*?\'{3,5} | "(?:\\.|[^"\\])*" | '[^']*' )
    | (?P<newline> (?:\#[^\n]*)?\n | \#[^\n]*\Z )
    | (?P<mark>    [][{}=,.] )
    | (?P<bare>    [^][{}=,.\s\#"']+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A string, an end of line, one of the marks or a bare word, with its first and last line."""

    kind: str
    text: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The head of a table, or a key with its value: its place, and its lines."""

    path: Place
    first: int
    last: int
    is_head: bool


class Places:
    """The lines of every table and key in a valid TOML text, counted from 1."""

    def __init__(self, text: str) -> None:
        self.statements: list[Statement] = []
        self._lines: dict[Place, int] = {}
        self._counts: dict[Place, int] = {}  # the number of the last table in each list
        self._pieces = list(_pieces(text))
        self._at = 0
        table: Place = ()
        while (piece := self._next).kind != "end":
            if piece.kind == "newline":
                self._take()
                continue
            is_head = piece.text == "["
            path = self._head() if is_head else self._pair(table)
            table = path if is_head else table
            last = self._pieces[self._at - 1].last
            self.statements.append(Statement(path, piece.first, last, is_head))

    def line_of(self, path: Place) -> int:
        """The line of the thing at `path`, or of the nearest thing around it that exists."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    @property
    def _next(self) -> Piece:
        return self._pieces[self._at]

    def _take(self) -> Piece:
        self._at += 1
        return self._pieces[self._at - 1]

    def _mark(self, path: Place, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)

    def _head(self) -> Place:
        line = self._take().first
        in_list = self._next.text == "["
        if in_list:
            self._take()
        path: Place = ()
        keys = self._keys()
        for count, key in enumerate(keys, 1):
            path = (*path, key)
            if in_list and count == len(keys):
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path = (*path, self._counts[path])
        while self._next.text == "]":
            self._take()
        self._mark(path, line)
        return path

    def _pair(self, table: Place) -> Place:
        line = self._next.first
        path = (*table, *self._keys())
        self._take()  # the sign between key and value
        self._mark(path, line)
        self._value(path)
        return path

    def _keys(self) -> list[str]:
        keys = [_unquoted(self._take().text)]
        while self._next.text == ".":
            self._take()
            keys.append(_unquoted(self._take().text))
        return keys

    def _value(self, path: Place) -> None:
        piece = self._take()
        number = 0
        if piece.kind == "bare":  # a number with a fraction, or a date with a blank, is several
            while self._next.kind == "bare" or self._next.text == ".":
                self._take()
        while piece.text in {"[", "{"} and self._next.text not in {"]", "}"}:
            if self._next.kind == "newline" or self._next.text == ",":
                self._take()
            elif piece.text == "{":
                self._pair(path)
            else:
                self._mark((*path, number), self._next.first)
                self._value((*path, number))
                number += 1
        if piece.text in {"[", "{"}:
            self._take()


def _pieces(text: str) -> Iterator[Piece]:
    line = 1
    for match in PIECE.finditer(text):
        first, line = line, line + match[0].count("\n")
        kind = str(match.lastgroup)
        yield Piece(kind, match[0], first, first if kind == "newline" else line)
    yield Piece("end", "", line, line)


def _unquoted(key: str) -> str:
    return str(tomllib.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key
