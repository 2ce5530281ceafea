"""The ledger of sessions: the principal, by its id, to whom each session of the upstream belongs.

The upstream knows sessions, but not principals. Without the ledger, anybody who learns a session's id could
use it with another token. A session that is not in it is answered as unknown, so losing an entry costs a
client a new session, and never opens a session to another. A name is here such an id: a static token's is its name.

The ledger is bounded for each name, so no name's sessions push out another's. The upstream may have one bound for
all; what the ledger drops is therefore ended there, too, in the background.

With shared state, several gates have one ledger. Each gate looks at its own entries first, and asks the
shared store only for a session that it does not know; while the store cannot be asked, the answer is that
nobody can tell. The shared store times a session from the last request reported to it. A single exchange
that outlasts that time is known only to its own gate.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import trio

from gatehouse.identity.principal import is_token
from gatehouse.policy.owed_writes import Write
from gatehouse.policy.owned import Entry, Owned
from gatehouse.policy.shared_state import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gatehouse.policy.shared_state import SharedState
    from gatehouse.upstream.farewells import Farewells

MAX_SESSIONS_PER_NAME = 1000
"""How many sessions a name may have: a tenth of what the MCP SDK keeps for all names together."""

IDLE_SECONDS = 86_400.0
"""How long a session may rest."""

MAX_ID_BYTES = 512
"""How long a session's id may be. Ids that servers make are a tenth of it."""

SWEEP_SECONDS = 60.0
"""How often, at most, all names are searched for sessions that have rested too long."""

SHARE_AGAIN_PART = 0.25
"""The shared state is told of a session again after this part of the time for which it remembers one."""


class NoFarewells:
    """In place of `Farewells`: ends no session at the upstream."""

    def end(self, session: bytes, name: str) -> None:
        """Do nothing."""

    async def room(self, name: str) -> None:
        """Do nothing."""


class Sessions:
    """The sessions, each with the name of the token that opened it.

    A name keeps the `max_per_name` sessions that it used last, each until it has rested for `idle_seconds`. If
    it opens more, it loses one of its own, preferably one without open exchanges, and waits if it opens them
    faster than `farewells` can end them.
    """

    def __init__(
        self,
        shared: SharedState | None = None,
        *,
        max_per_name: int | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._shared = shared
        self._max_per_name = max_per_name or MAX_SESSIONS_PER_NAME
        self._idle_seconds = idle_seconds
        self._entries: dict[bytes, Entry] = {}
        self._names: dict[str, Owned] = {}
        self._sweep_at = -math.inf
        self.farewells: Farewells | NoFarewells = NoFarewells()
        if shared is not None:
            shared.known = self._told

    @property
    def known(self) -> int:
        """The number of sessions that are known here."""
        return len(self._entries)

    async def owner(self, session: bytes, asker: str = "") -> str | NoAnswer | None:
        """The name of the token that opened the session; None if nobody did, or the session is over.

        NoAnswer if that cannot be told now, because another gate may have opened it. `asker` is the name that asks.

        Asking does not keep a session alive here, or a stranger could; `use` does.
        """
        entry = self._entry(session)
        if self._shared is None or not storable(session):
            return entry.name if entry else None
        if entry is None:
            name = await self._shared.read(asker, shared_key(session))
            if name is None or isinstance(name, NoAnswer):
                return name
            return name if await self._keep(session, Entry(name)) else None
        if trio.current_time() >= entry.share_at and not await self._share(
            self._shared, session, entry
        ):
            self._drop(session)
            return None
        return entry.name

    async def opened(self, session: bytes, name: str) -> bool:
        """The upstream has opened the session for the token of that name.

        False if the session belongs to another name, or the ledger cannot keep its id (1 to 512
        bytes). Then nothing has changed, and the client must not get the session.
        """
        if not storable(session):
            return False
        known = self._entry(session)
        if known is not None:
            return known.name == name
        entry = Entry(name)
        if self._shared and not await self._share(self._shared, session, entry):
            return False
        return await self._keep(session, entry)

    async def ended(self, session: bytes, name: str = "") -> None:
        """The session is over: a DELETE succeeded."""
        self._drop(session)
        if self._shared and storable(session):
            await self._shared.delete(name, shared_key(session))

    async def lost(self, session: bytes, name: str) -> None:
        """The upstream says that it does not know the session. It is ended there all the same: clients can bring about
        a 404 that means something else.
        """
        if session in self._entries:
            self._give_up(session)
        await self.ended(session, name)
        await self.farewells.room(name)

    @contextmanager
    def use(self, session: bytes) -> Iterator[None]:
        """An exchange of the session is open during the block, and keeps the session from becoming idle."""
        entry = self._entry(session)
        if entry is None:
            yield
            return
        self._touch(session, entry, +1)
        try:
            yield
        finally:
            self._touch(session, entry, -1)

    def number_of(self, name: str) -> int:
        """How many sessions of that name are known here."""
        owned = self._names.get(name)
        return len(owned.idle) + len(owned.busy) if owned else 0

    def end_all(self, name: str) -> int:
        """End all sessions of that name that are known here, at once; returns how many there were.

        The shared state forgets them within seconds. A session that only another gate knows goes on there.
        """
        owned = self._names.get(name)
        sessions = [*owned.idle, *owned.busy] if owned else []
        for session in sessions:
            self._give_up(session)
        if self._shared is not None:
            self._shared.forget(name, map(shared_key, sessions))
        return len(sessions)

    def forget_names(self, kept: Collection[str]) -> None:
        """Forget, here, the sessions of all other tokens, and end them: they have been revoked. People keep theirs.

        The shared state forgets these sessions in time; until then they belong to names that no token has.
        """
        for name, owned in list(self._names.items()):
            if is_token(name) and name not in kept:
                for session in (*owned.idle, *owned.busy):
                    self._give_up(session)

    def _entry(self, session: bytes) -> Entry | None:
        entry = self._entries.get(session)
        if entry is not None and not entry.exchanges and entry.touched <= self._too_old():
            self._expire(session)
            return None
        return entry

    def _told(self) -> Iterator[Write]:
        """The claims of this gate that the shared state should know."""
        for session, entry in list(self._entries.items()):
            yield Write(shared_key(session), entry.name, self._idle_seconds)

    def _too_old(self) -> float:
        return trio.current_time() - self._idle_seconds

    async def _share(self, shared: SharedState, session: bytes, entry: Entry) -> bool:
        """Claim the session in the shared state, for a while; False if it belongs to another name there."""
        name = await shared.claim(entry.name, shared_key(session), entry.name, self._idle_seconds)
        if isinstance(name, NoAnswer):
            return True  # the next request tries again
        entry.share_at = trio.current_time() + self._idle_seconds * SHARE_AGAIN_PART
        return name == entry.name

    async def _keep(self, session: bytes, entry: Entry) -> bool:
        """Enter the session; False if another task has meanwhile entered it for another name."""
        known = self._entry(session)
        if known is not None:
            return known.name == entry.name
        self._sweep()
        lost = self._make_room(entry.name)
        entry.touched = trio.current_time()
        self._entries[session] = entry
        self._names.setdefault(entry.name, Owned()).idle[session] = entry
        if lost is None:
            return True
        if self._shared:
            await self._shared.delete(entry.name, shared_key(lost))
        await self.farewells.room(entry.name)
        return True

    def _make_room(self, name: str) -> bytes | None:
        """If the name has as many sessions as it may, forget the one unused for longest."""
        owned = self._names.get(name)
        if owned is None or len(owned.idle) + len(owned.busy) < self._max_per_name:
            return None
        session = next(iter(owned.idle or owned.busy))
        self._give_up(session)
        return session

    def _sweep(self) -> None:
        """Forget the sessions that have rested too long: nobody may ever ask for them again."""
        now = trio.current_time()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_SECONDS
        for owned in list(self._names.values()):
            while owned.idle:
                session, entry = next(iter(owned.idle.items()))
                if entry.touched > self._too_old():
                    break
                self._expire(session)

    def _touch(self, session: bytes, entry: Entry, change: int) -> None:
        """An exchange begins (+1) or ends (-1); the session becomes the last one used."""
        if self._entries.get(session) is not entry:
            return  # it has been forgotten meanwhile
        owned = self._names[entry.name]
        del owned.among(entry)[session]
        entry.exchanges += change
        entry.touched = trio.current_time()
        owned.among(entry)[session] = entry

    def _expire(self, session: bytes) -> None:
        """Forget a session that has rested too long, and end it, unless another gate may be using it."""
        if self._shared is None:
            self._give_up(session)
        else:
            self._drop(session)

    def _give_up(self, session: bytes) -> None:
        """Forget a session that the upstream still has, and have it ended there."""
        self.farewells.end(session, self._entries[session].name)
        self._drop(session)

    def _drop(self, session: bytes) -> None:
        """Forget a session."""
        entry = self._entries.pop(session, None)
        if entry is None:
            return
        owned = self._names[entry.name]
        del owned.among(entry)[session]
        if not owned.idle and not owned.busy:
            del self._names[entry.name]


def storable(session: bytes) -> bool:
    """True if the ledger can keep the session's id."""
    return 1 <= len(session) <= MAX_ID_BYTES


def shared_key(session: bytes) -> str:
    """The session's key in the shared state, from which nobody can tell its id.

    Gates of the release that sealed nothing use keys of their own, so that they and we leave each other's alone.
    """
    return f"sealed:{sha256(session).hexdigest()}"
