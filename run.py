"""Start the gate and the MCP server behind it: `python run.py`; `python run.py tokens` manages tokens.

The start: settings, logging and sockets come first, so that a fault in them is one clear line and
status 2. Then one Trio nursery holds everything. The gate listens at once; the MCP server is imported
and started behind it, or already runs elsewhere (`MCP_APP` empty).

The end: at SIGINT or SIGTERM the gate turns new requests away, and those in flight may finish within
GRACE_SECONDS. Only then the listeners close, and the MCP server, no longer needed, is stopped; it has the
rest of the grace. A second signal ends everything at once. Within a second after the grace, or after the
server's death, the process is gone, whatever a tool still does (`gatehouse/process/ending.py`). Exit
status: 0 after a signal, 1 after two or if the MCP server died, 2 if the program could not start. SIGHUP
has the tokens file read anew, other signals end nothing (`gatehouse/process/signals.py`).
"""

from __future__ import annotations

import sys

from gatehouse import advice

if advice.unfit():
    print(advice.unfit(), file=sys.stderr)  # noqa: T201
    sys.exit(2)

from gatehouse.process import fresh_start, signals

if __name__ == "__main__":
    fresh_start.open_missing()
    if not sys.argv[1:]:  # a command hosts nobody
        fresh_start.leave_no_core()
        try:
            fresh_start.leave_secrets_behind()
        except (OSError, ValueError) as _error:
            # Refused, though it could serve: every tool could read the secrets there, and nobody would know.
            print(  # noqa: T201
                f"cannot start anew without secrets in the environment ({_error}); set them in .env instead: "
                + ", ".join(fresh_start.SECRETS),
                file=sys.stderr,
            )
            sys.exit(2)
    signals.begin()  # before what takes long
    fresh_start.signals_may_come()

from typing import TYPE_CHECKING

import trio

from gatehouse.assembly.commands import run_command
from gatehouse.assembly.start import open_house, speak_json_if_asked
from gatehouse.assembly.tokens import state_mode
from gatehouse.commands.parser import parser
from gatehouse.downstream.serve import LifespanEndedError, serve
from gatehouse.errors import FaultsError, sole_cause
from gatehouse.hosting.faults import HostedServerError
from gatehouse.process.ending import LATE_SECONDS, Ending
from gatehouse.process.reactions import Reactions
from gatehouse.process.signals import Signals
from gatehouse.records import outputs
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.turns import let_threads_in
from gatehouse.settings.environment import load_settings
from gatehouse.tokens.last_use import write_last_use

if TYPE_CHECKING:
    from gatehouse.assembly.announce import Announcement
    from gatehouse.assembly.house import House
    from gatehouse.hosting.server import HostedServer

logger = logger_of("gate")


def main(arguments: list[str] | None = None) -> int:
    """Run the program, or one of its commands; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        if options.command is not None:
            return run_command(options)
        program = Program(*open_house(load_settings()))
    except FaultsError as error:
        if options.command is None:
            speak_json_if_asked()
        return refuse(*error.faults)
    return run(program)


def run(program: Program) -> int:
    """Run the program to its end, whatever its threads do then; returns the exit status."""
    program.ending.start()
    let_threads_in()
    status = 1
    try:
        status = trio.run(program.run)
    except BaseExceptionGroup as group:
        failed = sole_cause(group)
        if isinstance(failed, HostedServerError):
            status = refuse(*failed.faults, status=1 if failed.started else 2)
        elif not isinstance(failed, LifespanEndedError):  # which has been logged
            raise
    finally:  # now Python waits for threads, perhaps for ever
        program.ending.leave(status)
    return status


class Program:
    """All that runs at the same time, in one nursery."""

    def __init__(self, house: House, announcement: Announcement) -> None:
        self.house = house
        self.announcement = announcement
        self.hosted = house.upstream_side.hosted
        self.stopping = trio.Event()
        self.stop_by = 0.0
        self.signals = Signals()
        self.ending = Ending(
            self.signals, self.keep_last_use_once, house.gate.tell_rest, flush=outputs.flush
        )
        self.reactions = Reactions(
            self.signals,
            self.ending,
            grace=lambda: self.grace,
            stop=self.stop,
            reload=house.reload_tokens,
        )

    async def run(self) -> int:
        """Serve until a signal comes, or the hosted server dies (HostedServerError); the exit status."""
        house = self.house
        async with trio.open_nursery() as nursery:
            self.reactions.begin(nursery.cancel_scope)
            nursery.start_soon(self.reactions.keep, house.upstream_side.started)
            for task in house.background:
                nursery.start_soon(task)
            if self.hosted is not None:
                nursery.start_soon(self.host, self.hosted)
            nursery.start_soon(house.upstream_side.settle)
            async with trio.open_nursery() as gate_nursery:
                await gate_nursery.start(
                    serve, house.gate, house.listeners, house.connections, self.drained
                )
                self.announcement.listening()
            if self.hosted is not None:
                await self.hosted.stop(self.stop_by - trio.current_time())
            nursery.cancel_scope.cancel()
            return 0
        return 1

    async def host(self, hosted: HostedServer) -> None:
        """Run the hosted server; if it fails, the program ends even if some of its tasks go on."""
        try:
            await hosted.run(self.imported)
        except HostedServerError as error:
            status = 1 if error.started else 2
            if error.started:
                logger.error("stopping, since the server died: %s", self.house.in_flight)
            self.ending.within(LATE_SECONDS, status, "; ".join(error.faults))
            raise

    def imported(self, name: str) -> None:
        """The hosted server has been imported, and perhaps has taken signals."""
        self.house.landing.name = name
        self.announcement.server_is(name)
        self.signals.keep_handlers()

    @property
    def grace(self) -> float:
        """The grace for requests and the hosted server, in seconds; 0 if that server is not up yet."""
        return self.house.settings.grace_seconds if self.house.upstream_side.started.is_set() else 0

    def stop(self, why: str) -> None:
        """Begin to end, in order."""
        grace = self.grace
        logger.info("stopping at %s, within %g s: %s", why, grace, self.house.in_flight)
        self.stop_by = trio.current_time() + grace
        self.stopping.set()

    async def drained(self) -> None:
        """Wait for the end to begin, and for the requests in flight."""
        await self.stopping.wait()
        self.house.connections.close_resting()
        await self.house.gate.drain()

    def keep_last_use_once(self) -> None:
        """At a hard end, in a thread: write the uses of tokens since the last write."""
        settings = self.house.settings
        if settings.tokens_at is not None and settings.state_db is not None:
            used = dict(self.house.keyring.used)
            write_last_use(settings.state_db, used, state_mode(settings))


def refuse(*faults: str, status: int = 2) -> int:
    """Say on stderr why the program cannot run; returns the exit status."""
    for fault in faults:
        outputs.complain(fault)
    return status


if __name__ == "__main__":
    sys.exit(main())
