"""The facts about a person that a seal holds: those by which the lists of people are asked, at every request anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatehouse.identity.subject import Subject
from gatehouse.signin.sealing import length_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gatehouse.identity.principal import PrincipalKind


def facts_of(subject: Subject, room: int, wanted_orgs: Collection[str] = ()) -> dict[str, Any]:
    """The facts, in `room` bytes of JSON at most, if that is enough for the `sub` and the name.

    Without one of the others a person is in fewer lists, never in more. Of organisations, the `wanted_orgs` go first.
    """
    facts: dict[str, Any] = {"s": subject.sub, "n": subject.shown}
    for name, fact in (("e", subject.email), ("u", subject.username)):
        if fact and length_of(facts | {name: fact}) <= room:
            facts[name] = fact
    wanted = frozenset(wanted_orgs)
    left = room - length_of(facts | {"o": []})
    for org in sorted(subject.orgs, key=lambda org: (org not in wanted, len(org), org)):
        left -= length_of({org: 0}) - length_of({"": 0}) + len('"",')
        if left < 0:
            break
        facts.setdefault("o", []).append(org)
    return facts


def subject_of_facts(
    kind: PrincipalKind, facts: Mapping[str, Any], *, issuer: str, expires: float
) -> Subject:
    """The subject of that kind. Raises LookupError or TypeError if these are no facts, or facts of another release."""
    sub, shown = facts["s"], facts["n"]
    email, username, orgs = facts.get("e", ""), facts.get("u", ""), facts.get("o", [])
    if not all(isinstance(text, str) for text in (sub, shown, email, username, *orgs)):
        raise TypeError
    return Subject(
        kind=kind,
        issuer=issuer,
        sub=sub,
        email=email,
        username=username,
        orgs=frozenset(orgs),
        expires=expires,
        shown=shown,
    )
