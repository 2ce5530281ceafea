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

import os
import sys

if not (3, 11) <= sys.version_info < (3, 14):
    # trio-asyncio does not import on 3.14 (python-trio/trio-asyncio#160).
    print("This needs Python 3.11 to 3.13; python3.13 run.py, for example.", file=sys.stderr)  # noqa: T201
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

import importlib
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import trio

from gatehouse.assembly.house import House
from gatehouse.assembly.tokens import parser_of
from gatehouse.commands.notice import startup_notice
from gatehouse.commands.parser import parser
from gatehouse.downstream.listeners import CannotListenError, bind, inherited
from gatehouse.downstream.serve import LifespanEndedError, serve
from gatehouse.errors import sole_cause
from gatehouse.hosting.faults import HostedServerError
from gatehouse.hosting.loading import IMPORT_THREADS
from gatehouse.process import forks
from gatehouse.process.ending import LATE_SECONDS, SECOND_SECONDS, Ending
from gatehouse.process.memory import settle_memory
from gatehouse.process.signals import Signals
from gatehouse.records import outputs
from gatehouse.records.log import configure_logging
from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.turns import let_threads_in
from gatehouse.settings.environment import Settings, SettingsError, load_settings, make_token
from gatehouse.tokens.file import TokensError, read_text
from gatehouse.tokens.last_use import write_last_use

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from gatehouse.hosting.server import HostedServer

logger = logger_of("gate")

STUCK = "what still runs (a tool, or the server's lifespan) does not end, so the program ends without it"

KEEP_HANDLERS_SECONDS = 1.0
"""How often signals are checked: other code may have taken one away."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program, or one of its commands; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        settings = load_settings()
        if options.command == "tokens":
            from gatehouse.commands.tokens import tokens_command  # late: serving needs no tomlkit

            signals.give_back()
            return tokens_command(options, settings.tokens_file, settings.state_db)
        return start(settings)
    except (SettingsError, TokensError) as error:
        return refuse(*error.faults)
    except CannotListenError as error:
        return refuse(str(error))


def start(settings: Settings) -> int:
    """Serve until a signal comes; returns the exit status.

    Raises TokensError, SettingsError or CannotListenError if it cannot.
    """
    return run(*prepared(settings))


def prepared(settings: Settings) -> tuple[Program, Callable[[], None]]:
    """The program that `settings` describe, and the function that announces it. Raises as `start` does.

    A function of its own, because its variables hold secrets: a hosted server that reports an error with the
    variables of the whole stack (as Sentry's client does) finds none of them while the program runs.
    """
    given = settings.mcp_auth_token
    one_off = make_token() if settings.makes_token else None
    shared = given.get_secret_value() if given else one_off or ""
    file = settings.tokens_file
    tokens = parser_of(settings, file)(read_text(file)) if file else ()
    if not shared and not tokens:
        raise TokensError(
            [f"{settings.tokens_file}: has no tokens; make one with: python run.py tokens add NAME"]
        )
    secret = secrets.token_urlsafe(32)
    hidden = [*secrets_of(settings), one_off or "", secret]
    configure_logging(hidden, json=settings.log_format == "json")
    handed = inherited()
    listeners = handed or bind("PORT", settings.host, settings.port)
    ports = {end.getsockname()[1] for end in listeners} | {settings.upstream_port}
    endpoint = endpoint_at(settings, handed)
    house = House(
        settings,
        listeners,
        endpoint=endpoint,
        tokens=tokens,
        shared_token=shared,
        secret=secret,
        hidden=hidden,
    )
    forks.keep_sockets(ports)
    notice = startup_notice(
        endpoint,
        one_off_token=one_off,
        names=[token.name for token in tokens],
        url_keys=house.keyring.takes_url_keys,
        upstream=settings.mcp_app if house.there.hosted else house.there.upstream.authority,
    )
    last_uses = settings.state_db if file else None
    program = Program(house, grace_seconds=settings.grace_seconds, last_uses=last_uses)
    return program, lambda: outputs.say(notice)


def run(program: Program, announce: Callable[[], None]) -> int:
    """Run the program to its end, whatever its threads do then; returns the exit status."""
    program.ending.start()
    let_threads_in()
    status = 1
    try:
        status = trio.run(program.run, announce)
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

    def __init__(self, house: House, *, grace_seconds: float, last_uses: Path | None) -> None:
        self.house = house
        self.hosted = house.there.hosted
        self.grace_seconds = grace_seconds
        self.last_uses = last_uses
        self.stopping = trio.Event()
        self.stop_by = 0.0
        self.signals = Signals()
        self.ending = Ending(
            self.signals, self.keep_last_use_once, house.gate.tell_rest, outputs.flush
        )

    async def run(self, announce: Callable[[], None]) -> int:
        """Serve until a signal comes, or the hosted server dies (HostedServerError); the exit status."""
        async with trio.open_nursery() as nursery:
            self.heed_signals(nursery.cancel_scope)
            nursery.start_soon(self.keep_handlers)
            for task in self.house.background:
                nursery.start_soon(task)
            if self.hosted is not None:
                nursery.start_soon(self.host, self.hosted)
            nursery.start_soon(self.settle)
            async with trio.open_nursery() as gate_nursery:
                await gate_nursery.start(
                    partial(
                        serve, self.house.gate, self.house.config, shutdown_trigger=self.drained
                    )
                )
                announce()
            if self.hosted is not None:
                await self.hosted.stop(self.stop_by - trio.current_time())
            nursery.cancel_scope.cancel()
            logger.info("ended")
            return 0
        return 1

    async def host(self, hosted: HostedServer) -> None:
        """Run the hosted server; if it fails, the program ends even if some of its tasks go on."""
        try:
            await hosted.run(self.imported)
        except HostedServerError as error:
            status = 1 if error.started else 2
            self.ending.within(LATE_SECONDS, status, "; ".join(error.faults))
            raise

    def imported(self, name: str) -> None:
        """The hosted server has been imported, and perhaps has taken signals."""
        self.house.landing.name = name
        self.signals.keep_handlers()

    def heed_signals(self, everything: trio.CancelScope) -> None:
        """From now on, let signals take effect."""
        token = trio.lowlevel.current_trio_token()
        stops = 0

        def tell(function: Callable[[], object]) -> None:
            with suppress(trio.RunFinishedError):  # then the end is under way
                token.run_sync_soon(function)

        def heard(signum: int) -> None:
            """In the thread that waits for signals, and for the end."""
            nonlocal stops
            name = signals.name_of(signum)
            if signum in signals.STOPPING:
                stops += 1
                if stops == 1:
                    self.ending.within(self.grace + LATE_SECONDS, 0, STUCK)
                    tell(self.stop)
                else:
                    self.ending.within(SECOND_SECONDS, 1)
                    tell(everything.cancel)
            elif signum in signals.RELOADING:
                logger.info("%s: reading the tokens file anew, if there is one", name)
                tell(self.reload)
            else:  # perhaps a tool's own; its handler is to be called now, not when the loop wakes up
                if signum in signals.IDLE and signals.is_idle(signum):
                    idle.warning(name, "%s: ends nothing, and reopens nothing", name, lines=1)
                tell(int)

        idle = LogBudget(logger)
        self.ending.heard = heard
        self.signals.keep_handlers()

    @property
    def grace(self) -> float:
        """The grace for requests and the hosted server, in seconds; 0 if that server is not up yet."""
        up = self.hosted is None or self.hosted.started.is_set()
        return self.grace_seconds if up else 0

    def stop(self) -> None:
        """Begin to end, in order."""
        grace, busy = self.grace, len(self.house.gate.in_flight)
        logger.info("stopping: %d requests under way have at most %g s to finish", busy, grace)
        self.stop_by = trio.current_time() + grace
        self.stopping.set()

    def reload(self) -> None:
        """Read the tokens file now."""
        with suppress(trio.WouldBlock):
            self.house.asks_to_reload.send_nowait(None)

    async def keep_handlers(self) -> None:
        """Keep signals ours, whatever a hosted server does; never returns."""
        if self.hosted is not None:
            await self.hosted.started.wait()
        while True:
            self.signals.keep_handlers()
            await trio.sleep(KEEP_HANDLERS_SECONDS)

    def keep_last_use_once(self) -> None:
        """At a hard end, in a thread: write the uses of tokens since the last write."""
        if self.last_uses is not None:
            write_last_use(self.last_uses, dict(self.house.keyring.used))

    async def drained(self) -> None:
        await self.stopping.wait()
        self.house.config.close_resting()
        await self.house.gate.drain()

    async def settle(self) -> None:
        """Once everything is up, make less work for the collector."""
        if self.hosted is not None:
            await self.hosted.started.wait()
            logger.info("the server %s is up", self.hosted.import_string)
        with suppress(Exception):  # the code that needs it tries again
            # The counters of failures and rates: imported now, they keep nobody waiting later.
            await IMPORT_THREADS.run(importlib.import_module, "throttled")
        settle_memory()


def endpoint_at(settings: Settings, handed: list[socket.socket]) -> str:
    """The endpoint that clients are told of: where the listeners are that were handed down, if there are any."""
    if handed:
        host, port = handed[0].getsockname()[:2]
        settings = settings.model_copy(update={"host": host, "port": port})
    return settings.public_endpoint


def secrets_of(settings: Settings) -> list[str]:
    """The secrets that no line of log may hold, and that the environment no longer holds."""
    for name in fresh_start.secret_names():
        del os.environ[name]
    url = settings.shared_state_url
    password = urlsplit(url.get_secret_value()).password if url else None
    tokens = (settings.mcp_auth_token, settings.metrics_token)
    return [token.get_secret_value() for token in tokens if token] + [unquote(password or "")]


def refuse(*faults: str, status: int = 2) -> int:
    """Say on stderr why the program cannot run; returns the exit status."""
    for fault in faults:
        outputs.complain(fault)
    return status


if __name__ == "__main__":
    sys.exit(main())
