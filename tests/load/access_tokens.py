"""The cost of access tokens: those of a scripted authorization server, beside a static one."""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from tests.harness.identity.authorization_server import AuthorizationServer
from tests.harness.identity.signing import key
from tests.load.calls import CONNECTIONS
from tests.load.measures import Calls
from tests.load.servers import gate_before, null_upstream
from tests.load.tables import Case, Goal, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.identity.signing import SigningKey
    from tests.load.processes import Server, Stage

MAX_REMEMBERED_RATIO = 1.05
MAX_FORGED_RATIO = 1.5
WAIT_SECONDS = 30.0
OLD_SECONDS = 1000
ALGORITHMS = ("RS256", "ES256", "EdDSA")


class NewTokens(Calls):
    """The cost of a call with a token that the gate has never seen."""

    def __init__(
        self, stage: Stage, count: int, make: Callable[[], str], status: int = 200
    ) -> None:
        super().__init__(stage, count, status=status)
        self._file = stage.folder / f"{id(self)}.txt"
        self._options.append(f"--tokens={self._file}")
        self._make = make

    def __call__(self, server: Server) -> float:
        self._file.write_text("\n".join(self._make() for _ in range(self._count)))
        return super().__call__(server)


def cases(stage: Stage, calls: int) -> Iterator[list[Case]]:
    """Kinds that are let in beside a static token, and those that are refused beside a wrong one."""
    server = AuthorizationServer()
    try:
        server.keys = [key(alg, alg) for alg in ALGORITHMS]
        port = null_upstream(stage).port
        without = gate_before(stage, port, FAILURE_RATE="off")
        gate = gate_before(
            stage,
            port,
            FAILURE_RATE="off",
            PUBLIC_URL="https://gate.example",
            AUTH_ISSUER=server.issuer,
            AUTH_SCOPES="mcp:read",
        )
        static, token = Calls(stage, calls), server.token()
        wait_for_keys(stage, gate, token)
        remembered = Calls(stage, calls, token=token)
        new = [
            Case(
                f"an access token that is new, {each.alg}",
                gate,
                NewTokens(stage, calls, partial(server.token, by=each)),
            )
            for each in server.keys
        ]
        yield [
            Case("a static token, access tokens on", gate, static),
            Case("the same, access tokens off", without, static),
            Case(
                "an access token that is remembered", gate, remembered, Goal(MAX_REMEMBERED_RATIO)
            ),
            *new,
        ]
        wrong = (f"mcpgate_{number:043}" for number in count())
        # Its key would be here: one for a token that is newer than the keys could be new, too (503).
        old = int(time.time()) - OLD_SECONDS
        kids = (server.token(header={"kid": f"k{number}"}, iat=old) for number in count())
        flood = partial(NewTokens, stage, calls, status=401)
        yield [
            Case("a wrong static token", gate, flood(partial(next, wrong))),
            *(
                Case(
                    f"a forged signature, {each.alg}",
                    gate,
                    flood(partial(forged, server, each)),
                    Goal(MAX_FORGED_RATIO),
                )
                for each in server.keys
            ),
            Case("a kid that nobody has", gate, flood(partial(next, kids)), Goal(MAX_FORGED_RATIO)),
        ]
    finally:
        server.stop()


def forged(server: AuthorizationServer, by: SigningKey) -> str:
    """A token whose signature is that of another one."""
    head, _, _ = server.token(by=by).rpartition(".")
    return f"{head}.{server.token(by=by).rpartition('.')[2]}"


def wait_for_keys(stage: Stage, gate: Server, token: str) -> None:
    """Wait until the gate has the keys that its authorization server signs with."""
    ends = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            stage.run("tests.load.calls", gate.port, CONNECTIONS, f"--token={token}")
        except SystemExit:
            if time.monotonic() > ends:
                raise
        else:
            return


def tables(stage: Stage, calls: int, rounds: int, unit: str) -> Iterator[str]:
    """The tables of both."""
    for compared in cases(stage, calls):
        yield compare(compared, rounds, unit)
