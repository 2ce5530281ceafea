"""Named tokens: the tokens file is read as a whole, or refused as a whole in words.

The file holds no value of a token, only digests of values; nobody can come in by reading it. A file
with one fault is refused with all its tokens, since nobody means half of a file. Each fault is told
with its line, and repeats nothing that may be a secret.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from gatehouse import advice
from gatehouse.identity.grants import by_kind
from gatehouse.identity.matches import covering, key_of
from gatehouse.identity.people import Person
from gatehouse.identity.scopes import Scope, check_scope
from gatehouse.tokens import checks
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.file import TokensError, read_text
from gatehouse.tokens.token import HEADER_ONLY, KINDS, Token, check_name
from gatehouse.tokens.toml_places import Places
from gatehouse.tokens.value import FOREIGN_PATTERN, VALUE_PATTERN, TokenValue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from gatehouse.identity.grants import Grants
    from gatehouse.identity.matches import Key
    from gatehouse.tokens.toml_places import Place

T = TypeVar("T")

TABLES = ("tokens", "scopes", "people")
TOKEN_KEYS = ("note", *KINDS, "rate", "lanes", "values")
VALUE_KEYS = ("digest", "created", "not_before", "expires")
SCOPE_KEYS = KINDS
PERSON_KEYS = ("match", "note", *KINDS, "rate", "expires")

UNTOLD = {
    "username": "user names",
    "address": "e-mail addresses",
    "domain": "e-mail addresses",
    "org": "organisations",
    "client": "programs",
}
"""The kinds of facts about people that a way in may leave out, in words."""

CLEAR = (
    "holds the value of a token in clear, but only digests belong here. Take it out, and make a new token "
    f"instead: {advice.add_token()}"
)

FOREIGN_CLEAR = "holds an access token in clear, which no file may hold. Take it out, and end it where it was made"


def load_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in the file, in its order; none if it has none. Raises TokensError."""
    return load_contents(path).tokens


def load_contents(path: Path) -> Contents:
    """All that the file says. Raises TokensError."""
    return parse_contents(read_text(path), str(path))


def parse_contents(text: str, name: str = "tokens.toml", untold: Collection[str] = ()) -> Contents:
    """All that the text of a tokens file says. No way in tells the `untold` kinds of facts about people.

    Raises TokensError with every fault that can be told at once, which calls the file `name`.
    """
    reader = Reader(untold)
    contents = reader.read(text)
    if reader.faults:
        raise TokensError(
            *(f"{name}{f', line {line}' if line else ''}: {words}" for line, words in reader.faults)
        )
    return contents


class Reader:
    """Reads one text. It leaves faulty parts out of the result, and tells them in `faults`."""

    def __init__(self, untold: Collection[str] = ()) -> None:
        self._untold = untold
        self._faults: set[tuple[int, str]] = set()
        self._clear: dict[int, str] = {}
        self._places = Places("")
        self._seen: dict[bytes, Place] = {}
        self._matched: dict[Key, Place] = {}

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Line and sentence of each fault, in the order of the lines; line 0 is the whole file."""
        # If a value stands there in clear, nothing else matters.
        others = [fault for fault in self._faults if fault[0] not in self._clear]
        return sorted([*others, *self._clear.items()])

    def read(self, text: str) -> Contents:
        """All that `text` says. Use it only if there are no `faults` then."""
        for line, content in enumerate(text.split("\n"), 1):  # comments, too
            if VALUE_PATTERN.search(content):
                self._clear[line] = CLEAR
            elif FOREIGN_PATTERN.search(content):
                self._clear[line] = FOREIGN_CLEAR
        document = self._document(text)
        self._check_keys((), document, TABLES)
        tokens: dict[str, Any] = self._get((), document, "tokens", checks.token_tables, {})
        scopes: dict[str, Any] = self._get((), document, "scopes", checks.scope_tables, {})
        people: list[dict[str, Any]] = self._get((), document, "people", checks.people_tables, [])
        return Contents(
            tuple(self._token(name, table) for name, table in tokens.items()),
            tuple(self._scope(name, table) for name, table in scopes.items()),
            tuple(self._person(("people", number), table) for number, table in enumerate(people)),
        )

    def _document(self, text: str) -> dict[str, Any]:
        try:
            document = tomllib.loads(text)
            self._places = Places(text)
        except tomllib.TOMLDecodeError as error:
            self._faults.add(checks.syntax_fault(str(error), text))
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
            path, {"values": [], **table}, "values", checks.value_tables, []
        )
        return Token(
            name=name,
            values=tuple(
                self._value((*path, "values", number), value) for number, value in enumerate(values)
            ),
            grants=self._grants(path, table),
            rate=self._get(path, table, "rate", checks.rate, None),
            lanes=self._get(path, table, "lanes", checks.lanes, HEADER_ONLY),
            note=self._get(path, table, "note", checks.text, ""),
        )

    def _value(self, path: Place, table: dict[str, Any]) -> TokenValue:
        if "value" in table:
            self._clear[self._places.line_of((*path, "value"))] = CLEAR
        self._check_keys(path, table, (*VALUE_KEYS, "value"))
        value = TokenValue(
            digest=self._get(path, {"digest": "", **table}, "digest", checks.digest, b""),
            created=self._get(path, table, "created", checks.beginning, None),
            not_before=self._get(path, table, "not_before", checks.beginning, None),
            expires=self._get(path, table, "expires", checks.end, None),
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

    def _scope(self, name: str, table: Any) -> Scope:
        path: Place = ("scopes", name)
        try:
            check_scope(name)
        except ValueError as error:
            self._fault(path, str(error))
        if not isinstance(table, dict):
            self._fault(path, 'must be a table: [scopes."NAME"]')
            return Scope(name)
        self._check_keys(path, table, SCOPE_KEYS)
        return Scope(name, self._grants(path, table))

    def _person(self, path: Place, table: dict[str, Any]) -> Person:
        self._check_keys(path, table, PERSON_KEYS)
        match = self._get(path, {"match": "", **table}, "match", checks.match, "")
        if match:
            self._expect_use(path, key_of(match))
        return Person(
            match=match,
            grants=self._grants(path, table),
            rate=self._get(path, table, "rate", checks.rate, None),
            expires=self._get(path, table, "expires", checks.end, None),
            note=self._get(path, table, "note", checks.text, ""),
        )

    def _expect_use(self, path: Place, key: Key) -> None:
        """Tell an entry that means nobody, or nobody who is left: an earlier one means them, too, and decides."""
        if key.kind in self._untold:
            words = (
                f"means nobody, since no way in tells {UNTOLD[key.kind]} to the gate; write sub:..."
            )
            self._fault((*path, "match"), f"match: {words}")
        earlier = next(
            (self._matched[each] for each in covering(key) if each in self._matched), None
        )
        if earlier:
            line = self._places.line_of((*earlier, "match"))
            words = f"is never asked, since line {line} means the same people, and the first one decides"
            self._fault((*path, "match"), f"match: {words}; put it above that, or take it out")
        self._matched.setdefault(key, path)

    def _grants(self, path: Place, table: dict[str, Any]) -> Grants:
        return by_kind({kind: self._get(path, table, kind, checks.globs, None) for kind in KINDS})

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
            elif key in TOKEN_KEYS and path[:1] == ("tokens",):
                words = "belongs to the token; put it below [tokens.NAME], above its values"
            elif known is SCOPE_KEYS and isinstance(table[key], dict):
                words = 'the name of a scope stands in quotes: [scopes."NAME"]'
            self._fault((*path, key), f"{checks.shown(key)}: {words}")

    def _fault(self, path: Place, words: str) -> None:
        self._faults.add((self._places.line_of(path), words))
