"""The ways in, as people are told of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WaysIn:
    """The ways in of one gate."""

    tokens: bool = True
    """Whether there are static tokens that clients can bring."""
    issuer: str = ""
    """The authorization server where clients sign in; empty if they are told of none."""
    front: str = ""
    """The kind of the front where people sign in; empty if there is none."""
    provider: str = ""
    """The name of where people sign in to let clients in here, so that the gate itself is their authorization server."""
    dashboard: str = ""
    """The URL of the dashboard; empty if there is none."""

    @property
    def sign_in(self) -> str:
        """A sentence about signing in; empty if nobody can."""
        told = []
        if self.provider:
            told.append(
                f"Clients sign in here: the URL is all that they need. A browser opens, you sign in with {self.provider},"
                " and say yes."
            )
        elif self.issuer:
            told.append(
                f"Clients sign in at {self.issuer}: the URL is all that they need, no token."
            )
        if self.front:
            told.append(
                f"The front ({self.front}) signs people in. Clients sign in there if it has OAuth for them;"
                " others bring what lets programs through it."
            )
        return " ".join(told)

    @property
    def summary(self) -> str:
        """The same for a line of log, to come behind its sentence."""
        issuer = f"; clients sign in at {self.issuer}" if self.issuer else ""
        if self.provider:
            issuer = f"; clients sign in here, people with {self.provider}"
        front = f"; the front ({self.front}) signs people in" if self.front else ""
        return (
            issuer + front + (f"; the dashboard is at {self.dashboard}" if self.dashboard else "")
        )
