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

import math
import re
import secrets
import threading
import time
from enum import Enum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import trio

from gatehouse.identity.rate import LEAST_SECONDS, PREFIX, Counts
from gatehouse.policy.owed import MAX_BATCH, Owed, Write
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.fair_threads import BusyError, FairThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis import Redis
    from throttled import BaseStore
    from throttled.types import SyncRedisClientP

    from gatehouse.identity.rate import Rate

logger = logger_of("gate.shared")

T = TypeVar("T")

SOCKET_SECONDS = 0.25
"""How long to wait for one answer of the server, or for a connection to it."""

CALL_SECONDS = 0.5
"""How long a whole call may take from its thread's start on: a name looked up, a connection, several answers."""

RETRY_SECONDS = 5.0
"""How long after a failure the server is tried again."""

LOOKS = 5
"""How many times in RETRY_SECONDS the gate checks whether it is time to try again."""

SETTLING_RETRIES = 2
"""For this many times RETRY_SECONDS after the server is back, or has lost its keys, other gates may still have
to tell it the missing keys. Each of them notices within one, and a LOOKS-th part of one."""

MARK = "mark"
"""The key whose value tells one life of the server's keys from the next."""

# Nothing that two programs could read in two ways, and no query but these: any other could change all
# of redis-py's settings, our timeouts included.
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

# A session belongs to its first owner. One script, so that no other write comes in between.
_CLAIM = """
local held = redis.call("GET", KEYS[1])
if held and held ~= ARGV[1] then
    return held
end
redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
return ARGV[1]
"""


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

    def __init__(self, url: str, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self.address = shared_address(url)
        """The address of the store, without user, password and query."""
        import redis  # slow to import, so only for gates that share

        self._client = redis.Redis.from_url(
            re.sub("^valkey", "redis", url),
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            driver_info=None,  # saves two questions for each connection
        )
        self._claim = self._client.register_script(_CLAIM)
        self._counts = Counts(partial(_open_store, self._client))
        self._threads = FairThreads()
        self._retry_seconds = retry_seconds
        self._breaker = Breaker(self.address, retry_seconds)
        self._owed = Owed()
        self._mark = ""
        self._lost = False
        self.known: Callable[[], Iterable[Write]] = tuple
        """The writes to make again on a server that has lost its keys."""

    async def take(self, name: str, key: str, rate: Rate) -> float | NoAnswer | None:
        """As `Counts.take`, of the budget that the key has with all gates together."""
        wait = await self._ask(name, partial(self._counts.take, key, rate))
        if wait is None or isinstance(wait, NoAnswer):
            return wait
        # No wait is longer than the interval, but for rounding. A server's clock set back, or a value
        # that is not ours, could make it longer, perhaps endless.
        return wait if wait <= rate.interval + LEAST_SECONDS else UNAVAILABLE

    async def claim(self, name: str, key: str, value: str, seconds: float) -> str | NoAnswer:
        """Store the value for so many seconds from now unless the key has another; return the key's value."""
        write = Write(key, value, seconds)
        return await self._write(name, write, lambda: _text(self._put(write, self._client)))

    async def read(self, name: str, key: str) -> str | NoAnswer | None:
        """The value of the key; None if it has none."""
        if self._owed.deleted(key):
            return None

        def question() -> tuple[str | None, str]:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(_full(key))
                pipeline.get(_full(MARK))
                value, mark = pipeline.execute()
            return None if value is None else _text(value), "" if mark is None else _text(mark)

        answer = await self._ask(name, question)
        if isinstance(answer, NoAnswer):
            return answer
        value, mark = answer
        if value is not None:
            return value
        self._judge(mark)
        return UNAVAILABLE if self._breaker.settling else None

    async def delete(self, name: str, key: str) -> None:
        """Forget the key: here at once, on the server as soon as possible."""
        write = Write(key)
        await self._write(name, write, lambda: self._put(write, self._client))

    async def keep(self) -> None:
        """Log whether the server can be reached now, and keep it up to date for ever."""
        while True:
            await self.catch_up()
            parts = LOOKS if self._breaker.away or self._lost or self._owed.next() else 1
            await trio.sleep(self._retry_seconds / parts)

    async def catch_up(self) -> None:
        """If the server answers, make up for writes that it has missed or lost."""
        mark = await self._ask("", self._read_mark, again=True)
        if isinstance(mark, NoAnswer):
            return
        self._judge(mark)
        if self._lost and not await self._tell_again():
            return
        while owed := self._owed.next():
            name, writes = owed
            made = await self._ask("", partial(self._make_up, writes))
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
            if isinstance(await self._ask("", partial(self._make_up, writes)), NoAnswer):
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

    def _read_mark(self) -> str:
        """In a thread: the mark. The first gate that finds none makes one for all.

        This writes in any case: a server that answers but takes no writes is not back.
        """
        key = _full(MARK)
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.set(key, secrets.token_hex(8), nx=True)
            pipeline.get(key)
            _, mark = pipeline.execute()
        return _text(mark)

    def _put(self, write: Write, client: Redis) -> Any:
        key = _full(write.key)
        if not write.value:
            return client.delete(key)
        ttl = max(1, math.ceil(write.seconds))
        return self._claim([key], [write.value, ttl], client=client)

    def _make_up(self, writes: list[Write]) -> list[Write]:
        """In a thread: make the writes; return those that the server took."""
        with self._client.pipeline(transaction=False) as pipeline:
            for write in writes:
                self._put(write, pipeline)
            answers = pipeline.execute(raise_on_error=False)
        answered = zip(writes, answers, strict=True)
        return [write for write, answer in answered if not isinstance(answer, Exception)]

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
            self._breaker.failed(ticket, f"no answer within {CALL_SECONDS:g} s")
            return UNAVAILABLE

    def _try(self, question: Callable[[], T], ticket: int) -> T | NoAnswer:
        """In a thread: ask the question, unless it has become pointless while it waited its turn."""
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
    """Decides whether the server is worth asking. Any thread may call its methods.

    A ticket is the number of failures known when it was given out, so the result of a call counts
    only if no other call has failed since.
    """

    def __init__(self, address: str, retry_seconds: float) -> None:
        self._address = address
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None  # by time.monotonic(); None while the server answers
        self._settled_at = -math.inf

    def admit(self, *, again: bool = False) -> int | None:
        """A ticket for one call, or None: after a failure, only one call `again` every `retry_seconds`."""
        with self._lock:
            if self._retry_at is not None:
                now = time.monotonic()
                if not again or now < self._retry_at:
                    return None
                self._retry_at = now + self._retry_seconds
            return self._failures

    @property
    def away(self) -> bool:
        """True if the last call that counts failed."""
        return self._retry_at is not None

    @property
    def settling(self) -> bool:
        """True while other gates may still have to tell the server its missing keys."""
        return time.monotonic() < self._settled_at

    def settle(self) -> None:
        """From now on, give the other gates time for that."""
        self._settled_at = time.monotonic() + SETTLING_RETRIES * self._retry_seconds

    def valid(self, ticket: int) -> bool:
        """True if no call has failed since the ticket was given out."""
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
                self.settle()
        if news:
            logger.info("shared state at %s is back", self._address)


def shared_address(url: str) -> str:
    """The address of the store at `url`, without user, password and query: for the log.

    Raises ValueError for any other URL, in words that complete «NAME: ...» and hold no part of it.
    """
    if match := _SOCKET.fullmatch(url):
        return f"unix://{match['path']}"
    match = _PLAIN.fullmatch(url) or _TLS.fullmatch(url)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(_WORDS)
    return f"{match['scheme']}://{match['host']}:{match['port'] or 6379}{match['db'] or ''}"


def _open_store(client: Redis) -> BaseStore:
    """throttled-py's store over our client; by itself, it would open a second one."""
    from throttled.store import RedisStore, RedisStoreBackend

    class Backend(RedisStoreBackend):
        def get_client(self) -> SyncRedisClientP:
            return cast("SyncRedisClientP", client)

    class Store(RedisStore):
        _BACKEND_CLASS = Backend

    return Store()


def _kinds(error: BaseException) -> str:
    """The types of this error and its causes, the first cause first. Their texts could repeat the URL."""
    earlier = error.__cause__ or error.__context__
    return f"{_kinds(earlier)}, {type(error).__name__}" if earlier else type(error).__name__


def _full(key: str) -> str:
    return f"{PREFIX}:{key}"


def _text(value: Any) -> str:
    """The bytes of an answer as text. Raises for anything else."""
    return bytes.decode(value)
