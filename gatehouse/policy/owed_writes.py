"""Writes that the shared store has missed while it did not answer, and that the gate still owes it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_OWED_PER_NAME = 1000
"""The newest writes of one name are kept, up to this number: as many as a name may have sessions."""

MAX_DELETED = 4096
"""The last keys that this gate has deleted are remembered, up to this number. A key takes 150 bytes."""

MAX_BATCH = 100
"""One call makes up for at most this many writes, in some milliseconds."""


class Write(NamedTuple):
    """A claim of the key for that value, for so many seconds; a deletion if there is no value."""

    key: str
    value: str = ""
    seconds: float = 0.0


class OwedWrites:
    """The owed writes, by name; and the keys that are deleted, whether the store knows it or not.

    Losing them does little harm: keys expire by themselves, and the next use of a session claims it again.
    """

    def __init__(self) -> None:
        self._writes: dict[str, OrderedDict[str, Write]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def deleted(self, key: str) -> bool:
        """True if this gate has deleted the key, and has not claimed it since."""
        return key in self._deleted

    def begin(self, name: str, write: Write) -> None:
        """The write is about to be made: from now on it holds here, and settles an earlier one."""
        self._settle(name, write.key)
        self._deleted.pop(write.key, None)
        if not write.value:
            self._deleted[write.key] = None
            if len(self._deleted) > MAX_DELETED:
                self._deleted.popitem(last=False)

    def missed(self, name: str, write: Write) -> None:
        """The store did not answer the name's write."""
        writes = self._writes.setdefault(name, OrderedDict())
        writes[write.key] = write
        if len(writes) > MAX_OWED_PER_NAME:
            writes.popitem(last=False)

    def made_up(self, name: str, made: Iterable[Write]) -> None:
        """The store has these writes of the name now."""
        for write in made:
            writes = self._writes.get(name)
            if writes is not None and writes.get(write.key) is write:  # none came later
                self._settle(name, write.key)

    def _settle(self, name: str, key: str) -> None:
        writes = self._writes.get(name)
        if writes is not None:
            writes.pop(key, None)
            if not writes:
                del self._writes[name]

    def next(self) -> tuple[str, list[Write]] | None:
        """A name and some of its writes, the oldest first; None if nothing is owed."""
        for name, writes in self._writes.items():
            return name, list(writes.values())[:MAX_BATCH]
        return None
