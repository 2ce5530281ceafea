"""The whole program as real clients meet it: discreet in all it prints, and sealed if no one may get through."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.clients.credentials import WRONG
from tests.harness.leaks import pieces_in
from tests.harness.program import TOKEN, Program, running

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOG_SECONDS = 5.0

HEALTH_CHECK = "GET /health 200 "


@contextmanager
def discreet(folder: Path, **settings: str) -> Iterator[Program]:
    """The program; at the end it stops cleanly, has had no fault, and has printed no token."""
    with running(folder, **settings) as program:
        yield program
        status = program.stop()
        output = program.output
    assert status == 0, output
    for secret in (TOKEN, WRONG):
        assert pieces_in(output, secret) == set()
    assert program.errors == []


@dataclass
class Sealed:
    """A program, with TOKEN and a log that tells probes, too, whose upstream nobody may ever connect to."""

    program: Program
    upstream: socket.socket

    @property
    def url(self) -> str:
        return self.program.url

    def begin(self) -> None:
        """Mark the log with a health check: what came before has been logged before it."""
        checks = self.program.log.count(HEALTH_CHECK)
        self.program.wait_for("/health")
        assert wait_until(lambda: self.program.log.count(HEALTH_CHECK) > checks)

    def answers(self) -> set[str]:
        """Each kind of request since `begin`, with the status of its answer: `POST /mcp 401`."""
        lines = self.program.log.rpartition(HEALTH_CHECK)[2].splitlines()
        entries = [line.partition(" gate.access: ")[2].split() for line in lines]
        return {" ".join(entry[:3]) for entry in entries if entry}

    def assert_answered(self, *expected: str) -> None:
        """These kinds of requests came and no others, and none of them went upstream."""
        # A client may have its answer a moment before the log has its line.
        wait_until(lambda: self.answers() >= set(expected))
        assert self.answers() == set(expected)
        with pytest.raises(BlockingIOError):
            self.upstream.accept()


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for the condition to hold; False if it does not within LOG_SECONDS."""
    deadline = time.monotonic() + LOG_SECONDS
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held
