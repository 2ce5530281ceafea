"""Whether the server could be reached when it was last tried, and since when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Reached:
    """The last attempt to reach the server, and the first of the unbroken row of those with the same outcome.

    Nobody knocks for its sake: between two attempts a server may be away and come back, and nobody here knows.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells the Unix time."""
        self._clock = clock
        self.now = False
        """True if the last attempt succeeded."""
        self.since: float | None = None
        """The Unix time from which on it is as `now` says; None while the server has never been reached."""

    @property
    def ever(self) -> bool:
        """True if the server has been reached before: then it is not starting, but gone."""
        return self.since is not None

    def note(self, *, succeeded: bool) -> None:
        """There was an attempt."""
        if succeeded != self.now:
            self.now, self.since = succeeded, self._clock()
