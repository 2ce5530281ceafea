"""The list on the page of tokens, as plain texts: each value with its age, its end and its last use, and what can go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gatehouse.http.credentials import LANES
from gatehouse.identity.principal import SHARED_NAME
from gatehouse.tokens.durations import in_words
from gatehouse.tokens.hints import hints_about
from gatehouse.tokens.token import HEADER_ONLY, Token
from gatehouse.tokens.value import TokenValue
from gatehouse.tokens.words import age, last_use_of, printable, rights, validity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.credentials import Lane
    from gatehouse.tokens.contents import Contents
    from gatehouse.tokens.last_use import LastUse

MAX_VALUES = 10
"""How many values of a token a page shows, the newest: more than one or two are good for a while after a rotation only."""

MAX_TEXT = 1000
"""How many characters of a note, or of lists of names, a page shows: the file may hold a million."""

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""When a value was made that is older than any record of its use may be."""

LANE_WORDS = {"header": "header", "query": "URL"}
"""The lanes for people, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class ValueShown:
    """One value of a token."""

    id: str
    age: str
    validity: str
    last_use: str
    is_good: bool
    """True if it is good now."""
    hint: str = ""
    """Why it can go; empty if it cannot."""


@dataclass(frozen=True, slots=True)
class TokenShown:
    """A token. The words are for people; `newest` is the id of its last value."""

    name: str
    note: str
    rights: str
    lanes: str
    rate: str
    values: tuple[ValueShown, ...]
    hint: str = ""
    """Said if all of it has expired."""
    older: int = 0
    """How many values it has besides, older than these."""

    @property
    def newest(self) -> str:
        return self.values[-1].id if self.values else ""


def tokens_shown(tokens: Iterable[Token], last_use: LastUse, now: datetime) -> list[TokenShown]:
    """The tokens in their order, each with all of its values."""
    tokens = tuple(tokens)
    newest = [replace(token, values=token.values[-MAX_VALUES:]) for token in tokens]
    hints = {(name, value): words for name, value, words in hints_about(newest, last_use, now)}
    return [
        TokenShown(
            token.name,
            _short(token.note),
            _short(rights(token.grants)),
            lanes_in_words(token.lanes),
            str(token.rate or "none"),
            tuple(
                ValueShown(
                    value.id,
                    age(value, now),
                    validity(value, now),
                    last_use_of(value, last_use, now),
                    value.valid_at(now.timestamp()),
                    hints.get((token.name, value.id), ""),
                )
                for value in token.values[-MAX_VALUES:]
            ),
            hints.get((token.name, ""), "") if _is_over(token, now) else "",
            max(0, len(token.values) - MAX_VALUES),
        )
        for token in tokens
    ]


def shared_shown(
    digest: bytes, last_use: LastUse, now: datetime, *, url_keys: bool
) -> dict[str, str]:
    """MCP_AUTH_TOKEN, which settings change: its name, its lanes and its last use."""
    return {
        "name": SHARED_NAME,
        "lanes": lanes_in_words(LANES if url_keys else HEADER_ONLY),
        "last_use": last_use_of(TokenValue(digest, created=UNKNOWN), last_use, now),
    }


def lanes_in_words(lanes: frozenset[Lane]) -> str:
    """The lanes by which a token may come."""
    return ", ".join(words for lane, words in LANE_WORDS.items() if lane in lanes)


def others_shown(contents: Contents, now: datetime) -> list[tuple[str, str, str, str]]:
    """The people and scopes that stand beside tokens: whom each means, its rights, its rate and its end, its note."""
    people = [
        (
            _short(person.match),
            _short(rights(person.grants)),
            _more(str(person.rate or ""), _end(person.expires, now)),
            _short(person.note),
        )
        for person in contents.people
    ]
    scopes = [
        (f"scope {_short(scope.name)}", _short(rights(scope.grants)), "", "")
        for scope in contents.scopes
    ]
    return people + scopes


def _is_over(token: Token, now: datetime) -> bool:
    return all(value.expired_at(now) for value in token.values)


def _short(text: str) -> str:
    """A text of the file, fit for a page, and cut if it is long."""
    left_out = len(text) - MAX_TEXT
    cut = f"{text[:MAX_TEXT]}... ({left_out} more characters)" if left_out > 0 else text
    return printable(cut)


def _more(*words: str) -> str:
    return ", ".join(filter(None, words))


def _end(expires: datetime | None, now: datetime) -> str:
    if expires is None:
        return ""
    seconds = (expires - now).total_seconds()
    return f"expires in {in_words(seconds)}" if seconds > 0 else f"expired {in_words(-seconds)} ago"
