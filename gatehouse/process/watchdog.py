"""Notices when the event loop stands still, and why: a tool that blocks keeps everybody waiting.

A task shows a sign of life four times a second, and a thread watches it. While the loop stands
still, the main thread's stack holds the blocking code, the tool's own lines, and the request that it
works for.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import trio

from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from types import FrameType

logger = logger_of("gate.watchdog")

BEAT_SECONDS = 0.25

MIN_STALL_SECONDS = 1.0
"""How long a loop may be silent before it counts as standing still."""

MAX_FRAMES = 8
"""How many lines of the stack are logged, the innermost ones."""

MAX_NAME_CHARACTERS = 128

IMPORTING = "importing"
"""The start of the name of an import, which may take long: only calls should not."""


class Watchdog:
    """Counts and logs the times when the loop stood still. Make it on the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self.longest_seconds = 0.0
        self._last_at = 0.0
        self._beat = self._looked = time.monotonic()
        self._main = threading.get_ident()
        self._over = threading.Event()

    def facts(self) -> dict[str, float]:
        """The public facts: how often the loop stood still, how long, how long ago. No names; empty if it never did."""
        if not self.count:
            return {}
        return {
            "count": self.count,
            "longest_seconds": round(self.longest_seconds, 1),
            "last_seconds_ago": round(time.monotonic() - self._last_at, 1),
        }

    async def run(self) -> None:
        """Show signs of life; never returns."""
        self._beat = time.monotonic()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        worked = time.process_time()
        try:
            while True:
                await trio.sleep(BEAT_SECONDS)
                now, work = time.monotonic(), time.process_time()
                silent = now - self._beat - BEAT_SECONDS
                # A process that was stopped as a whole neither looked nor worked meanwhile.
                ran = (
                    self._looked > self._beat + MIN_STALL_SECONDS / 2 or work - worked > silent / 2
                )
                self._beat, worked = now, work
                if silent >= MIN_STALL_SECONDS and ran:
                    self._count(silent)
        finally:
            self._over.set()

    def _count(self, seconds: float) -> None:
        self.count += 1
        self.total_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)
        self._last_at = self._beat
        logger.warning("the event loop goes on, after it stood still for %.1f s", seconds)

    def _watch(self) -> None:
        told = 0.0
        while not self._over.wait(BEAT_SECONDS):
            beat, self._looked = self._beat, time.monotonic()
            if told != beat and self._looked - beat >= BEAT_SECONDS + MIN_STALL_SECONDS:
                told = beat  # once, however long it takes
                frame = sys._current_frames().get(self._main)  # noqa: SLF001 - there is no public way
                if self._beat == beat:
                    self._tell(frame, time.monotonic() - beat - BEAT_SECONDS)

    def _tell(self, frame: FrameType | None, seconds: float) -> None:
        try:
            who, stack = request_in(frame), stack_of(frame)
        except Exception as error:  # noqa: BLE001 - the stack of a thread that runs may change meanwhile
            who, stack = "", type(error).__name__
        level = logging.WARNING if who.startswith(IMPORTING) else logging.ERROR
        logger.log(
            level,
            "the event loop has stood still for %.1f s: %s blocks everybody%s",
            seconds,
            who or "something that no request called",
            f"\n{stack}" if stack else "",
        )


def request_in(frame: FrameType | None) -> str:
    """The request that a stack works for, such as `tools/call slow`; empty if there is none.

    `on_message_in` is a middleware of the MCP SDK's, `call_tool` is FastMCP's; `load_server` is the gate's, and
    imports the server.
    """
    found = ""
    while frame is not None:
        if frame.f_code.co_name == "on_message_in" and (ctx := frame.f_locals.get("ctx")):
            found = f"{ctx.method} {(ctx.params or {}).get('name', '')}"
        elif frame.f_code.co_name == "call_tool" and "name" in frame.f_locals and not found:
            found = f"tools/call {frame.f_locals['name']}"
        elif frame.f_code.co_name == "load_server" and "import_string" in frame.f_locals:
            found = f"{IMPORTING} {frame.f_locals['import_string']}"
        frame = frame.f_back
    return found[:MAX_NAME_CHARACTERS].strip()


def stack_of(frame: FrameType | None) -> str:
    """The innermost lines of a stack: places and code, no values."""
    if frame is None:
        return ""
    return "".join(traceback.format_stack(frame, limit=MAX_FRAMES)).rstrip()
