"""Those who came in beside static tokens, by name, issuer and way: for the dashboard, without which nobody keeps it.

A name is noted when a token or an assertion is verified, or somebody signs in, and never in a call with one that is
remembered: that notes the time alone, as without a dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gatehouse.identity.clock import clock
from gatehouse.identity.matches import MAX_MATCH_LENGTH
from gatehouse.identity.uses import MAX_USES, Uses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.identity.principal import Principal
    from gatehouse.identity.subject import Subject

MAX_ARRIVALS = MAX_USES
"""How many are kept. One more takes the place of the one who was verified longest ago."""

MAX_ORGS_LENGTH = 2000
"""How long the names of somebody's organisations that are kept may be, together, in characters."""

KEEP_SECONDS = 90 * 86_400.0
"""How long somebody who does not come again is kept: who came in this quarter is a question, who came last year is
nobody's business."""

_CUT = "..."


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who came in, with the facts by which lists of people are asked."""

    id: str
    """The principal's, or for a session in a browser the person's."""
    subject: Subject
    """As `kept` makes it."""
    came: float = 0.0
    """The Unix time when they were last let in to the server; 0 for never."""
    signed_in: float = 0.0
    """The Unix time when they last signed in at the dashboard, or came there through the front; 0 for never."""

    @property
    def last(self) -> float:
        """The Unix time when they were last here."""
        return max(self.came, self.signed_in)

    def merged_with(self, other: Arrival) -> Arrival:
        """The same with the later times of both."""
        came, signed_in = max(self.came, other.came), max(self.signed_in, other.signed_in)
        return replace(self, came=came, signed_in=signed_in)


class Arrivals(Uses):
    """Those who came in, bounded in number, and each in length."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Arrival] = {}  # the one who was verified last is the last

    def admitted(self, principal: Principal, now: float) -> None:
        """The principal is let in by a token or an assertion that has just been verified."""
        super().admitted(principal, now)
        if principal.subject is not None:
            self._note(Arrival(principal.id, kept(principal.subject), came=now))

    def signed_in(self, subject: Subject) -> None:
        """The subject has signed in at the dashboard, or has come there through the front."""
        self._note(Arrival(subject.id, kept(subject), signed_in=clock()))

    def restore(self, earlier: Iterable[Arrival]) -> None:
        """Add those who came before the start."""
        now = self._known
        self._known = {each.id: each for each in sorted(earlier, key=lambda each: each.last)}
        for arrival in now.values():
            self._note(arrival)

    def all(self) -> list[Arrival]:
        """Those who came within KEEP_SECONDS, the latest first. A thread may ask, too."""
        oldest = clock() - KEEP_SECONDS
        found = map(self._up_to_date, tuple(self._known.values()))
        return sorted((each for each in found if each.last > oldest), key=lambda each: -each.last)

    def of(self, arrival_id: str) -> Arrival | None:
        """The one with that id, if they are known."""
        found = self._known.get(arrival_id)
        return self._up_to_date(found) if found else None

    def _up_to_date(self, arrival: Arrival) -> Arrival:
        came = self._times.get(arrival.id, 0.0)
        return replace(arrival, came=came) if came > arrival.came else arrival

    def _note(self, arrival: Arrival) -> None:
        before = self._known.pop(arrival.id, None)
        self._known[arrival.id] = arrival.merged_with(before) if before else arrival
        if len(self._known) > MAX_ARRIVALS:
            del self._known[next(iter(self._known))]


def kept(subject: Subject) -> Subject:
    """The subject without what belongs to one token, and without facts that are too long for any list of people.

    No match is longer than MAX_MATCH_LENGTH, so such a fact lets nobody in. Too many organisations are left out.
    """
    orgs, length = [], 0
    for org in sorted(subject.orgs):
        length += len(org)
        if length <= MAX_ORGS_LENGTH:
            orgs.append(org)
    issuer = subject.issuer
    return replace(
        subject,
        issuer=issuer if len(issuer) <= MAX_MATCH_LENGTH else issuer[:MAX_MATCH_LENGTH] + _CUT,
        sub=_short(subject.sub),
        client=_short(subject.client),
        email=_short(subject.email),
        username=_short(subject.username),
        orgs=frozenset(orgs),
        scopes=(),
        expires=0.0,
        key="",
    )


def _short(fact: str) -> str:
    return fact if len(fact) <= MAX_MATCH_LENGTH else ""
