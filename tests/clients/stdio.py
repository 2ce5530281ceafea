"""Runs Node programs as Claude Desktop does: a process each, and JSON-RPC lines over its stdio."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SECONDS = 30.0
"""The time that a program has for everything it does in one test."""


@dataclass(frozen=True)
class Ended:
    """The end of a program: its exit status, and all that it printed since its last answer."""

    status: int
    stdout: str
    stderr: str


class NodeProgram:
    """A running program that speaks JSON-RPC on stdin and stdout."""

    def __init__(self, process: trio.Process, stderr: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, stderr
        self._unread = b""
        self._ids = count(1)

    async def request(self, method: str, **params: Any) -> Any:
        """Send a request and return the result that comes for it; an error fails the test."""
        request_id = next(self._ids)
        await self._send({"id": request_id, "method": method, "params": params})
        while True:
            message = await self._receive()
            if message.get("id") == request_id:
                assert "error" not in message, message
                return message["result"]

    async def notify(self, method: str) -> None:
        await self._send({"method": method})

    async def initialize(self) -> Any:
        """The first step of the handshake."""
        return await self.request("initialize", **HANDSHAKE)

    async def begin_to_initialize(self) -> None:
        """Send the request of the first step, and expect no answer."""
        await self._send({"id": 0, "method": "initialize", "params": HANDSHAKE})

    async def hang_up(self) -> None:
        """Close its stdin, as a client does that has had enough."""
        await self._stdin.aclose()

    async def end(self) -> Ended:
        """Wait until the program ends by itself."""
        async for chunk in self._stdout:
            self._unread += chunk
        status = await self._process.wait()
        return Ended(status, self._unread.decode(), self._stderr.read_text())

    async def _send(self, message: dict[str, Any]) -> None:
        await self._stdin.send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def _receive(self) -> Any:
        while b"\n" not in self._unread:
            chunk = await self._stdout.receive_some()
            assert chunk, f"ended instead of answering: {self._stderr.read_text()}"
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)


HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "gate-tests", "version": "1"},
}


class NodePrograms:
    """The programs in a `node_modules/.bin`, run with `home` for all that they write.

    Whatever they find to open a browser with writes the URL to `opened_in_browser` instead, or runs `browser` with it.
    """

    def __init__(self, folder: Path, home: Path, browser: Sequence[str] = ()) -> None:
        self.home = home
        self.opened_in_browser = home / "opened-in-browser.txt"
        self._folder = folder
        openers = home / "openers"
        openers.mkdir()
        for name in ("xdg-open", "open", "gio", "x-www-browser", "sensible-browser"):
            opener = openers / name
            instead = shlex.join(browser) + ' "$1"' if browser else 'echo "$0 $*"'
            opener.write_text(f'#!/bin/sh\n{instead} >> "{self.opened_in_browser}"\n')
            opener.chmod(0o700)
        self._environment = {
            "PATH": os.pathsep.join([str(openers), os.environ["PATH"]]),
            "BROWSER": str(openers / "x-www-browser"),
            "HOME": str(home),
            "MCP_REMOTE_CONFIG_DIR": str(home / "mcp-remote"),
        }

    @asynccontextmanager
    async def start(
        self, name: str, *arguments: str, **variables: str
    ) -> AsyncIterator[NodeProgram]:
        """A program, with these variables in its environment, until the block ends."""
        stderr = self.home / "stderr.txt"
        with stderr.open("wb") as stderr_file:
            process = await trio.lowlevel.open_process(
                [str(self._folder / name), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr_file,
                cwd=self.home,
                env={**self._environment, **variables},
                start_new_session=True,  # a group of its own, and no terminal to ask questions at
            )
        program = NodeProgram(process, stderr)
        try:
            with trio.fail_after(SECONDS):
                yield program
        except trio.TooSlowError:
            raise AssertionError(f"{name} took too long: {stderr.read_text()}") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()
                await program.hang_up()
            if process.stdout is not None:
                await trio.aclose_forcefully(process.stdout)

    async def run(self, name: str, *arguments: str, **variables: str) -> Ended:
        """Run a program to its end, with nobody at its stdin."""
        async with self.start(name, *arguments, **variables) as program:
            await program.hang_up()
            return await program.end()
