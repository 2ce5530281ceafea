"""Finds what the texts of a restless tokens file agree on.

A value of a token takes effect by itself, and so does a scope. A list of people does not: its first entry that fits
decides, and without a narrow entry a wide one below it would let the same people do more. The list therefore changes
as a whole. Until all texts have the same one, each entry stays that some text has after no other ones than before; the
rest still decide, and let nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from gatehouse.tokens.contents import Contents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gatehouse.identity.people import Person
    from gatehouse.identity.scopes import Scope
    from gatehouse.tokens.token import Token

K = TypeVar("K")
V = TypeVar("V")

OVER = datetime(2000, 1, 1, tzinfo=UTC)
"""The end of an entry that lets nobody in, but still decides about those whom it means."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Contents taken apart, without notes and dates of making."""

    values: Mapping[tuple[str, bytes], Token]
    """By name and digest, a token with that one value."""
    scopes: Mapping[str, Scope]
    people: tuple[Person, ...]


def taken_apart(contents: Contents) -> Parts:
    """The parts of contents."""
    return Parts(
        values={
            (token.name, value.digest): replace(
                token, note="", values=(replace(value, created=None),)
            )
            for token in contents.tokens
            for value in token.values
        },
        scopes={scope.name: scope for scope in contents.scopes},
        people=tuple(replace(person, note="") for person in contents.people),
    )


def agreed(before: Contents, texts: Sequence[Parts], trusted: bool) -> Contents:
    """The contents that all of `texts` put in force; `before` itself if nothing changes.

    A part stays if some text has it unchanged. It is added or changed only if all texts agree, and are `trusted`.
    """
    was = taken_apart(before)
    now = Parts(
        _each_agreed(was.values, [text.values for text in texts], trusted),
        _each_agreed(was.scopes, [text.scopes for text in texts], trusted),
        _people_agreed(was.people, [text.people for text in texts], trusted),
    )
    if now == was:
        return before
    return Contents(put_together(now.values), tuple(now.scopes.values()), now.people)


def put_together(values: Mapping[tuple[str, bytes], Token]) -> tuple[Token, ...]:
    """The tokens of values. Those of one name come from the same texts, so they differ only in their values."""
    tokens: dict[str, Token] = {}
    for part in values.values():
        known = tokens.get(part.name)
        tokens[part.name] = replace(known, values=(*known.values, *part.values)) if known else part
    return tuple(tokens.values())


def _each_agreed(was: Mapping[K, V], texts: Sequence[Mapping[K, V]], trusted: bool) -> dict[K, V]:
    now: dict[K, V] = {}
    for key in dict.fromkeys([*was, *texts[-1]]):
        said = [text.get(key) for text in texts]
        first = said[0]
        if key in was and was[key] in said:
            now[key] = was[key]
        elif trusted and first is not None and all(part == first for part in said):
            now[key] = first
    return now


def _people_agreed(
    was: tuple[Person, ...], texts: Sequence[tuple[Person, ...]], trusted: bool
) -> tuple[Person, ...]:
    if trusted and all(people == texts[0] for people in texts):
        return texts[0]
    if was in texts or not was:
        return was
    places = {person.match: at for at, person in enumerate(was)}
    kept: set[int] = set()
    for people in texts:
        furthest = -1
        for person in people:
            at = places.get(person.match, len(was))
            # Nobody before it in this text comes after it in the old list, or is new: it means whom it meant.
            if furthest < at < len(was) and person == was[at]:
                kept.add(at)
            furthest = max(furthest, at)
    return tuple(
        person if at in kept else replace(person, expires=OVER) for at, person in enumerate(was)
    )
