"""The entries that several gates share, as threads read and write them in the store: sealed, each for a while.

An entry belongs to the value that claimed it first. One that bears no seal of ours counts as if it were not there:
reading it finds nothing, and a claim replaces it.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.policy.counting import PREFIX

if TYPE_CHECKING:
    from redis import Redis

    from gatehouse.policy.owed_writes import Write
    from gatehouse.policy.seals import Seals

MARK = "mark"
"""The key whose value tells one life of the server's keys from the next."""

MAX_TRIES = 3
"""How many times a claim tries to replace an entry that has just changed again."""

# One script, so that no other write comes in between. An entry is compared as it was read before it is replaced.
_CLAIM = """
local held = redis.call("GET", KEYS[1])
if held and held ~= ARGV[1] and held ~= ARGV[3] then
    return held
end
redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])
return ARGV[1]
"""


class Found(NamedTuple):
    """The value that the store has for a key."""

    value: str | None
    """None without an entry that bears a seal of ours."""
    unsealed: bool
    """True if there is an entry without such a seal."""
    mark: str


class Entries:
    """The entries in the store that `client` asks. Its methods raise whatever the store makes redis-py raise."""

    def __init__(self, client: Redis, seals: Seals) -> None:
        self._client = client
        self._seals = seals
        self._claim = client.register_script(_CLAIM)

    def read(self, key: str) -> Found:
        """The value of the key, and the mark."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.get(_full(key))
            pipeline.get(_full(MARK))
            entry, mark = pipeline.execute()
        value = None if entry is None else self._seals.opened(key, _bytes(entry))
        return Found(value, entry is not None and value is None, _bytes(mark or b"").decode())

    def read_mark(self) -> str:
        """The mark. The first gate that finds none makes one for all.

        This writes in any case: a server that answers but takes no writes is not back.
        """
        key = _full(MARK)
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.set(key, secrets.token_hex(8), nx=True)
            pipeline.get(key)
            _, mark = pipeline.execute()
        return _bytes(mark).decode()

    def claim(self, write: Write) -> str | None:
        """Make the entry unless another value has it; return the value that has it.

        None if somebody else changes the entry again and again.
        """
        entry, replaced = self._seals.sealed(write.key, write.value), b""
        for _ in range(MAX_TRIES):
            held = _bytes(self._put(write, entry, replaced, self._client))
            if held == entry:
                return write.value
            value = self._seals.opened(write.key, held)
            if value not in {None, write.value}:
                return value
            replaced = held  # it is nobody's, or the same with other seals
        return None

    def delete(self, write: Write) -> None:
        """Remove the entry."""
        self._client.delete(_full(write.key))

    def make_up(self, writes: list[Write]) -> list[Write]:
        """Make these writes; return those that the server took."""
        replaced = dict.fromkeys(writes, b"")
        made: list[Write] = []
        for _ in range(MAX_TRIES):
            taken, replaced = self._make(replaced)
            made += taken
            if not replaced:
                break
        return made

    def _make(self, replaced: dict[Write, bytes]) -> tuple[list[Write], dict[Write, bytes]]:
        """Make the writes, each of which may replace an entry; return those that are made, and those to try again."""
        entries = {write: self._seals.sealed(write.key, write.value) for write in replaced}
        with self._client.pipeline(transaction=False) as pipeline:
            for write, held in replaced.items():
                self._put(write, entries[write], held, pipeline)
            answers = pipeline.execute(raise_on_error=False)
        made: list[Write] = []
        again: dict[Write, bytes] = {}
        for write, answer in zip(replaced, answers, strict=True):
            if isinstance(answer, Exception):
                continue
            if not write.value or _bytes(answer) == entries[write]:
                made.append(write)
            elif self._seals.opened(write.key, _bytes(answer)) in {None, write.value}:
                again[write] = _bytes(answer)
            else:
                made.append(write)  # another value has it
        return made, again

    def _put(self, write: Write, entry: bytes, replaced: bytes, client: Redis) -> Any:
        key = _full(write.key)
        if not write.value:
            return client.delete(key)
        ttl = max(1, math.ceil(write.seconds))
        return self._claim([key], [entry, ttl, replaced], client=client)


def _full(key: str) -> str:
    return f"{PREFIX}:{key}"


def _bytes(answer: Any) -> bytes:
    """The bytes of an answer. Raises TypeError for anything else."""
    if not isinstance(answer, bytes):
        raise TypeError
    return answer
