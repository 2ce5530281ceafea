"""Grants of apps, as several gates share them in Redis: which code or token of each was used last, and which have ended.

A generation is the place of a code or refresh token in its grant's chain. Of all gates one alone takes each, by a
script that compares and sets at once. Ends stand in a stream, which each gate reads every second, and from its
beginning when it starts.

Redis is believed to know less than it should, never more: it may have lost its keys, which the mark among them shows.
Each gate then tells it again what it knows, and until all have had the time for that, no generation is taken. A gate
goes by its own memory besides. Whoever can write to Redis can end grants, and keep apps from their tokens. They bring
no grant back to life and make no token, which only the holder of the gate's secret can; but whoever deletes there what
was used, and has an old token as well, may use that once more at a gate that has no memory of its own.
"""

from __future__ import annotations

import re
import secrets
from functools import partial
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from gatehouse.policy.counting import PREFIX
from gatehouse.policy.entries import MARK
from gatehouse.policy.owed_writes import MAX_BATCH
from gatehouse.policy.shared_state import UNAVAILABLE, NoAnswer
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis import Redis

    from gatehouse.policy.shared_state import SharedState

logger = logger_of("gate.shared")

NAME = "grants of apps"
"""In whose name ends are asked about. No principal's id has a space."""

MAX_ENDS = 8192
"""How many ends the stream keeps, the latest: some 1 MiB. A gate that was away while more came has missed some."""

MAX_OWED = 4096
"""How many ends are owed to a Redis that is away, the latest. Here they hold in any case."""

MAX_READ = 500
"""How many ends are read at a time."""

MAX_READS = 40
"""How many times in a row they are read: enough for the whole stream, however fast somebody else writes there."""

SETTLING_SECONDS = 3.0
"""How long after Redis has lost its keys no generation is taken: other gates notice that within a second, and have told
it again within another."""

FIRST_LOOK_SECONDS = 1.0
"""How long an app waits until a gate that has just started knows the state of Redis."""

_GENERATION = f"{PREFIX}:grant:"
_MARK = f"{PREFIX}:{MARK}"
_ENDS = f"{PREFIX}:ended-grants"
_END = re.compile(r"(\S{1,100}) (\S{0,100}) ([0-9]{1,16})", re.ASCII)

# The entry of a grant is «generation, when it was taken by the clock of Redis in milliseconds, by which attempt».
# Arguments: the generation to take (-1: none), the one that the gate has in memory, the attempt, the seconds to keep the
# entry, and the mark that Redis must have (empty: any). The answer: whether it was taken, the last generation, its age;
# nothing if that cannot be told.
_TAKE = """
if ARGV[5] ~= "" and redis.call("GET", KEYS[2]) ~= ARGV[5] then return {} end
local now = redis.call("TIME")
now = now[1] * 1000 + math.floor(now[2] / 1000)
local last, at, by, taken, changed = -1, 0, "", 0, false
local entry = redis.call("GET", KEYS[1])
if entry then
    local one, two, three = string.match(entry, "^(%d+) (%d+) (%x*)$")
    if not one or #one > 9 or #two > 15 then return {} end
    last, at, by = tonumber(one), tonumber(two), three
end
local wanted, known = tonumber(ARGV[1]), tonumber(ARGV[2])
if known > last then last, at, by, changed = known, 0, "", true end
if wanted > last then
    last, at, by, taken, changed = wanted, now, ARGV[3], 1, true
elseif wanted == last and by == ARGV[3] and by ~= "" then
    taken = 1
end
if changed then redis.call("SET", KEYS[1], last .. " " .. at .. " " .. by, "EX", ARGV[4]) end
return {taken, last, now - at}
"""


class Taken(NamedTuple):
    """The answer of Redis to a gate that wants to take a generation."""

    first: bool
    """True if this attempt took it, and no other."""
    last: int
    """The last generation that anybody took."""
    age: float
    """How many seconds ago that was."""


class News(NamedTuple):
    """The state of the stream: the mark of Redis, and texts by their place in the stream."""

    mark: bytes
    ends: list[tuple[bytes, bytes]]


class SharedGrants:
    """One gate's part in it.

    Entries are kept for `seconds`. `learn` is told each end that another gate may have brought about: person, grant (or
    "" for all of theirs), moment in milliseconds; it raises ValueError if that makes no sense. `generations` and `ends`
    tell all that this gate knows.
    """

    def __init__(
        self,
        shared: SharedState,
        *,
        seconds: float,
        learn: Callable[[str, str, int], None],
        generations: Callable[[], Iterable[tuple[str, int]]],
        ends: Callable[[], Iterable[tuple[str, str, int]]],
    ) -> None:
        self._shared = shared
        self._seconds = int(seconds)
        self._learn = learn
        self._generations = generations
        self._ends = ends
        self._mark = b""
        self._after = b"0"
        self._settled_at = -inf
        self._untold: list[tuple[str, int]] = []
        self._owed: dict[tuple[str, str], int] = {}
        self._turn = trio.Lock()
        self._log = LogBudget(logger)

    async def take(
        self, person: str, grant: str, generation: int, *, known: int, attempt: str
    ) -> Taken | NoAnswer:
        """Take the grant's generation, or fail to; `known` is the last one in this gate's memory, or -1.

        `attempt`, in hex digits, is new for each call, but for one that repeats an earlier one without an answer: Redis
        may have heard that one all the same.
        """
        if not self._mark:
            with trio.move_on_after(FIRST_LOOK_SECONDS):
                await self.catch_up()
        if not self._mark or trio.current_time() < self._settled_at:
            return UNAVAILABLE
        args = [generation, known, attempt, self._seconds, self._mark]
        return await self._shared.ask(person, partial(_take, grant, args)) or UNAVAILABLE

    def owe(self, person: str, grant: str, moment: int) -> None:
        """The grant has ended, or all of the person that began up to that moment: Redis must know."""
        self._owed.pop((person, grant), None)
        self._owed[person, grant] = moment
        if len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]

    async def catch_up(self) -> None:
        """Learn what is new, and tell what is owed. Call it every second."""
        async with self._turn:
            for _ in range(MAX_READS):
                news = await self._shared.ask(NAME, partial(_news, self._after))
                if isinstance(news, NoAnswer):
                    return
                if news.mark != self._mark:
                    self._begin_anew(news.mark)
                    continue
                for place, text in news.ends:
                    self._after = place
                    self._read(text)
                if len(news.ends) < MAX_READ:
                    break
            await self.tell_ends()
            while some := self._untold[-MAX_BATCH:]:
                question = partial(_tell_generations, some, self._seconds)
                if isinstance(await self._shared.ask(NAME, question), NoAnswer):
                    return
                del self._untold[-len(some) :]

    async def tell_ends(self) -> None:
        """Tell Redis the ends that are owed."""
        while batch := dict(islice(self._owed.items(), MAX_BATCH)):
            texts = [f"{person} {grant} {at}" for (person, grant), at in batch.items()]
            question = partial(_add_ends, texts, self._seconds)
            if isinstance(await self._shared.ask(NAME, question), NoAnswer):
                return
            for key, at in batch.items():
                if self._owed.get(key) == at:
                    del self._owed[key]

    def _begin_anew(self, mark: bytes) -> None:
        """Redis has other keys than before, or this gate has just started: hear all, and tell all."""
        if self._mark:
            self._settled_at = trio.current_time() + SETTLING_SECONDS
        self._mark, self._after = mark, b"0"
        self._untold = [*self._generations()]
        for end in self._ends():
            self.owe(*end)

    def _read(self, text: bytes) -> None:
        """Learn of an end. One that Redis has is owed no more."""
        try:
            parts = _END.fullmatch(text.decode("ascii"))
            if parts is None:
                raise ValueError
            person, grant, moment = parts[1], parts[2], int(parts[3])
            self._learn(person, grant, moment)
        except ValueError:
            self._log.warning(
                "odd ends of grants",
                "shared state at %s has ends of grants that make no sense, and are ignored: no gate wrote them",
                self._shared.address,
                lines=1,
            )
            return
        if self._owed.get((person, grant), inf) <= moment:
            del self._owed[person, grant]


def _take(grant: str, args: list[Any], client: Redis) -> Taken | None:
    answer: Any = client.register_script(_TAKE)([_GENERATION + grant, _MARK], args)
    if not answer:
        return None
    first, last, age = answer
    return Taken(bool(first), int(last), int(age) / 1000)


def _tell_generations(known: list[tuple[str, int]], seconds: int, client: Redis) -> None:
    script = client.register_script(_TAKE)
    with client.pipeline(transaction=False) as pipeline:
        for grant, generation in known:
            keys = [_GENERATION + grant, _MARK]
            script(keys, [-1, generation, "", seconds, ""], client=pipeline)
        pipeline.execute()


def _add_ends(texts: list[str], seconds: int, client: Redis) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for text in texts:
            pipeline.xadd(_ENDS, {"end": text}, maxlen=MAX_ENDS)
        pipeline.expire(_ENDS, seconds)
        pipeline.execute()


def _news(after: bytes, client: Redis) -> News:
    """The mark, which the first gate that finds none makes for all, and the ends after that place.

    This writes in any case, as `Entries.read_mark` does.
    """
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(_MARK, secrets.token_hex(8), nx=True)
        pipeline.get(_MARK)
        pipeline.xread({_ENDS: after}, count=MAX_READ)
        _, mark, found = pipeline.execute()
    if not isinstance(mark, bytes):
        raise TypeError
    entries = found[0][1] if found else []
    return News(mark, [(place, _text_in(fields)) for place, fields in entries])


def _text_in(fields: Any) -> bytes:
    text = fields.get(b"end", b"") if isinstance(fields, dict) else b""
    return text if isinstance(text, bytes) else b""
