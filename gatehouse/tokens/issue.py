"""Make, rotate and revoke named tokens: the actions themselves, whoever asks for them.

Each action changes the tokens file, which a running gate follows. A new value is returned once, and is stored
nowhere. The words of the errors fit a screen of any kind, and repeat no value.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from gatehouse import advice
from gatehouse.tokens.editor import NotChangedError, changing
from gatehouse.tokens.value import TokenValue, digest_of, make_value

if TYPE_CHECKING:
    from pathlib import Path

    from gatehouse.tokens.token import Token

When = datetime | timedelta
"""A moment, or a span from now."""


class WrongTimeError(Exception):
    """A time makes no sense: `key` names it, as the tokens file does, and `words` complete «KEY: ...»."""

    def __init__(self, key: str, words: str) -> None:
        super().__init__(f"{key}: {words}")
        self.key, self.words = key, words


class Issued(NamedTuple):
    """A new value, for the one who asked, and the token that has it."""

    value: str
    token: Token

    def __repr__(self) -> str:
        """The token's name: only the command shows the value, once."""
        return f"<Issued {self.token.name}>"


def make(
    path: Path,
    token: Token,
    now: datetime,
    *,
    not_before: When | None = None,
    expires: When | None = None,
) -> Issued:
    """Put a token with a new value into the file; make the file if it is missing.

    Raises NotChangedError if the name exists, WrongTimeError, or TokensError if the file cannot be used.
    """
    begins, ends = _moment("not_before", not_before, now), _moment("expires", expires, now)
    if ends and ends <= max(begins or now, now):
        raise WrongTimeError("expires", "lies in the past, or before the beginning")
    value = make_value()
    fresh = TokenValue(digest_of(value), created=now, not_before=begins, expires=ends)
    return Issued(value, add(path, replace(token, values=(fresh,))))


def rotate(
    path: Path,
    name: str,
    now: datetime,
    *,
    overlap: timedelta,
    expires: When | None = None,
    newest: str = "",
) -> Issued:
    """Give a token a new value; its old ones end after the overlap, or earlier if they would anyway.

    With the id of the `newest` value that the caller knows of, nothing is done if there is a newer one: who asks twice
    gets one value. Raises NotChangedError if so, or if there is no such name, WrongTimeError, or TokensError if the
    file cannot be used.
    """
    ends = _moment("expires", expires, now)
    if ends and ends <= now:
        raise WrongTimeError("expires", "lies in the past")
    overlap_ends = _after("overlap", overlap, now)
    value = make_value()
    fresh = TokenValue(digest_of(value), created=now, expires=ends)
    return Issued(
        value, replace_values(path, name, fresh, now=now, end=overlap_ends, newest=newest)
    )


def revoke(path: Path, name: str, value_id: str = "") -> None:
    """Take a token out of the file, or only the value whose digest begins with `value_id` (hex).

    Raises NotChangedError if there is no such name, not exactly one such value, or no other value;
    TokensError if the file cannot be used.
    """
    with changing(path) as change:
        token = change.token(name)
        if not value_id:
            change.remove(("tokens", name))
            change.expect(token)
            return
        number = _number_of(token, value_id)
        if len(token.values) == 1:
            raise NotChangedError(
                f"{name}: has only this value",
                f"this revokes the name: {advice.revoke_token(name)}",
            )
        change.remove(("tokens", name, "values", number))
        left = (*token.values[:number], *token.values[number + 1 :])
        change.expect(token, replace(token, values=left))


def add(path: Path, token: Token) -> Token:
    """Put this token at the end of the file; make the file if it is missing."""
    with changing(path, may_be_new=True) as change:
        if any(token.name == other.name for other in change.tokens):
            raise NotChangedError(
                f"{token.name}: exists already",
                f"this gives it a new value: {advice.rotate_token(token.name)}",
            )
        change.append(token)
    return token


def replace_values(
    path: Path, name: str, fresh: TokenValue, *, now: datetime, end: datetime, newest: str = ""
) -> Token:
    """Give a token a fresh value, let its others end at `end`, and remove those that have expired by `now`.

    A value that ends earlier keeps its end. One that would begin only at `end` or later is removed, too:
    from `end` on there is only the fresh one. Returns the changed token.
    """
    with changing(path) as change:
        token = change.token(name)
        if newest and token.values[-1].id != newest:
            raise NotChangedError(
                f"{name}: has got another value meanwhile, so nothing was changed"
            )
        kept: list[TokenValue] = []
        for number, value in enumerate(token.values):
            place = ("tokens", name, "values", number)
            begins_late = value.not_before and value.not_before >= end
            if value.expired_at(now) or begins_late:
                change.remove(place)
            elif value.expired_at(end):
                kept.append(value)
            else:
                change.set_expiry(place, end)
                kept.append(replace(value, expires=end))
        change.append_value(name, fresh)
        changed = replace(token, values=(*kept, fresh))
        change.expect(token, changed)
    return changed


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


def _moment(key: str, when: When | None, now: datetime) -> datetime | None:
    return _after(key, when, now) if isinstance(when, timedelta) else when


def _after(key: str, span: timedelta, now: datetime) -> datetime:
    try:
        return now + span
    except OverflowError:
        raise WrongTimeError(key, "is too far away") from None
