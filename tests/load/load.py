"""Puts load on a running gate, and tells what came of it: `python tests/load/load.py URL`.

Clients make small calls, one after the other, each on a connection that it keeps; meanwhile event streams
stay open. At the end come tables, with what the program used if `--pid` names it. `--plot` goes through
several numbers of streams, and draws what a call and a stream cost.

Calls are those of MCP 2026-07-28. A stream is a session of the version before, with its GET: FastMCP 4.1.2
does not serve `subscriptions/listen`, which takes its place. A server without sessions refuses streams.

Exit status: 0 if all went well, 1 if anything failed or Ctrl-C ended it early, 2 if it could not begin; one
sentence then says why. The token is never printed, whatever an answer or an error says.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import re
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if not __package__:  # run as a script: the repository takes the place of this folder, as with -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

import httpx
import trio
from rich.console import Console
from rich.progress import Progress

from tests.load import calls
from tests.load.calls import ENVELOPE, LEGACY, MODERN
from tests.load.plot import Kind, Step, draw, quantile, tables
from tests.load.processes import allow_many_files, usage

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_SECONDS = 30.0  # for an answer, or the head of a stream, before it counts as failed
SETTLE_SECONDS = 0.5  # for new streams to get their first comment
WARM_UP_SECONDS = 1.0  # of calls before a plot, uncounted
PAUSE_SECONDS = 0.1  # after a failure, or a gate that is gone would fill the table by itself
BAR_SECONDS, LINE_SECONDS = 0.25, 1.0
OPENING = 16  # streams at a time; with more, the first byte of each would wait for the others
SPARE_FILES = 64
HEAD, FIRST_BYTE = "stream head", "first byte"


class CannotBeginError(Exception):
    """Why there can be no load, in a sentence."""


class Request(NamedTuple):
    """A JSON-RPC request, and the header fields that go with it."""

    method: str
    params: dict[str, Any]
    fields: dict[str, str]


class Load:
    """The clients, the streams, and what came of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        url = httpx.URL(options.url)
        self.options = options
        # Without the query and a password, so that it may be printed.
        self.place = f"{url.scheme}://{url.netloc.decode()}{url.path}"
        self.url = url.copy_add_param("key", options.token) if options.key else url
        self.fields = {"Accept": "application/json, text/event-stream"}
        if not options.key:
            self.fields["Authorization"] = f"Bearer {options.token}"
        self.tls = httpx.create_ssl_context()  # the dear part of a client, so they share one
        self.clients = [self.client() for _ in range(options.clients)]
        self.requests = [modern("tools/list")]
        if options.tool:
            self.requests += [modern("tools/call", name=options.tool, arguments=options.arguments)]
        self.kinds: defaultdict[str, Kind] = defaultdict(Kind)
        self.sessions: list[str] = []
        self.tried = self.held = 0
        self.lost: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.calling_seconds = 0.0
        self.phase: tuple[str, Callable[[], float]] = ("beginning", lambda: 0.0)

    def client(self) -> httpx.AsyncClient:
        """A client for one task: a shared one gets slower with each connection. It uses no proxy."""
        return httpx.AsyncClient(
            headers=self.fields, verify=self.tls, trust_env=False, timeout=ANSWER_SECONDS
        )

    async def begin(self) -> None:
        """Try everything once, uncounted. CannotBeginError if it does not work."""
        async with self.client() as client:
            for request in self.requests:
                if not await self.exchange(client, request):
                    [(_, fault, _)] = self.failures()
                    what = "refuses the token" if fault.startswith("401 ") else "refuses the call"
                    what = what if fault[0].isdigit() else "cannot be reached"
                    raise CannotBeginError(f"{self.place} {what}: {fault}")
            if max(self.options.steps) and not await self.open_stream(client):
                [(name, fault, _)] = self.failures()
                raise CannotBeginError(
                    f"{self.place} refuses event streams ({name}: {fault}). FoodWise has "
                    "none: host a server with sessions, or leave out --streams"
                )
        self.kinds.clear()

    async def run(self) -> None:
        """All steps, each with its streams held and its clients calling."""
        async with trio.open_nursery() as streams:
            if self.options.plot:
                await self.measure("warming up", WARM_UP_SECONDS)
                self.kinds.clear()
                self.calling_seconds = 0
            for count in self.options.steps:
                await self.open_streams(streams, count)
                step = await self.measure(f"with {count} streams", self.options.seconds)
                self.steps.append(step)
            streams.cancel_scope.cancel()

    async def exchange(self, client: httpx.AsyncClient, request: Request) -> httpx.Response | None:
        """Send a request and note what came of it; returns the answer if it is a good one."""
        kind, (method, params, fields) = self.kinds[request.method], request
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = await client.post(self.url, json=message, headers=fields)
            fault = fault_in(response)
        except httpx.HTTPError as error:
            fault = named(error)
        if fault:
            kind.failures[self.words(fault)] += 1
            return None
        kind.seconds.append(response.elapsed.total_seconds())
        return response

    async def measure(self, phase: str, seconds: float) -> Step:
        """Let all clients call for that long, and see what that costs with the streams that are held."""
        taken: list[float] = []
        began = trio.current_time()
        self.phase = (phase, lambda: (trio.current_time() - began) / seconds)

        async def keep_calling(client: httpx.AsyncClient) -> None:
            for request in cycle(self.requests):
                if trio.current_time() >= began + seconds:
                    return  # the last call is not cut off: all that are sent are counted
                if response := await self.exchange(client, request):
                    taken.append(response.elapsed.total_seconds())
                else:
                    await trio.sleep(PAUSE_SECONDS)

        cpu_before, _ = self.usage()
        async with trio.open_nursery() as nursery:
            for client in self.clients:
                nursery.start_soon(keep_calling, client)
        cpu, mib = self.usage()
        elapsed = trio.current_time() - began
        self.calling_seconds += elapsed
        cpu_ms = (cpu - cpu_before) / len(taken) * 1000 if taken else math.nan
        return Step(self.held, len(taken) / elapsed, quantile(taken, 0.5) * 1000, cpu_ms, mib)

    def usage(self) -> tuple[float, float]:
        """The resources that the gate has used, if we were told its process."""
        return usage(self.options.pid) if self.options.pid else (math.nan, math.nan)

    # Streams.

    async def open_streams(self, nursery: trio.Nursery, count: int) -> None:
        """Open streams in the nursery until so many have been tried."""
        if self.tried >= count:
            return
        self.phase = (f"opening {count} streams", lambda: self.tried / count)

        async def keep_opening() -> None:
            while self.tried < count:
                self.tried += 1
                await nursery.start(self.hold_stream)

        async with trio.open_nursery() as openers:
            for _ in range(OPENING):
                openers.start_soon(keep_opening)
        await trio.sleep(SETTLE_SECONDS)

    async def hold_stream(self, task_status: trio.TaskStatus[None]) -> None:
        """Open a stream, and read it until all is over. Started once it is open, or has failed."""
        async with self.client() as client:
            stream = await self.open_stream(client)
            self.held += stream is not None
            task_status.started()
            if stream is None:
                return
            response, began = stream
            end = "ended by the other side"
            try:
                chunks = response.aiter_raw()
                if await anext(chunks, b""):
                    self.kinds[FIRST_BYTE].seconds.append(time.perf_counter() - began)
                async for _ in chunks:
                    pass
            except httpx.HTTPError as error:
                end = named(error)
            self.held -= 1
            self.lost[self.words(end)] += 1

    async def open_stream(self, client: httpx.AsyncClient) -> tuple[httpx.Response, float] | None:
        """A stream whose head has come, and when it was asked for; None if there is none."""
        answer = await self.exchange(client, HELLO)
        if answer is None:
            return None
        self.sessions.append(answer.headers.get("Mcp-Session-Id", ""))
        fields = in_session(self.sessions[-1])
        request = client.build_request("GET", self.url, headers=fields, timeout=None)
        began = time.perf_counter()
        try:
            with trio.fail_after(ANSWER_SECONDS):  # for the head only: a stream may stay silent
                response = await client.send(request, stream=True)
                if response.status_code == 200 and is_event_stream(response):
                    self.kinds[HEAD].seconds.append(time.perf_counter() - began)
                    return response, began
                await response.aread()
            fault = fault_in(response)
        except (httpx.HTTPError, trio.TooSlowError) as error:
            fault = named(error)
        self.kinds[HEAD].failures[self.words(fault)] += 1
        return None

    async def end(self) -> None:
        """Leave no sessions behind: FastMCP keeps them for half an hour, and has room for 10,000."""

        async def keep_ending(client: httpx.AsyncClient) -> None:
            while self.sessions:
                with suppress(httpx.HTTPError):
                    await client.delete(self.url, headers=in_session(self.sessions.pop()))
            await client.aclose()

        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                for client in self.clients:
                    nursery.start_soon(keep_ending, client)

    # The report.

    def words(self, text: str) -> str:
        """A line of somebody else's text, fit to be printed: no control characters, no token."""
        line = " ".join(text.replace(self.options.token, "[token]").split())
        return "".join(letter if letter.isprintable() else "?" for letter in line)[:200]

    def failures(self) -> list[tuple[str, str, int]]:
        """Everything that went wrong: with what, in words, and how often."""
        faults = {name: kind.failures for name, kind in self.kinds.items()}
        faults["stream lost"] = self.lost
        return [(name, *fault) for name, counter in faults.items() for fault in counter.items()]

    async def show(self, console: Console) -> None:
        """Keep telling how far it is: a bar on a terminal, elsewhere a line now and then."""

        def now() -> tuple[float, str]:
            done = sum(len(self.kinds[request.method].seconds) for request in self.requests)
            failed = sum(count for _, _, count in self.failures())
            line = f"{self.phase[0]}; {done} calls, {self.held} streams held, {failed} failures"
            return min(1.0, self.phase[1]()), line

        while not console.is_terminal:
            console.print("{:4.0%} {}".format(*now()))
            await trio.sleep(LINE_SECONDS)
        # Refreshed from here, not by a thread of rich's; and gone at the end.
        with Progress(console=console, auto_refresh=False, transient=True) as progress:
            bar = progress.add_task("", total=1.0)
            while True:
                share, line = now()
                progress.update(bar, completed=share, description=line, refresh=True)
                await trio.sleep(BAR_SECONDS)

    def report(self, console: Console) -> None:
        """The tables, and everything that went wrong."""
        calls = [request.method for request in self.requests]
        console.print(*tables(self.kinds, self.steps, calls, self.calling_seconds), sep="\n")
        console.print(f"{self.tried} streams tried, {self.held} held, {self.lost.total()} lost")
        for name, fault, count in self.failures():
            console.print(f"{count} x {name}: {fault}", soft_wrap=True)


# Requests, and the reading of their answers.


def modern(method: str, **params: Any) -> Request:
    """A request of MCP 2026-07-28, which needs no session."""
    fields = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if "name" in params:
        fields["Mcp-Name"] = params["name"]
    return Request(method, {**params, "_meta": ENVELOPE}, fields)


HELLO = Request("initialize", calls.HELLO, {})


def in_session(session: str) -> dict[str, str]:
    return {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": session}


def is_event_stream(response: httpx.Response) -> bool:
    return str(response.headers.get("Content-Type")).startswith("text/event-stream")


def fault_in(response: httpx.Response) -> str:
    """The fault of an answer, in its sender's words; empty if it has none."""
    body = response.content
    if is_event_stream(response):  # the answer is the last event, after what tells of progress
        body = (re.findall(rb"^data:(.*)$", body, re.MULTILINE) or [b""])[-1]
    answer = None
    with suppress(ValueError):
        answer = json.loads(body)
    match answer:
        case {"result": {"isError": True, "content": said}}:
            pass
        case {"result": _} if response.status_code == 200:
            return ""
        case {"error": {"message": said}} | {"error_description": said}:
            pass
        case _:
            said = f"{response.reason_phrase}, and no JSON-RPC in it"
    return f"{response.status_code} {said}"


def named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


# The command.


def parse() -> argparse.Namespace:
    """The arguments; ends with status 2 if they cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("url", metavar="URL", help="the gate's endpoint, such as http://127.0.0.1:7860/mcp")
    add("--token", default=os.environ.get("MCP_AUTH_TOKEN", ""), help="else from MCP_AUTH_TOKEN")
    add("--key", action="store_true", help="send the token as ?key=, not in a header field")
    add("--clients", type=int, default=8, metavar="N", help="clients that call at a time (8)")
    add("--streams", type=int, default=0, metavar="M", help="streams held meanwhile (0)")
    add("--seconds", type=float, default=10, metavar="S", help="of calling, at each step (10)")
    add("--tool", metavar="NAME", help="call this tool too, in turn with tools/list")
    add("--arguments", type=json_object, default={}, metavar="JSON", help="for the tool ({})")
    add(
        "--pid", type=int, help="the gate's process, for CPU time and memory of it and its children"
    )
    add("--plot", type=Path, metavar="FILE.png", help="draw the cost against the streams held")
    add("--steps", type=counts, default="0,100,300,1000,3000", help="the plot's (%(default)s)")
    options, unknown = parser.parse_known_args()
    if not options.plot:
        options.steps = [options.streams]
    faults = {
        "some arguments are not known": unknown,  # and not repeated: one may be the token
        "URL has to begin with http:// or https://": not re.match("https?://.", options.url),
        "there is no token: give --token, or set MCP_AUTH_TOKEN": not options.token,
        "the token may hold visible ASCII only": not re.fullmatch("[!-~]*", options.token),
        "--clients and --seconds have to be above 0": min(options.clients, options.seconds) <= 0,
        "--streams and --steps have to be 0 or more": min(options.steps) < 0,
        "--pid is no living process": options.pid and math.isnan(usage(options.pid)[0]),
        "--plot needs a .png in a folder that is there": options.plot
        and not (options.plot.suffix == ".png" and options.plot.parent.is_dir()),
        "--plot needs matplotlib: pip install matplotlib": options.plot
        and not importlib.util.find_spec("matplotlib"),
    }
    for fault in filter(faults.get, faults):
        parser.error(fault)
    return options


def json_object(text: str) -> dict[str, Any]:
    return {**json.loads(text)}


def counts(text: str) -> list[int]:
    return sorted({int(part) for part in text.split(",")})


def allow_files(count: int) -> None:
    """Have room for so many connections. CannotBeginError if this machine gives none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most not in (-1, resource.RLIM_INFINITY) and most < count:
        raise CannotBeginError(
            f"This needs {count} file descriptors, and may have {most}: ulimit -Hn"
        )
    allow_many_files()


async def carry(options: argparse.Namespace, console: Console) -> int:
    """Put the load on, and tell what came of it; returns the exit status. Ctrl-C ends it early."""
    load = Load(options)
    await load.begin()
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def stop_at_signal() -> None:
                await anext(signals)
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_signal)
            nursery.start_soon(load.show, console)
            await load.run()
            nursery.cancel_scope.cancel()
    await load.end()
    load.report(console)
    if options.plot and load.steps:
        calls = " and ".join(request.method for request in load.requests)
        how = (
            f"{load.place}, {options.clients} clients calling {calls}, {options.seconds:g} s a step"
        )
        draw(options.plot, load.steps, how)
    return 1 if load.failures() or len(load.steps) < len(options.steps) else 0


def main() -> int:
    """The command; returns its exit status."""
    options = parse()
    width = None if sys.stdout.isatty() else 120
    console = Console(markup=False, emoji=False, highlight=False, width=width)
    try:
        allow_files(max(options.steps) + options.clients + SPARE_FILES)
        return trio.run(carry, options, console)
    except (CannotBeginError, httpx.InvalidURL) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
