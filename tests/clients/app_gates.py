"""Gate programs that let apps in, all behind one address: started, stopped, and started again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.clients.one_address import OneAddress, one_address
from tests.clients.programs import HEALTH_CHECK, wait_until
from tests.harness.identity.app_gates import signs_in_at
from tests.harness.leaks import pieces_in
from tests.harness.program import ROOT, TOKEN, Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.identity.openid_provider import OpenIDProvider

RUN = """
import runpy
from gatehouse.apps import tokens
from gatehouse.identity.clock import Clock

now = Clock.__call__
Clock.__call__ = lambda clock: now(clock) + {later}
tokens.ACCESS_SECONDS = {access_seconds}
runpy.run_path({run!r}, run_name="__main__")
"""
"""A program with its clock ahead, and access tokens that last as long as a test likes."""


class AppGates:
    """The gates. Each keeps nothing: neither a disk nor a Redis, unless the settings say so."""

    def __init__(
        self, folder: Path, address: OneAddress, provider: OpenIDProvider, **settings: str
    ) -> None:
        self._folder = folder
        self._address = address
        self._settings = {
            **signs_in_at(provider),
            "PUBLIC_URL": address.url,
            "MCP_AUTH_TOKEN": TOKEN,
            "MCP_APP": "probe_server:mcp",
            "LOG_LEVEL": "debug",
            **settings,
        }
        self.all: list[Program] = []
        """Each that was ever started, in its order."""
        self.running: list[Program] = []

    @property
    def url(self) -> str:
        """The endpoint, as people paste it."""
        return self._address.endpoint

    def start(self, *, later: float = 0.0, access_seconds: float = 900.0) -> Program:
        """One more gate, by whose clock it is so much later."""
        folder = self._folder / f"gate-{len(self.all)}"
        folder.mkdir()
        given = {"later": later, "access_seconds": access_seconds, "run": str(ROOT / "run.py")}
        (folder / "run.py").write_text(RUN.format(**given))
        program = Program(folder, self._settings, root=folder)
        self.all.append(program)
        program.wait_for()
        self.running.append(program)
        self._address.gates = [each.port for each in self.running]
        return program

    def restart(self, *, later: float = 0.0, access_seconds: float = 900.0) -> None:
        """All gates end, and one begins that knows nothing but its settings."""
        for program in self.running:
            assert program.stop() == 0
        self.running = []
        self.start(later=later, access_seconds=access_seconds)

    def log_of(self, program: Program) -> str:
        """The log of a gate that runs, up to now: what came before a health check has been logged before it."""
        checks = program.log.count(HEALTH_CHECK)
        program.wait_for("/health")
        assert wait_until(lambda: program.log.count(HEALTH_CHECK) > checks)
        return program.log

    def asked(self) -> set[str]:
        """Each kind of request to the gates that run: `POST /mcp 200`."""
        lines = "".join(map(self.log_of, self.running)).splitlines()
        entries = [line.partition(" gate.access: ")[2] for line in lines]
        return {" ".join(entry.split()[:3]) for entry in entries if entry}

    def kill(self) -> None:
        for program in self.all:
            program.process.kill()
            program.process.wait()


@contextmanager
def app_gates(folder: Path, provider: OpenIDProvider, **settings: str) -> Iterator[AppGates]:
    """The gates, until the block ends; then none has had a fault, or printed what opens anything."""
    with one_address() as address:
        gates = AppGates(folder, address, provider, **settings)
        try:
            yield gates
        finally:
            gates.kill()
    for program in gates.all:
        assert program.errors == []
        assert "eyJ" not in program.output  # the beginning of everything sealed
        assert pieces_in(program.output, TOKEN) == set()
