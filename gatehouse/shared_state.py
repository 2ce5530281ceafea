"""What several gates have in common: budgets and sessions, in Redis, or in Valkey, which speaks the same.

Nobody waits for it long, and nothing depends on it. If it is dead, hangs or answers with an error, one
warning says so, and each gate goes by what it knows itself; every few seconds, one call finds out
whether it is back. No method here raises because of it: the answer then is UNAVAILABLE.

redis-py has a client for asyncio and none for Trio, so its plain one is called, in threads.
"""

from __future__ import annotations

import re
import threading
import time
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import trio

from gatehouse.loggers import logger_of
from gatehouse.rates import LEAST_SECONDS, PREFIX, Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from throttled import BaseStore
    from throttled.types import SyncRedisClientP

    from gatehouse.rates import Rate

logger = logger_of("gate.shared")

T = TypeVar("T")

SOCKET_SECONDS = 0.25
"""How long to wait for one answer of the server, or for a connection to it."""

CALL_SECONDS = 0.5
"""How long a caller waits for everything: a name looked up, a connection, several answers."""

RETRY_SECONDS = 5.0
"""How long after a failure it is tried again."""

THREADS = 8
"""How many calls are made at a time. More would only take turns in the interpreter."""

# Nothing that two programs could read in two ways, and no query but these: any other could set whatever
# redis-py can be set to, our timeouts included.
_USER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?"
_HOST = r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?(?P<db>/[0-9]{0,4})?"
_PATH = r"/[A-Za-z0-9._~/%:,@-]+"
_PLAIN = re.compile(rf"(?P<scheme>redis|valkey)://{_USER}{_HOST}")
_TLS = re.compile(rf"(?P<scheme>rediss|valkeys)://{_USER}{_HOST}(?:\?ssl_ca_certs={_PATH})?")
_SOCKET = re.compile(rf"unix://{_USER}(?P<path>{_PATH})(?:\?db=[0-9]{{1,4}})?")
_WORDS = (
    "must be a URL: redis://:PASSWORD@HOST:6379/0, valkey://... the same, rediss://... or valkeys://... "
    "with TLS (and ?ssl_ca_certs=FILE for a certificate authority of your own), or unix:///run/redis.sock "
    "(and ?db=NUMBER); %-encode what is no letter or digit in the password"
)

# A session belongs to whom it belonged first. One script, so that nothing comes in between.
_CLAIM = """
local held = redis.call("GET", KEYS[1])
if held and held ~= ARGV[1] then
    return held
end
redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
return ARGV[1]
"""


class Unavailable(Enum):
    """The type of UNAVAILABLE."""

    UNAVAILABLE = "unavailable"


UNAVAILABLE: Final[Literal[Unavailable.UNAVAILABLE]] = Unavailable.UNAVAILABLE
"""The answer if there is none."""


class SharedState:
    """The store at `url`: redis, rediss (TLS), valkey, valkeys or unix, with a password if it needs one.

    Raises ValueError, in words that complete «NAME: ...» and hold no part of the URL, if it is none.
    No connection is made before there is a question.
    """

    def __init__(self, url: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.address = shared_address(url)
        """Where it is, without user, password and query."""
        import redis  # it takes a while, so only for those who share

        self._client = redis.Redis.from_url(
            re.sub("^valkey", "redis", url),
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            driver_info=None,  # two questions less for each connection
        )
        self._claim = self._client.register_script(_CLAIM)
        self._counts = Counts(partial(_open_store, self._client))
        self._threads = trio.CapacityLimiter(THREADS)
        self._breaker = Breaker(self.address, retry_seconds)

    async def take(self, key: str, rate: Rate) -> float | Unavailable | None:
        """Take one request of the budget that the key has with all gates: as `Counts.take`."""
        wait = await self._ask(partial(self._counts.take, key, rate))
        if wait is UNAVAILABLE or wait is None:
            return wait
        # No wait is longer than the interval, but for rounding. Were the server's clock set back, or the
        # value not ours, it would be, and perhaps for ever.
        return wait if wait <= rate.interval + LEAST_SECONDS else UNAVAILABLE

    async def claim(self, key: str, value: str, seconds: float) -> str | Unavailable:
        """Store the value for so many seconds from now unless the key has another; what it has then."""
        ttl = max(1, round(seconds))
        return await self._ask(lambda: _text(self._claim([_full(key)], [value, ttl])))

    async def read(self, key: str) -> str | Unavailable | None:
        """The value of the key; None if it has none."""

        def question() -> str | None:
            value = self._client.get(_full(key))
            return None if value is None else _text(value)

        return await self._ask(question)

    async def delete(self, key: str) -> None:
        """Forget the key, if there is somebody to do it; else it is forgotten in its time."""
        await self._ask(lambda: self._client.delete(_full(key)))

    def close(self) -> None:
        """Close the connections. A later question opens a new one."""
        self._client.close()

    async def _ask(self, question: Callable[[], T]) -> T | Unavailable:
        """Have a thread put a question, and wait for the answer, CALL_SECONDS at most.

        A caller that is cancelled does not wait for the thread: that finishes by itself, and what it
        has found out counts nevertheless.
        """
        ticket = self._breaker.admit()
        if ticket is None:
            return UNAVAILABLE
        with trio.move_on_after(CALL_SECONDS):
            return await trio.to_thread.run_sync(
                self._try, question, ticket, abandon_on_cancel=True, limiter=self._threads
            )
        self._breaker.failed(ticket, f"no answer within {CALL_SECONDS:g} s")
        return UNAVAILABLE

    def _try(self, question: Callable[[], T], ticket: int) -> T | Unavailable:
        """In a thread: put the question, unless it has become pointless while this waited its turn."""
        if not self._breaker.valid(ticket):
            return UNAVAILABLE
        try:
            answer = question()
        except Exception as error:  # noqa: BLE001 - whatever a broken server makes redis-py raise
            self._breaker.failed(ticket, _kinds(error))
            return UNAVAILABLE
        self._breaker.succeeded(ticket)
        return answer


class Breaker:
    """Whether the server is worth asking. Its methods may be called in any thread.

    A ticket is the number of failures that were known when it was given out, so what a call finds out
    counts only if no other has found out something since.
    """

    def __init__(self, address: str, retry_seconds: float) -> None:
        self._address = address
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None  # by time.monotonic(); None while the server answers

    def admit(self) -> int | None:
        """A ticket for one call, or None. After a failure, one call has one each `retry_seconds`."""
        with self._lock:
            if self._retry_at is not None:
                now = time.monotonic()
                if now < self._retry_at:
                    return None
                self._retry_at = now + self._retry_seconds
            return self._failures

    def valid(self, ticket: int) -> bool:
        """Whether there has been no failure since the ticket was given out."""
        return ticket == self._failures

    def failed(self, ticket: int, why: str) -> None:
        """The call got no answer. `why` goes into the log, and holds nothing secret."""
        with self._lock:
            if not self.valid(ticket):
                return
            news = self._retry_at is None
            self._failures += 1
            self._retry_at = time.monotonic() + self._retry_seconds
        if news:
            logger.warning(
                "shared state at %s is unavailable (%s): until it is back, each gate goes by what it knows itself",
                self._address,
                why,
            )

    def succeeded(self, ticket: int) -> None:
        """The call got an answer."""
        with self._lock:
            news = self.valid(ticket) and self._retry_at is not None
            if news:
                self._retry_at = None
        if news:
            logger.info("shared state at %s is back", self._address)


def shared_address(url: str) -> str:
    """Where the store at `url` is, without user, password and query: for the log.

    Raises ValueError, in words that complete «NAME: ...» and hold no part of the URL, if it is none.
    """
    if match := _SOCKET.fullmatch(url):
        return f"unix://{match['path']}"
    match = _PLAIN.fullmatch(url) or _TLS.fullmatch(url)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(_WORDS)
    return f"{match['scheme']}://{match['host']}:{match['port'] or 6379}{match['db'] or ''}"


def _open_store(client: Redis) -> BaseStore:
    """throttled-py's store over a client of ours; by itself, it would open a second one."""
    from throttled.store import RedisStore, RedisStoreBackend

    class Backend(RedisStoreBackend):
        def get_client(self) -> SyncRedisClientP:
            return cast("SyncRedisClientP", client)

    class Store(RedisStore):
        _BACKEND_CLASS = Backend

    return Store()


def _kinds(error: BaseException) -> str:
    """What kinds of errors led to this one, the first one first. Their texts could repeat the URL."""
    earlier = error.__cause__ or error.__context__
    return f"{_kinds(earlier)}, {type(error).__name__}" if earlier else type(error).__name__


def _full(key: str) -> str:
    return f"{PREFIX}:{key}"


def _text(value: Any) -> str:
    """The bytes of an answer as text. Raises whatever comes of something else."""
    return bytes.decode(value)
