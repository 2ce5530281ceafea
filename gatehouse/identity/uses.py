"""When each principal beside static tokens was last let in, by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.identity.principal import Principal

MAX_USES = 4096
"""How many principals are kept. One more takes the place of the one that has not come for longest."""


class Uses:
    """Unix times by the id of the principal, the latest last."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}

    def note(self, principal: str, now: float) -> None:
        """The principal of that id is let in."""
        self._times.pop(principal, None)
        self._times[principal] = now
        if len(self._times) > MAX_USES:
            del self._times[next(iter(self._times))]

    def admitted(self, principal: Principal, now: float) -> None:
        """The principal is let in by a token or an assertion that has just been verified."""
        self.note(principal.id, now)

    def times(self) -> dict[bytes, float]:
        """All of them, in the form in which the uses of tokens are kept: by bytes, here those of the id."""
        return {principal.encode("ascii"): used for principal, used in self._times.items()}
