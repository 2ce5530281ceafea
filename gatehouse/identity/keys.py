"""The keys of an authorization server, or of a front: fetched in the background, and never replaced by less."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import trio

from gatehouse.errors import type_name
from gatehouse.http.asked import AskError
from gatehouse.identity.clock import clock as unix_time
from gatehouse.identity.public_keys import PublicKeys, read_keys
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.identity.public_keys import PublicKey

logger = logger_of("gate.identity")

REFRESH_SECONDS = 600.0
"""The time between fetches, unless the answer says for how long it may be kept: by then a key taken out is out."""

MIN_REFRESH_SECONDS, MAX_REFRESH_SECONDS = 60.0, 3600.0
"""However short or long the answer says that it may be kept."""

RETRY_SECONDS = 20.0
"""From the beginning of a fetch that failed to the next: a server that is back is noticed within half a minute."""

FETCH_SECONDS = 26.0
"""How long a fetch may take: up to five questions, where the keys are and for them, with 5 s for each. A server that
is back in the middle of it answers the questions that are left."""

ASK_SECONDS = 30.0
"""From one fetch for an unknown kid to the next, whatever its outcome: anybody can think of kids."""

WAIT_SECONDS = 2.0
"""How long a request waits for the key of its token. The fetch goes on without it."""

LEAST_PAUSE_SECONDS = 1.0
"""From one fetch to the next, at the least, even if keys grow too old sooner than that."""

NO_KEYS_SECONDS = 5.0
"""When to come back while there are no keys: they are fetched again all the time."""


class KeySource(Protocol):
    """The keys of one owner, by which signatures are verified. `Keys` says what each of these means."""

    @property
    def are_good(self) -> bool:
        """True if there are keys, and they are not too old."""

    def has_kid(self, kid: str | None) -> bool:
        """True if there are good keys, and one has this kid, whatever its algorithm."""

    def fitting(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The good keys that may have signed a token with this kid and algorithm."""

    async def look_for(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The same for a key that is not here, after a wait that has a bound."""

    def retry_after(self, kid: str | None, came: float, issued: float | None) -> float | None:
        """When to come back with a token whose key is not here; None if that is of no use."""


class FetchedKeys(NamedTuple):
    """A JWK Set as it came, and for how many seconds it may be kept, if the answer said that."""

    document: Mapping[str, Any]
    max_age: float | None = None


@dataclass(slots=True)
class _Ask:
    """A wish for the key of one kid, and whether a fetch has answered it, one way or the other."""

    kid: str | None = None
    algorithm: str = ""
    since: float = math.inf
    """The Unix time of the wish."""
    answered: trio.Event = field(default_factory=trio.Event)


class Keys:
    """The last good set of keys, which `keep` renews.

    `fetch` may hang and raise what it likes. `on_change` is called when the set differs. `name` says whose the keys are,
    for the log. Keys older than `stale_seconds` are as good as none.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[FetchedKeys]],
        *,
        stale_seconds: float,
        on_change: Callable[[], None],
        name: str,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._fetch = fetch
        self._stale_seconds = stale_seconds
        # Keys that are renewed in time never grow too old while the server answers.
        self._longest_pause = max(LEAST_PAUSE_SECONDS, stale_seconds / 2)
        self._on_change = on_change
        self._name = name
        self._clock = clock
        self._keys = self._before = PublicKeys()
        self._fetched = -math.inf
        self._wake = trio.Event()
        self._ask = _Ask()
        self._ask.answered.set()
        self._next_ask = -math.inf
        self._trouble = ""
        self._unusable: Counter[str] | None = None

    @property
    def age(self) -> float:
        """The seconds since the good keys were asked for; infinite while there are none."""
        return self._clock() - self._fetched

    @property
    def good_until(self) -> float:
        """The Unix time at which the keys are too old; before all time if there are none."""
        return self._fetched + self._stale_seconds

    @property
    def are_good(self) -> bool:
        """True if there are keys, and they are not too old."""
        return self._clock() < self.good_until

    def holds(self, thumbprint: str) -> bool:
        """True if the key with this thumbprint (RFC 7638) is in the last good set."""
        return self._keys.holds(thumbprint)

    def has_kid(self, kid: str | None) -> bool:
        """True if there are good keys, and one has this kid, whatever its algorithm."""
        return self._keys.has_kid(kid) and self.are_good

    def fitting(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The good keys that may have signed a token with this kid and algorithm."""
        found = self._keys.fitting(kid, algorithm)
        return found if found and self.are_good else ()

    async def look_for(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """The same for a key that is not here: once in ASK_SECONDS a fetch is made for it.

        Only requests with the kid that the fetch is made for wait for it. It is the work of `keep`, and
        goes on without those who leave.
        """
        now = trio.current_time()
        if now >= self._next_ask:
            self._next_ask = now + ASK_SECONDS
            self._ask = _Ask(kid, algorithm, self._clock())
            self._wake.set()
        if kid == self._ask.kid:
            with trio.move_on_after(WAIT_SECONDS):
                await self._ask.answered.wait()
        return self.fitting(kid, algorithm)

    def retry_after(self, kid: str | None, came: float, issued: float | None) -> float | None:
        """When to come back with a token whose key is not here: a number of seconds.

        None if that is of no use, because its key would be here: the token is older than the good keys, since it
        came, or says that it was issued, before them.
        """
        if not self.are_good:
            return NO_KEYS_SECONDS
        # Issuers leave out parts of seconds. A key that was taken out, or looked for in vain, is hardly one to come.
        in_vain = kid == self._ask.kid and self._fetched >= self._ask.since
        slack = 0 if in_vain or self._before.has_kid(kid) else 1
        if self._fetched >= (came if issued is None else min(came, issued + slack)):
            return None
        return max(1.0, self._next_ask - trio.current_time())

    async def keep(self) -> None:
        """Fetch the keys, again and again; never returns. Nothing else fetches them."""
        while True:
            began, ask = trio.current_time(), self._ask
            pause = await self._renew()
            if self._ask is ask:
                self._ask.answered.set()
            elif self.fitting(self._ask.kid, self._ask.algorithm):
                self._ask.answered.set()
                self._next_ask = -math.inf  # no fetch was made for it
            if self._ask.answered.is_set():
                self._wake = trio.Event()
                with trio.move_on_at(began + min(pause, self._longest_pause)):
                    await self._wake.wait()

    async def _renew(self) -> float:
        """Fetch the keys once. Returns the seconds from now to the next time."""
        began = self._clock()
        try:
            with trio.fail_after(FETCH_SECONDS):
                fetched = await self._fetch()
            keys, unusable = read_keys(fetched.document)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next time may go well
            self._tell_trouble(_words_for(error))
            return RETRY_SECONDS
        self._tell_unusable(unusable)
        if not keys:
            self._tell_trouble("the answer has no key that the gate can use")
            return RETRY_SECONDS
        self._put(keys, began)
        seconds = REFRESH_SECONDS if fetched.max_age is None else fetched.max_age
        return min(MAX_REFRESH_SECONDS, max(MIN_REFRESH_SECONDS, seconds))

    def _put(self, keys: PublicKeys, fetched: float) -> None:
        before, self._keys, self._fetched = self._keys, keys, fetched
        if keys.all != before.all:
            self._before = before
            logger.info("the keys of %s are new; in use: %d", self._name, len(keys))
            self._on_change()
        elif self._trouble:
            logger.info("the keys of %s can be fetched again", self._name)
        self._trouble = ""

    def _tell_trouble(self, words: str) -> None:
        """Log that a fetch failed: once until it is over, and once more if the keys grow too old meanwhile."""
        trouble = "for now" if self.are_good else "none"
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning(
                "the keys of %s cannot be fetched, so %s: %s",
                self._name,
                f"those in use stay for {self.good_until - self._clock():.0f} s more"
                if self.are_good
                else "all that it signed is answered with 503 until they can",
                words,
            )

    def _tell_unusable(self, unusable: Counter[str]) -> None:
        """Log how many keys of which kinds the gate leaves out, once per change."""
        if unusable != (self._unusable or {}):
            told = ", ".join(f"{number} {words}" for words, number in sorted(unusable.items()))
            logger.info("keys of %s that the gate does not use: %s", self._name, told or "none")
        self._unusable = unusable


def _words_for(error: Exception) -> str:
    """Why there is no answer. The words are ours: the texts of other errors could repeat anything."""
    if isinstance(error, AskError):
        return error.words
    if isinstance(error, trio.TooSlowError):
        return f"no answer came within {FETCH_SECONDS:g} s"
    return f"asking for them failed with {type_name(type(error))}"
