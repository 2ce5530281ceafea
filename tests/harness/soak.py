"""Some minutes of everything at once: `python tests/harness/soak.py --seconds 180`.

The whole program with the probe server, and clients that call, listen, cancel, knock with bad tokens and
talk garbage, many connections a second. Fails (status 1) if the program died, if a good call failed, if
its memory grew by more than a fifth after the warm-up, if file descriptors did not come back, if it did
not stop properly, or if its output holds a piece of a token. Not for pytest: it takes its time, and
half a minute more for the kept connections to expire.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import trio

from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN, Program, running
from tests.harness.wire import Head, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

GROWTH = 0.20
SETTLE_SECONDS = 30.0
"""Kept connections to the hosted server expire after 15 s, at the next request."""

WRONG = "no+Token/at.all~5d1e80b7c92f4a63"

GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nx",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x00" * 3000,
    b"GET /" + b"a" * 30_000,
    b"\r\n" * 40,
]

HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"

PIECES = [
    CHUNKED + b"1\r\nx\r\n" * 20_000,
    CHUNKED + b"1;" + b"e" * 4000 + b"\r\nx\r\n",
    CHUNKED + b"0\r\n" + b"a:\r\n" * 12_000,
    b"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"a:\r\n" * 12_000 + b"\r\n",
    HEALTH * 1000,
]
"""Few bytes that are much work."""

ENDS = ("exit", "interrupt", "cancelled", "panic")

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "soak", "version": "1"},
}

dice = random.Random(20260728)  # noqa: S311 - the same load each time


class FailedError(Exception):
    """A good request got no good answer."""


def rpc(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def request(
    method: str, body: bytes = b"", token: str = TOKEN, fields: dict[str, str] | None = None
) -> bytes:
    lines = [
        f"{method} /mcp HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        *(f"{name}: {value}" for name, value in (fields or {}).items()),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def call(tool: str, **arguments: Any) -> bytes:
    body = rpc(
        "tools/call", name=tool, arguments=arguments, _meta={**MODERN, "progressToken": "soak"}
    )
    fields = {
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    return request("POST", body, fields=fields)


@dataclass
class Soak:
    """The clients, and what they have seen."""

    program: Program
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    rss: list[tuple[float, int]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """Of good calls, in seconds."""

    # Each of these is one turn of a client.

    async def fresh_call(self) -> None:
        async with await self._connect() as stream:
            await self._add(Peer(stream))

    async def kept_calls(self) -> None:
        async with await self._connect() as stream:
            peer = Peer(stream)
            for _ in range(dice.randint(2, 30)):
                await self._add(peer)
                await trio.sleep(dice.random() * 0.05)

    async def progress(self) -> None:
        async with await self._connect() as stream:
            peer = Peer(stream)
            _, body = await self._good(peer, "progress", call("count", to=4, pause=0.1))
            if body.count(b"notifications/progress") != 4:
                raise FailedError(f"progress: {body[-200:]!r}")

    async def session(self) -> None:
        """Open a session of the older kind, listen for a while, and end it."""
        async with await self._connect() as stream:
            peer = Peer(stream)
            head, _ = await self._good(
                peer, "initialize", request("POST", rpc("initialize", **HELLO))
            )
            fields = {
                "Mcp-Session-Id": (head.get(b"mcp-session-id") or b"").decode(),
                "MCP-Protocol-Version": "2025-11-25",
            }
            async with await self._connect() as listening:
                listener = Peer(listening)
                await listener.send(request("GET", fields=fields))
                self._expect(200, await listener.head(), "stream")
                await trio.sleep(dice.random() * 2)
                if dice.random() < 0.5:
                    await trio.aclose_forcefully(listening)
            await self._good(peer, "delete", request("DELETE", fields=fields))

    async def cancelled_call(self) -> None:
        async with await self._connect() as stream:
            await Peer(stream).send(call("count", to=20, pause=0.2))
            await trio.sleep(dice.choice((0.0, 0.002, 0.01, 0.05, 0.4)))
            if dice.random() < 0.5:
                await trio.aclose_forcefully(stream)
        self.answers["cancelled"] += 1

    async def bad_token(self) -> None:
        async with await self._connect() as stream:
            peer = Peer(stream)
            with suppress(trio.BrokenResourceError):
                await peer.send(
                    request("POST", b"x" * dice.choice((2, 2, 100_000)), dice.choice((WRONG, "")))
                )
            head = await peer.head()
            self._expect(401, head, "refused")
            await peer.body(head)

    async def garbage(self) -> None:
        async with await self._connect() as stream:
            peer = Peer(stream)
            with suppress(trio.BrokenResourceError, EOFError):
                await peer.send(dice.choice(GARBAGE))
                with trio.move_on_after(0.2):
                    head = await peer.head()
                    self.answers[f"garbage {head.status}"] += 1

    async def pieces(self) -> None:
        """Send a little in as many pieces as there can be, without a token."""
        async with await self._connect() as stream:
            with suppress(trio.BrokenResourceError, EOFError):
                await Peer(stream).send(dice.choice(PIECES))
                with trio.move_on_after(1):
                    await Peer(stream).head()
        self.answers["pieces"] += 1

    async def hold(self) -> None:
        """Hold a connection for one answer without a token, or for half a head."""
        async with await self._connect() as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(dice.choice((HEALTH, HEALTH, HEALTH[:20])))
                await trio.sleep(dice.random() * 20)
        self.answers["hold"] += 1

    async def stop_in_body(self) -> None:
        """Announce a large body, send half of it, and wait for what comes."""
        async with await self._connect() as stream:
            sent = request("POST", b"x" * 1_000_000)
            with suppress(trio.BrokenResourceError, trio.TooSlowError, EOFError):
                await Peer(stream).send(sent[: len(sent) // 2])
                await trio.sleep(dice.random() * 5)
        self.answers["stopped body"] += 1

    async def hostile_tool(self) -> None:
        """Call a tool that ends what it can, holds the loop for a moment, or prints."""
        sent = dice.choice(
            (
                *(call("end", how=how) for how in ENDS),
                call("block", seconds=0.05),
                call("shout", lines=100),
            )
        )
        async with await self._connect() as stream:
            await self._good(Peer(stream), "hostile tool", sent)

    async def probes(self) -> None:
        """Ask whether it is ready, without a token, many at a time."""
        async with await self._connect() as stream:
            peer = Peer(stream)
            for _ in range(20):
                await peer.send(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                head = await peer.head()
                self._expect(200, head, "ready")
                await peer.body(head)

    async def signals(self) -> None:
        """Send a signal that should end nothing."""
        self.program.process.send_signal(
            dice.choice((signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))
        )
        self.answers["signal"] += 1

    async def knock(self) -> None:
        """Connect and say little or nothing, often."""
        for _ in range(20):
            async with await self._connect() as stream:
                await stream.send_all(dice.choice((b"", b"P", call("add", a=1, b=1)[:90])))
            self.answers["knock"] += 1
            await trio.sleep(0.002)

    async def _connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.program.port)

    async def _add(self, peer: Peer) -> None:
        a, b = dice.randrange(1000), dice.randrange(1000)
        began = trio.current_time()
        _, body = await self._good(peer, "add", call("add", a=a, b=b))
        self.times.append(trio.current_time() - began)
        if f'"result":{a + b}'.encode() not in body.replace(b" ", b""):
            raise FailedError(f"add: {body[-200:]!r}")

    async def _good(self, peer: Peer, what: str, sent: bytes) -> tuple[Head, bytes]:
        await peer.send(sent)
        head = await peer.head()
        self._expect(200, head, what)
        return head, await peer.body(head)

    def _expect(self, status: int, head: Head, what: str) -> None:
        self.answers[f"{what} {head.status}"] += 1
        if head.status != status:
            raise FailedError(f"{what}: {head.raw!r}")

    # The load and the measurements.

    async def turns(self, turn: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await turn()
            except (FailedError, EOFError, OSError, trio.BrokenResourceError) as error:
                self.failures.append(f"{turn.__name__}: {type(error).__name__} {error}")
            except trio.TooSlowError:
                self.failures.append(f"{turn.__name__}: no answer in time")
            await trio.sleep(dice.random() * 2 * pause)

    async def sample(self, began: float) -> None:
        while self.program.process.poll() is None:
            self.rss.append((trio.current_time() - began, rss_of(self.program)))
            await trio.sleep(1.0)

    async def load(self, seconds: float) -> None:
        clients = [
            *3 * [(self.fresh_call, 0.05)],
            *2 * [(self.kept_calls, 0.05)],
            *2 * [(self.progress, 0.2)],
            *6 * [(self.session, 0.3)],
            *3 * [(self.cancelled_call, 0.1)],
            *3 * [(self.bad_token, 0.03)],
            *2 * [(self.garbage, 0.1)],
            (self.knock, 0.2),
            *4 * [(self.pieces, 0.1)],
            *100 * [(self.hold, 0.5)],
            *4 * [(self.stop_in_body, 0.2)],
            *2 * [(self.hostile_tool, 0.2)],
            *2 * [(self.probes, 0.1)],
            (self.signals, 0.5),
        ]
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.sample, trio.current_time())
                for turn, pause in clients:
                    nursery.start_soon(self.turns, turn, pause)

    async def settle(self, fds: int) -> int:
        """Go on with a call now and then until the file descriptors are back; how many there are."""
        with trio.move_on_after(SETTLE_SECONDS):
            while fds_of(self.program) > fds:
                await trio.sleep(2)
                await self.fresh_call()
        return fds_of(self.program)

    def delay(self, share: float) -> float:
        """The time in which this share of the good calls ended, in milliseconds."""
        return 1000 * sorted(self.times)[int(share * (len(self.times) - 1))]

    def around(self, share: float) -> float:
        """The memory at that share of the time, in MiB: the median of a tenth of the samples."""
        width = max(1, len(self.rss) // 10)
        start = min(int(share * len(self.rss)), len(self.rss) - width)
        return median(kib for _, kib in self.rss[start : start + width]) / 1024


def rss_of(program: Program) -> int:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def fds_of(program: Program) -> int:
    return len(list(Path(f"/proc/{program.process.pid}/fd").iterdir()))


async def soak(program: Program, seconds: float) -> list[str]:
    """Run the load and print the figures; returns what is wrong with them."""
    soak = Soak(program)
    await soak.fresh_call()
    fds = fds_of(program)
    await soak.load(seconds)
    alive = program.process.poll() is None
    peak = max(kib for _, kib in soak.rss) / 1024
    fds_loaded = fds_of(program) if alive else 0
    fds_after = await soak.settle(fds) if alive else 0
    warm, middle, end = (soak.around(share) for share in (0.2, 0.5, 0.9))
    total = sum(soak.answers.values())
    rows = [(what, str(count)) for what, count in sorted(soak.answers.items())]
    rows += [
        ("all", f"{total} in {seconds:.0f} s, {total / seconds:.0f} per second"),
        ("good requests that failed", str(len(soak.failures))),
        (
            "a good call",
            f"p50 {soak.delay(0.5):.0f}, p99 {soak.delay(0.99):.0f}, max {soak.delay(1):.0f} ms",
        ),
        ("RSS at start", f"{soak.rss[0][1] / 1024:.0f} MiB"),
        ("RSS warm / middle / end", f"{warm:.0f} / {middle:.0f} / {end:.0f} MiB (peak {peak:.0f})"),
        ("fds start / loaded / end", f"{fds} / {fds_loaded} / {fds_after}"),
    ]
    for what, figure in rows:
        say(f"{what:28} {figure}")
    faults = soak.failures[:10]
    faults += [] if alive else [f"the program died with {program.process.returncode}"]
    faults += [f"RSS grew from {warm:.0f} to {end:.0f} MiB"] if end > warm * (1 + GROWTH) else []
    faults += [f"{fds_after - fds} file descriptors are left"] if fds_after > fds else []
    return faults


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a table on stdout is what this is for


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        with running(Path(folder), MCP_APP="soak_server:mcp", FAILURE_RATE="off") as program:
            program.wait_for()
            faults = trio.run(partial(soak, program, seconds))
            if program.process.poll() is None and (status := program.stop()):
                faults.append(f"the program ended with {status}")
            output = program.output
    for secret in (TOKEN, WRONG):
        if pieces_in(output, secret):
            faults.append("the output holds a piece of a token")
    expected = re.compile(r"ERROR gate.upstream: (tools/call end|an asyncio callback) raised ")
    faults += [
        line
        for line in output.splitlines()
        if (" ERROR " in line or "Traceback" in line) and not expected.search(line)
    ][:10]
    for fault in faults:
        say(f"FAULT {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
