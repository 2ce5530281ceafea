"""The doctor's look at the gate in which it runs, for the dashboard: one at a time, beside the serving, and bounded.

Both halves have a thread of their own, so that no call waits for them: a disk may hang, and certificate authorities
take long to read. The half that asks the public address runs there on a loop of its own.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVarTuple

import trio

from gatehouse.doctor.examine import examine
from gatehouse.doctor.finding import Finding, Level, cleaned, found
from gatehouse.doctor.target import read_target
from gatehouse.doctor.tokens import sendable
from gatehouse.doctor.visit import Visit
from gatehouse.errors import without_message
from gatehouse.http.address import is_loopback
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

Ts = TypeVarTuple("Ts")

logger = logger_of("gate.doctor")

MAX_SECONDS = 90.0
"""How long one look may take. A sound gate needs a tenth of it."""

IDLE_SECONDS = 5.0
"""How long a silent stream is watched: it shows a front that holds back, though not one that cuts after a minute."""

MACHINE_THREADS = OwnThreads("doctor: this machine")
ADDRESS_THREADS = OwnThreads("doctor: the address")

MACHINE = "this machine"
"""The name of the half that looks at this machine, among the checks that are under way."""

CLOSED = {"name-unknown", "no-connection"}
"""The words of the first check if there is no way from here to the public address."""

FROM_INSIDE = "it could not be tried from inside, which says nothing about clients elsewhere"

MORE_WITH_ONE = "Give a token, for this one look, and the rest is tried, too"

LET_THROUGH_ONLY = "Nothing: FRONT_REQUIRED is set, and the doctor cannot sign in at the front"

NO_MORE_TOKENS = {"one-token"}
"""Findings that ask for a second token, which a look from the dashboard has not."""


class Result(NamedTuple):
    """A look that is over."""

    at: float
    """The Unix time of its end."""
    machine: list[Finding]
    address: list[Finding]
    with_token: bool


@dataclass
class Stop:
    """Ends a loop in another thread, whether it has begun or not."""

    asked: bool = False
    scopes: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = field(default_factory=list)

    def ask(self) -> None:
        """End it as soon as possible."""
        self.asked = True
        for token, scope in self.scopes:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(scope.cancel)

    async def obey(self, function: Callable[[], Awaitable[object]], seconds: float) -> bool:
        """In the other loop: call the function; False if it did not end in time, or by itself."""
        with trio.move_on_after(seconds) as scope:
            self.scopes.append((trio.lowlevel.current_trio_token(), scope))
            if self.asked:
                scope.cancel()
            await function()
        return not scope.cancelled_caught


class Checkup:
    """Looks at a running gate whenever somebody begins a look, and keeps the last result.

    `machine` gives the findings about this machine, one after the other, in a thread. `endpoint` is the URL that clients
    use. `hidden` are the gate's secrets, which no finding shows. With `behind_front`, only the front's own people come in.
    """

    def __init__(
        self,
        machine: Callable[[], Iterable[Finding]],
        endpoint: str,
        *,
        hidden: Sequence[str] = (),
        behind_front: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.result: Result | None = None
        self.began = math.inf
        """The Unix time when the look under way began; infinite if none is."""
        self.under_way: dict[str, None] = {}
        """The names of the checks that run now."""
        self.done = 0
        """How many checks of this look are done."""
        self._machine = machine
        self._hidden = tuple(hidden)
        self._behind_front = behind_front
        self._asks, self._asked = trio.open_memory_channel[str](1)

    @property
    def running(self) -> bool:
        """True while a look is under way."""
        return self.began < math.inf

    def begin(self, token: str = "") -> bool:
        """Begin a look, with a token or without; False if one is under way.

        Raises ValueError, in words that do not repeat the token, if nobody could send it.
        """
        if token and not sendable(token):
            raise ValueError("a token holds visible ASCII characters only, no spaces")
        if self.running:
            return False
        self.began, self.done = time.time(), 0
        self.under_way.clear()
        self._asks.send_nowait(token)
        return True

    async def keep(self) -> None:
        """Look whenever somebody has asked for it, for ever."""
        while True:
            token = await self._asked.receive()
            try:
                self.result = await self._look(token)
            finally:
                self.began = math.inf
                del token

    async def _look(self, token: str) -> Result:
        machine: list[Finding] = []
        address: list[Finding] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(contained, self._look_at_machine, machine)
            nursery.start_soon(contained, self._look_at_address, address, token)
        secrets = (*self._hidden, token)
        seen = [self._as_seen_from_inside(each, token) for each in address]
        return Result(
            time.time(),
            cleaned(machine, secrets),
            cleaned((each for each in seen if each.word not in NO_MORE_TOKENS), secrets),
            with_token=bool(token),
        )

    async def _look_at_machine(self, findings: list[Finding]) -> None:
        told: list[Finding] = []
        self._progress(MACHINE, False)
        if not MACHINE_THREADS.busy:
            with trio.move_on_after(MAX_SECONDS):
                await MACHINE_THREADS.run(lambda: told.extend(self._machine()))
                findings += told
                self._progress(MACHINE, True)
                return
        # A thread that is left behind may still add to its own list.
        findings += [*told, unfinished("a disk, or a server of names or keys, does not answer")]

    async def _look_at_address(self, findings: list[Finding], token: str) -> None:
        target, _ = read_target(self.endpoint)
        visit = Visit(target, tuple(filter(None, [token])), IDLE_SECONDS)
        told: list[Finding] = []
        stop = Stop()
        whole = False

        async def look() -> None:
            await examine(visit, self._progress, told.extend)

        try:
            if not ADDRESS_THREADS.busy:
                with trio.move_on_after(MAX_SECONDS):
                    whole = await ADDRESS_THREADS.run(trio.run, stop.obey, look, MAX_SECONDS - 1)
        finally:
            stop.ask()
        findings += told
        if not whole:
            left = ", ".join(sorted(self.under_way.keys() - {MACHINE})) or "none"
            findings.append(unfinished(f"these checks were not over: {left}"))

    def _progress(self, name: str, done: bool) -> None:
        """Note that a check begins or ends; threads call it."""
        if done:
            self.under_way.pop(name, None)
            self.done += 1
        else:
            self.under_way[name] = None

    def _as_seen_from_inside(self, finding: Finding, token: str) -> Finding:
        """The finding, in milder words if it tells of the doctor's own place, and not of the gate."""
        host = read_target(self.endpoint)[0].host
        if finding.word in CLOSED and not is_loopback(host):
            return replace(
                found("not-from-here", f"{finding.seen}; {FROM_INSIDE}"), check=finding.check
            )
        if finding.word in {"token-needed", "sign-in-needed"} and not token:
            return replace(finding, level=Level.NOTE, remedy=MORE_WITH_ONE)
        if finding.word == "front-first" and self._behind_front:
            return replace(finding, level=Level.NOTE, remedy=LET_THROUGH_ONLY)
        return finding


async def contained(
    look: Callable[[list[Finding], *Ts], Awaitable[None]],
    findings: list[Finding],
    *args: *Ts,
) -> None:
    """Call one half of a look; an error in it is a finding: the gate serves on."""
    try:
        await look(findings, *args)
    except Exception as error:  # noqa: BLE001 - whatever a disk or a server brings about
        logger.error("the doctor's look failed: %s", without_message(error))
        findings.append(found("check-failed", f"the look failed ({type(error).__name__})"))


def unfinished(words: str) -> Finding:
    """The finding for a look that could not be brought to its end."""
    return found("unfinished", f"not done within {MAX_SECONDS:g} s: {words}")
