"""The sessions of one name in the ledger (`sessions.py`), in the order of their use."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Entry:
    """The ledger's entry of one session. Times are Trio's, in seconds."""

    name: str
    touched: float = -math.inf
    """When the session was opened, or its last exchange began or ended."""
    exchanges: int = 0
    """How many of its exchanges are open."""
    share_at: float = -math.inf
    """When the shared state is next told of the session."""


@dataclass(slots=True)
class Owned:
    """The sessions of one name, those untouched for longest first."""

    idle: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)
    busy: OrderedDict[bytes, Entry] = field(default_factory=OrderedDict)
    """The sessions with an open exchange."""

    def among(self, entry: Entry) -> OrderedDict[bytes, Entry]:
        """The busy or the resting sessions: those that the entry belongs to."""
        return self.busy if entry.exchanges else self.idle
