"""The cost of the gate, compared in one run with others: `python tests/load/compare.py`.

It starts all servers itself and prints a table for each group. Where it compares, it measures CPU time (user
and system, of the server with all its descendants) in interleaved rounds and prints ratios of medians,
because wall times mean little on shared machines. The upstream's own time is not counted, unless the server
under measurement hosts it. `--quick` shows that everything works; its figures mean little.
"""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and not __package__:
    # Started as a file, Python looks for modules beside it, and not in the repository.
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from tests.harness.program import TOKEN
from tests.load import measures, peers
from tests.load.access_tokens import tables
from tests.load.calls import CONNECTIONS, ERAS
from tests.load.measures import Calls, Download, HeldStreams
from tests.load.processes import Stage, allow_many_files, status
from tests.load.servers import floor, gate, gate_before, null_upstream, ungated
from tests.load.tables import Case, Goal, Row, compare, say, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.load.processes import Server

MIB = 1024 * 1024
A_REQUEST = "ms of CPU a request"
TOOLS = ("add", "add_in_thread")
STREAMS = (0, 1000, 3000)
OPENING_SECONDS = 15.0
"""As long as COMMENT_SECONDS: streams that were opened evenly over it get their comments evenly, too."""

NATIVE = 10
"""This many times the calls, for programs so fast that the kernel's clock (10 ms) is coarse."""

LEAVING = 20
STARTS = 3


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    count: int
    everything: bool
    quick: bool


def calls(stage: Stage, plan: Plan) -> Iterator[str]:
    """The gate alone: small calls to an upstream that answers at once.

    The floor is a bare application on stock Hypercorn, which answers by itself.
    """
    port = null_upstream(stage).port
    keeping = partial(gate_before, stage, port)
    opening = partial(keeping, UPSTREAM_KEEP_ALIVE="0")
    good = Calls(stage, plan.count)
    wrong = Calls(stage, plan.count, token="wrong" * 8, status=401)
    late = Calls(stage, plan.count, token="wrong" * 8, status=429)
    many = Calls(stage, plan.count * NATIVE)
    cases = [
        Case("floor", partial(floor, stage), good),
        Case("gate, connections to the upstream kept", keeping, good, Goal(2.0)),
        Case("gate, a new connection for each request", opening, good),
        Case("gate, 401", partial(keeping, FAILURE_RATE="off"), wrong, Goal(1.0)),
        Case("gate, 429 for failing too often", partial(throttling, stage, port), late, Goal(1.0)),
        Case("nginx", partial(peers.nginx, stage, port), many),
        Case("HAProxy", partial(peers.haproxy, stage, port), many),
        Case("Caddy", partial(peers.caddy, stage, port), many),
    ]
    yield compare(cases, plan.rounds, A_REQUEST)
    yield (
        "nginx, HAProxy and Caddy: one worker, a check of the exact bearer token, connections to the "
        "upstream kept, no access log (the gate writes one).\n"
    )


def access_tokens(stage: Stage, plan: Plan) -> Iterator[str]:
    """The gate alone, with an authorization server: who is let in, and who is refused, by an access token.

    A new token is verified, and then remembered; a flood of forged tokens is compared with one of wrong static ones.
    """
    yield from tables(stage, plan.count, plan.rounds, A_REQUEST)


def throttling(stage: Stage, upstream_port: int) -> Server:
    """A gate for which one failure a day is enough, and which has seen it."""
    server = gate_before(stage, upstream_port, FAILURE_RATE="1/day, burst 1")
    status(server.port, "/mcp?key=wrong")
    return server


def flat(stage: Stage, plan: Plan) -> Iterator[str]:
    """Small calls while event streams stand open, silent but for the gate's comments.

    The cost of the streams while the calls are made is counted, too.
    """
    upstream = null_upstream(stage)
    measure = Calls(stage, plan.count)
    say(f"opening streams, for {OPENING_SECONDS:g} s")
    all_held = [HeldStreams(stage, upstream, count, OPENING_SECONDS, measure) for count in STREAMS]
    for held in all_held:
        held.wait()
    goals = {1000: Goal(1.1)}
    cases = [
        Case(f"{held.count} streams", held.gate, measure, goals.get(held.count))
        for held in all_held
    ]
    yield compare(cases, plan.rounds, A_REQUEST)
    say(f"no calls, for {OPENING_SECONDS:g} s")
    before = [held.gate.cpu_seconds() for held in all_held]
    time.sleep(OPENING_SECONDS)
    used = [held.gate.cpu_seconds() - was for held, was in zip(all_held, before, strict=True)]
    rows = []
    for held, seconds in zip(all_held, used, strict=True):
        name, share, size = f"{held.count} streams", seconds / OPENING_SECONDS, held.kib_each
        rows.append(Row(f"{name}, no calls: CPU", f"{share:.1%} of a core"))
        if held.count:
            rows.append(Row(f"{name}: memory of each", f"{size:.1f} KiB", size, Goal(40, " KiB")))
            left, goal = held.still_open(), Goal(held.count, at_least=True)
            rows.append(Row(f"{name}: open at the end", str(left), left, goal))
    yield table(["what", "figure"], rows)


def fastmcp(_: Stage, plan: Plan) -> Iterator[str]:
    """A small FastMCP server: in its own server, and hosted by the gate, which also checks the token."""
    variants = [(era, tool) for era in ERAS for tool in TOOLS]
    for era, tool in variants if plan.everything else variants[:1]:
        with Stage() as stage:
            measure = Calls(stage, plan.count, era=era, tool=tool)
            sessions = {"FASTMCP_STATELESS_HTTP": str(era != "stateful")}
            alone = partial(ungated, stage, **sessions)
            gated = partial(gate, stage, MCP_APP="tests.load.small_server:mcp", **sessions)
            network = partial(gated, UPSTREAM_MODE="network")
            on_trio = partial(gated, UPSTREAM_RUNTIME="trio")
            with_token = partial(alone, "--token", TOKEN)
            cases = [
                Case("ungated as it ships", alone, measure),
                Case("ungated, no access log", partial(alone, "--no-access-log"), measure),
                Case("ungated, FastMCP checks a static token", with_token, measure),
                Case("gate, at a port (network)", network, measure, Goal(1.5)),
                Case("gate, in-process, asyncio", gated, measure),
                Case("gate, in-process, Trio", on_trio, measure, Goal(1.0)),
            ]
            yield f"Era {era}, tool `{tool}`:\n"
            yield compare(cases, plan.rounds, A_REQUEST)


def streams(stage: Stage, plan: Plan) -> Iterator[str]:
    """Streams: much through them, soon through them, and their end."""
    size = (64 if plan.quick else 512) * MIB
    upstream = null_upstream(stage)
    server = gate_before(stage, upstream.port, UPSTREAM_KEEP_ALIVE="true")
    Calls(stage, plan.count)(server)
    empty = server.memory()
    server.forget_peak()
    download = Download(stage, size)
    cases = [
        Case("Caddy", partial(peers.caddy, stage, upstream.port), download),
        Case("gate", server, download, Goal(0.5, at_least=True)),
    ]
    yield compare(cases, plan.rounds, "MB a second of CPU")
    growth = (server.peak_memory() - empty) / 1024
    say("events, beside calls")
    gated, direct = measures.event_delays(stage, upstream, seconds=5 if plan.quick else 40)
    median, p99 = gated.median - direct.median, gated.p99 - direct.p99
    say("clients that leave")
    of_streams, of_calls = measures.disconnects(stage, LEAVING)
    at_once = Goal(100, " ms")
    rows = [
        Row(
            f"downloads of {size // MIB} MiB: the gate's memory grows by, at most",
            f"{growth:.1f} MiB",
            growth,
            Goal(4, " MiB"),
        ),
        Row(
            "an event is later through the gate, p50",
            f"{median:.2f} ms ({gated.median:.2f} - {direct.median:.2f})",
            median,
            Goal(2, " ms"),
        ),
        Row(
            "an event is later through the gate, p99",
            f"{p99:.2f} ms ({gated.p99:.2f} - {direct.p99:.2f})",
            p99,
            Goal(10, " ms"),
        ),
        Row(
            f"the client of a stream leaves, the upstream is told within, of {LEAVING}",
            f"{max(of_streams):.1f} ms",
            max(of_streams),
            at_once,
        ),
        Row(
            f"the client of a call leaves, the upstream is told within, of {LEAVING}",
            f"{max(of_calls):.1f} ms",
            max(of_calls),
            at_once,
        ),
    ]
    yield table(["what", "figure"], rows)


def start(stage: Stage, plan: Plan) -> Iterator[str]:
    """`python run.py` with FoodWise: from the start of the process, in wall time."""
    say("starting the gate, again and again")
    measures.start_seconds(stage)  # reads the files from disk
    times = [measures.start_seconds(stage) for _ in range(1 if plan.quick else STARTS)]
    alive, listed = ([each[place] for each in times] for place in (0, 1))
    rows = [
        timed("the first 200 on /health", alive, Goal(1, " s")),
        timed("the answer to tools/list, asked right then", listed, Goal(4, " s")),
    ]
    yield table(["what", f"median of {len(times)} (from-to)"], rows)


def timed(what: str, values: list[float], goal: Goal) -> Row:
    """A row whose median is judged."""
    return Row(what, f"{spread(values, 2)} s", statistics.median(values), goal)


GROUPS: dict[str, Callable[[Stage, Plan], Iterator[str]]] = {
    "calls": calls,
    "access_tokens": access_tokens,
    "flat": flat,
    "fastmcp": fastmcp,
    "streams": streams,
    "start": start,
}


def main() -> None:
    """Run the groups that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="requests a round, each way")
    parser.add_argument("--all", action="store_true", help="FastMCP: all eras and tools")
    parser.add_argument(
        "--quick", action="store_true", help="1 round of few and short measurements"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - GROUPS.keys():
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    count = 400 if options.quick else -(-options.count // CONNECTIONS) * CONNECTIONS
    plan = Plan(1 if options.quick else options.rounds, count, options.all, options.quick)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))  # so that what was started is killed, too
    allow_many_files()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; "
        f"{plan.rounds} rounds of {plan.count} requests over {CONNECTIONS} connections.\n"
    )
    for name in names:
        print(f"## {name}\n\n{inspect.getdoc(GROUPS[name])}\n")
        with Stage() as stage:
            for part in GROUPS[name](stage, plan):
                print(part, flush=True)


if __name__ == "__main__":
    main()
