"""A person in a browser, whom the dashboard knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.identity.subject import Subject


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person, and how the gate knows them: by a session that it has sealed, or by the front's assertion."""

    subject: Subject
    session: str = ""
    """The id of the session; empty if the front vouches for them, whose session it then is."""
    until: float = 0.0
    """The Unix time at which the session, or the assertion, is over."""

    @property
    def id(self) -> str:
        """The key by which their sessions are ended: of issuer and `sub`."""
        return self.subject.id

    @property
    def name(self) -> str:
        """The name for people: with its kind before it, visible ASCII, safe to log."""
        return self.subject.shown
