"""Tokens files for Hypothesis: right, and written in one of many ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from gatehouse.http.credentials import Lane
from gatehouse.identity.grants import by_kind
from gatehouse.identity.people import Person
from gatehouse.identity.rate import parse_rate
from gatehouse.identity.scopes import Scope
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.token import KINDS, Token
from gatehouse.tokens.value import TokenValue

comments = st.lists(
    st.sampled_from(["", "# a comment", "  # [tokens.eve]", '#\t\'"""']), max_size=2
)

notes = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
globs = st.none() | st.lists(st.from_regex(r"[a-z*?#\[\]]{1,9}", fullmatch=True), max_size=2)
lanes: st.SearchStrategy[list[Lane]] = st.sampled_from([["header"], ["query"], ["header", "query"]])

moments = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]),
).map(lambda moment: moment.replace(microsecond=0))


class Written:
    """A tokens file in the making: `lines` of text, each with its token's name (empty if there is none), and all that
    they make.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.tokens: list[Token] = []
        self.scopes: list[Scope] = []
        self.people: list[Person] = []

    @property
    def contents(self) -> Contents:
        return Contents(tuple(self.tokens), tuple(self.scopes), tuple(self.people))

    @property
    def text(self) -> str:
        return "".join(line + "\n" for _, line in self.lines)


def toml(thing: Any) -> str:
    if isinstance(thing, datetime):
        return thing.isoformat()
    return json.dumps(thing, ensure_ascii=False)


def inline(pairs: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key} = {toml(thing)}" for key, thing in pairs.items()) + "}"


@st.composite
def token_files(draw: st.DrawFn, only_tables: bool = False) -> Written:
    """A file that is right, in one of the many ways to write it."""
    written = Written()
    scopes = draw(st.lists(st.sampled_from(["mcp:write", "a.b", "openid"]), unique=True))
    people = draw(
        st.lists(st.sampled_from(["alice", "a@b.org", "*@b.org", "sub:a|1"]), unique=True)
    )
    names = draw(st.lists(st.sampled_from(["alice", "bob", "7", "c-d_E"]), unique=True))
    seen = 0
    for name in names:
        written.lines += [("", line) for line in draw(comments)]
        if scopes:
            add_scope(written, scopes.pop(), draw(globs))
        if people:
            add_person(written, people.pop(), draw(globs), draw(moments), draw(notes))
        keys: dict[str, Any] = {"note": draw(notes), "lanes": draw(lanes), "rate": "60/min"}
        for kind in ("tools", "resources", "prompts"):
            keys[kind] = draw(globs)
        given = {key: thing for key, thing in keys.items() if thing is not None}
        values: list[dict[str, Any]] = []
        for _ in range(draw(st.integers(1, 3))):
            seen += 1
            begins, ends = sorted(draw(st.lists(moments, min_size=2, max_size=2, unique=True)))
            times = {"created": draw(moments), "not_before": begins, "expires": ends}
            some = draw(st.lists(st.sampled_from([*times]), unique=True))
            values.append({"digest": f"sha256:{seen:064x}", **{key: times[key] for key in some}})
        rows = [f"[tokens.{name}]", *(f"{key} = {toml(thing)}" for key, thing in given.items())]
        if only_tables or draw(st.booleans()):
            for value in values:
                rows += [*draw(comments), f"  [[tokens . '{name}'.values]] # here"]
                rows += [f"{key} = {toml(thing)}" for key, thing in value.items()]
        else:
            rows += ["values = [", *(f"  {inline(value)}, # x" for value in values), "]"]
        written.lines += [(name, row) for row in rows]
        written.tokens.append(as_token(name, keys, values))
    written.lines += [("", line) for line in draw(comments)]
    return written


def add_scope(written: Written, name: str, tools: list[str] | None) -> None:
    rows = [f"[scopes.{toml(name)}]", *([] if tools is None else [f"tools = {toml(tools)}"])]
    written.lines += [("", row) for row in rows]
    written.scopes.append(Scope(name, by_kind({"tools": None if tools is None else tuple(tools)})))


def add_person(
    written: Written, match: str, tools: list[str] | None, expires: datetime, note: str
) -> None:
    if match == "a@b.org" and any(person.match == "*@b.org" for person in written.people):
        return  # it could never match
    pairs = {"match": match, "tools": tools, "expires": expires, "rate": "60/min", "note": note}
    rows = [f"{key} = {toml(thing)}" for key, thing in pairs.items() if thing is not None]
    written.lines += [("", row) for row in ["  [[ people ]] # who", *rows]]
    grants = by_kind({"tools": None if tools is None else tuple(tools)})
    written.people.append(
        Person(match, grants, parse_rate("60/min"), expires.astimezone(UTC), note)
    )


def as_token(name: str, keys: dict[str, Any], values: list[dict[str, Any]]) -> Token:
    granted = {kind: None if keys[kind] is None else tuple(keys[kind]) for kind in KINDS}
    return Token(
        name,
        tuple(
            TokenValue(
                bytes.fromhex(value["digest"][7:]),
                *(
                    value[key].astimezone(UTC) if key in value else None
                    for key in ("created", "not_before", "expires")
                ),
            )
            for value in values
        ),
        by_kind(granted),
        parse_rate(keys["rate"]),
        frozenset(keys["lanes"]),
        keys["note"],
    )


BOTH = f"""\
# The names that may come in.

# --- people ---

[tokens.alice]   # since 2026
note = "her laptop"    # not the old one

# the first one
[[tokens.alice.values]]
digest = "sha256:{"a" * 64}"
created = 2026-01-01T00:00:00Z
# the second one
[[tokens.alice.values]]
digest = "sha256:{"b" * 64}"
expires = 2027-01-01T00:00:00Z   # with her contract

# Bob is away in May.
[tokens.bob]

[[tokens.bob.values]]
digest = "sha256:{"c" * 64}"

# The end.
"""
