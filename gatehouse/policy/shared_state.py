"""The state that several gates share: budgets and sessions, in Redis, or in Valkey, which speaks the same.

Nobody waits long for the server, and nothing depends on it. If it is dead, hangs or answers with an error, one
warning says so, and each gate goes by its own knowledge; every few seconds, the gate itself finds out whether the
server is back, so no call waits for that. No method here raises because of it: the answer is then UNAVAILABLE.

Each question belongs to the name of a token. A name with too many questions under way gets BUSY, which
says nothing of the server.

A write that the server misses is owed, and made up for once the server is back. A server that has lost its
keys, which a mark among them shows, is told again all that this gate knows. Until all gates have had the
time for either, nobody can tell whether a missing key was ever there.

redis-py has a client for asyncio and none for Trio, so threads call its plain one.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

import trio

from gatehouse.errors import connection_trouble
from gatehouse.policy.breaker import Breaker
from gatehouse.policy.counting import MIN_WAIT_SECONDS, Counts
from gatehouse.policy.entries import Entries
from gatehouse.policy.owed_writes import MAX_BATCH, OwedWrites, Write
from gatehouse.policy.redis_trouble import trouble
from gatehouse.policy.redis_url import shared_address
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.fair_threads import BusyError, FairThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis import Redis
    from throttled import BaseStore
    from throttled.types import SyncRedisClientP

    from gatehouse.identity.rate import Rate
    from gatehouse.policy.seals import Seals

logger = logger_of("gate.shared")

T = TypeVar("T")

SOCKET_SECONDS = 0.25
"""How long to wait for one answer of the server, or for a connection to it."""

CALL_SECONDS = 0.5
"""How long a whole call may take from its thread's start on: a name looked up, a connection, several answers."""

RETRY_SECONDS = 5.0
"""How long after a failure the server is tried again."""

NOT_SEALED = (
    "shared state at %s has sessions that no gate with these tokens has sealed, and that count as unknown: a gate with "
    "another TOKENS_FILE or MCP_AUTH_TOKEN wrote them, or somebody else who can write there"
)

LOOKS_PER_RETRY = 5
"""How many times in RETRY_SECONDS the gate checks whether it is time to try again."""


class NoAnswer(Enum):
    """Why a question has no answer."""

    UNAVAILABLE = "unavailable"
    BUSY = "busy"


UNAVAILABLE: Final[Literal[NoAnswer.UNAVAILABLE]] = NoAnswer.UNAVAILABLE
"""The server did not answer, or cannot know yet."""

BUSY: Final[Literal[NoAnswer.BUSY]] = NoAnswer.BUSY
"""The server was not asked: too many questions of the same name are under way."""


class SharedState:
    """The store at `url`: redis, rediss (TLS), valkey, valkeys or unix, with a password if it needs one.

    Raises ValueError for any other URL, in words that complete «NAME: ...» and hold no part of it.
    The first question makes the first connection.
    """

    def __init__(self, url: str, seals: Seals, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.address = shared_address(url)
        """The address of the store, without user, password and query."""
        import redis  # slow to import, so only for gates that share

        self._client = redis.Redis.from_url(
            re.sub("^valkey", "redis", url),
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            driver_info=None,  # saves two questions for each connection
        )
        self._seals = seals
        self._entries = Entries(self._client, seals)
        self._counts = Counts(partial(_open_store, self._client))
        self._threads = FairThreads()
        self._retry_seconds = retry_seconds
        self._breaker = Breaker(self.address, retry_seconds)
        self._owed = OwedWrites()
        self._mark = ""
        self._lost = False
        self._log = LogBudget(logger)
        self.known: Callable[[], Iterable[Write]] = tuple
        """The writes to make again on a server that has lost its keys."""

    async def take(self, name: str, key: str, rate: Rate) -> float | NoAnswer | None:
        """As `Counts.take`, of the budget that the key has with all gates together."""
        wait = await self._ask(name, partial(self._counts.take, key, rate))
        if wait is None or isinstance(wait, NoAnswer):
            return wait
        # No wait is longer than the interval, but for rounding. A server's clock set back, or a value
        # that is not ours, could make it longer, perhaps endless.
        return wait if wait <= rate.interval + MIN_WAIT_SECONDS else UNAVAILABLE

    async def claim(self, name: str, key: str, value: str, seconds: float) -> str | NoAnswer:
        """Store the value for so many seconds from now unless the key has another; return the key's value."""
        write = Write(key, value, seconds)
        return await self._write(name, write, lambda: self._entries.claim(write) or UNAVAILABLE)

    async def read(self, name: str, key: str) -> str | NoAnswer | None:
        """The value of the key; None if it has none that a gate has sealed."""
        if self._owed.deleted(key):
            return None
        found = await self._ask(name, partial(self._entries.read, key))
        if isinstance(found, NoAnswer):
            return found
        if found.value is not None:
            return found.value
        if found.unsealed:
            self._log.warning("entries without a seal of ours", NOT_SEALED, self.address, lines=1)
        self._judge(found.mark)
        return UNAVAILABLE if self._breaker.settling else None

    async def delete(self, name: str, key: str) -> None:
        """Forget the key: here at once, on the server as soon as possible."""
        write = Write(key)
        await self._write(name, write, lambda: self._entries.delete(write))

    def forget(self, name: str, keys: Iterable[str]) -> None:
        """Forget the name's keys: here at once, on the server within seconds, without waiting for it."""
        for key in keys:
            write = Write(key)
            self._owed.begin(name, write)
            self._owed.missed(name, write)

    def renew(self, digests: Iterable[bytes]) -> None:
        """From now on, these are the digests of all tokens: the gate seals again all that it knows."""
        if self._seals.renew(digests):
            self._lost = True

    async def ask(self, name: str, question: Callable[[Redis], T]) -> T | NoAnswer:
        """The answer to the name's question, which a thread asks, and which is over in CALL_SECONDS."""
        return await self._ask(name, partial(question, self._client))

    async def keep(self) -> None:
        """Log whether the server can be reached now, and keep it up to date for ever."""
        while True:
            await self.catch_up()
            parts = LOOKS_PER_RETRY if self._breaker.away or self._lost or self._owed.next() else 1
            await trio.sleep(self._retry_seconds / parts)

    async def catch_up(self) -> None:
        """If the server answers, make up for writes that it has missed or lost."""
        mark = await self._ask("", self._entries.read_mark, again=True)
        if isinstance(mark, NoAnswer):
            return
        self._judge(mark)
        if self._lost and not await self._tell_again():
            return
        while owed := self._owed.next():
            name, writes = owed
            made = await self._ask("", partial(self._entries.make_up, writes))
            if isinstance(made, NoAnswer):
                return
            self._owed.made_up(name, made)
            if len(made) < len(writes):
                return  # it answers, but does not take all

    def close(self) -> None:
        """Close the connections. A later question opens a new one."""
        self._client.close()

    def _judge(self, mark: str) -> None:
        """Find out from the mark whether the server still has its earlier keys."""
        if self._mark and mark != self._mark:
            if not self._breaker.settling:
                logger.warning(
                    "shared state at %s has lost its keys: each gate tells it again what it knows",
                    self.address,
                )
            self._lost = True
            self._breaker.settle()
        self._mark = mark

    async def _tell_again(self) -> bool:
        """Tell the server all that this gate knows; False if it failed before the end."""
        known = iter(self.known())
        while writes := list(islice(known, MAX_BATCH)):
            if isinstance(await self._ask("", partial(self._entries.make_up, writes)), NoAnswer):
                return False
        self._lost = False
        return True

    async def _write(self, name: str, write: Write, question: Callable[[], T]) -> T | NoAnswer:
        self._owed.begin(name, write)
        answer: T | NoAnswer = UNAVAILABLE
        try:
            answer = await self._ask(name, question)
        finally:  # also if the caller leaves
            if isinstance(answer, NoAnswer):
                self._owed.missed(name, write)
        return answer

    async def _ask(
        self, name: str, question: Callable[[], T], *, again: bool = False
    ) -> T | NoAnswer:
        """Ask the name's question in a thread, and wait for the answer, CALL_SECONDS at most.

        `again` is for the question that finds out whether a server that was away is back. A caller
        that is cancelled does not wait for the thread: the thread finishes by itself, and its result
        still counts. The server does not answer for time in line.
        """
        ticket = self._breaker.admit(again=again)
        if ticket is None:
            return UNAVAILABLE
        try:
            return await self._threads.run(name, CALL_SECONDS, self._try, question, ticket)
        except BusyError:
            return UNAVAILABLE if self._breaker.away else BUSY
        except trio.TooSlowError:
            self._breaker.failed(ticket, connection_trouble(TimeoutError()))
            return UNAVAILABLE

    def _try(self, question: Callable[[], T], ticket: int) -> T | NoAnswer:
        """In a thread: ask the question, unless it has become pointless while it waited its turn."""
        if not self._breaker.valid(ticket):
            return UNAVAILABLE
        try:
            answer = question()
        except Exception as error:  # noqa: BLE001 - whatever a broken server makes redis-py raise
            self._breaker.failed(ticket, trouble(error))
            return UNAVAILABLE
        self._breaker.succeeded(ticket)
        return answer


def _open_store(client: Redis) -> BaseStore:
    """throttled-py's store over our client; by itself, it would open a second one."""
    from throttled.store import RedisStore, RedisStoreBackend

    class Backend(RedisStoreBackend):
        def get_client(self) -> SyncRedisClientP:
            return cast("SyncRedisClientP", client)

    class Store(RedisStore):
        _BACKEND_CLASS = Backend

    return Store()
