"""The doctor names each fault of a gate, and none of a sound one; no token is in its words."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from gatehouse.doctor import arrival, browsers, local, streams
from gatehouse.doctor.client import Answer
from gatehouse.doctor.examine import examine
from gatehouse.doctor.finding import Level, worst
from gatehouse.doctor.sign_in import signers
from gatehouse.doctor.target import Target
from gatehouse.doctor.visit import Visit
from gatehouse.settings.environment import Settings
from tests.harness.certificates import authority
from tests.harness.fronts import front, server_alone
from tests.harness.house import open_house
from tests.harness.identity.app_gates import open_to_apps
from tests.harness.identity.authorization_server import JWKS, authorization_server
from tests.harness.identity.house import believing
from tests.harness.identity.openid_provider import openid_provider
from tests.harness.program import ROOT, TOKEN, free_port
from tests.harness.sick_gate import FAULTS, OTHER_TOKEN, SickGate
from tests.harness.wire import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gatehouse.doctor.finding import Finding
    from tests.harness.wire import Head, Peer

IDLE_SECONDS, LONG_IDLE_SECONDS = 1.0, 4.0
AT_A_TIME = 22
"""Each visit waits more than it computes."""


async def findings_at(port: int, *tokens: str, idle: float = IDLE_SECONDS) -> list[Finding]:
    visit = Visit(Target("http", "127.0.0.1", port, "/mcp"), tokens, idle)
    return await examine(visit, lambda *_: None)


def words(findings: list[Finding]) -> set[str]:
    return {finding.word for finding in findings if finding.level}


@asynccontextmanager
async def standing(*faults: str) -> AsyncIterator[int]:
    """A gate with these faults: its port."""
    async with trio.open_nursery() as nursery:
        upstream = Upstream(SickGate(*faults))
        await nursery.start(upstream.serve)
        yield upstream.port
        nursery.cancel_scope.cancel()


async def test_each_fault_has_its_word_and_a_sound_gate_has_none() -> None:
    wrong: dict[str, set[str]] = {}
    places = trio.CapacityLimiter(AT_A_TIME)

    async def visit(fault: str, expected: set[str], idle: float = IDLE_SECONDS) -> None:
        async with places, standing(fault) as port:
            seen = words(await findings_at(port, TOKEN, OTHER_TOKEN, idle=idle))
        if seen != expected:
            wrong[fault] = seen

    meant: dict[str, set[str]] = {"none": set(), **FAULTS}
    async with trio.open_nursery() as nursery:
        for fault, expected in meant.items():
            nursery.start_soon(visit, fault, expected)
    for fault in tuple(wrong):  # with so many at a time a machine may be late: once more, alone
        del wrong[fault]
        await visit(fault, meant[fault], LONG_IDLE_SECONDS)
    assert not wrong, f"{wrong}"


async def test_our_gate_has_no_fault() -> None:
    async with open_house() as house:
        house.upstream.script = SickGate("no token is needed")
        findings = await findings_at(house.port, TOKEN)
    assert words(findings) == {"one-token"}, findings


async def test_our_gate_with_an_authorization_server_has_no_fault_but_another_address() -> None:
    with authorization_server() as server:
        async with believing(server) as house:
            house.upstream.script = SickGate("no token is needed")
            findings = await findings_at(house.port, TOKEN, idle=0)
    assert words(findings) == {"one-token", "oauth", "resource-other"}, findings
    assert server.asked
    assert all(TOKEN not in str(asked) for asked in server.asked)


async def test_without_a_token_a_gate_where_apps_sign_in_has_no_fault() -> None:
    settings = {"public_url": "", "admins": "alice@example.com"}
    with openid_provider() as provider:
        async with open_to_apps(provider, **settings) as house:
            findings = await findings_at(house.port, idle=0)
    assert words(findings) == {"sign-in-needed", "oauth"}, findings
    assert worst(findings) == Level.NOTE


async def test_our_gate_behind_a_front_tells_that_the_doctor_must_come_through_it() -> None:
    front: dict[str, Any] = {
        "front": "cloudflare",
        "front_team": "team",
        "front_audience": "a" * 64,
    }
    async with open_house(**front) as house:
        findings = await findings_at(house.port, TOKEN, idle=0)
    assert words(findings) == {"front-first"}, findings


def test_this_machine_is_asked_for_the_keys_of_whoever_signs() -> None:
    front = {"front": "jwt", "front_issuer": "https://front.example", "front_audience": "a"}
    with authorization_server() as server:
        both: dict[str, Any] = {
            "auth_issuer": server.issuer,
            **front,
            "front_jwks_url": f"{server.url}{JWKS}",
        }
        assert words([*signers(Settings(_env_file=None, **both))]) == set()
        assert [*signers(Settings(_env_file=None))] == []
        server.keys.clear()
        gone = [*signers(Settings(_env_file=None, **both))]
    assert [each.word for each in gone] == ["no-keys", "no-keys"]
    away = [*signers(Settings(_env_file=None, **both))]
    assert [each.word for each in away] == ["no-keys", "no-keys"]


FRONTS = {
    "nginx": {
        "proxy_buffering off; client_max_body_size 5m;": set(),
        "proxy_buffering off;": {"body-limit-low"},
        "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; client_max_body_size 5m; "
        "gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any;": {
            "head-held"
        },
    },
    "caddy": {"": set(), "buffer_responses": {"head-held"}},
}
"""Lines more in a front's configuration, and the words for what they spoil."""


@pytest.mark.parametrize("kind", FRONTS)
async def test_each_front_that_spoils_something_is_noticed(kind: str, tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {}

    async def visit(more: str, folder: Path) -> None:
        with front(kind, folder, house.port, more) as port:
            seen[more] = words(await findings_at(port, TOKEN)) - {"one-token"}

    async with open_house() as house:
        house.upstream.script = SickGate("no token is needed")
        async with trio.open_nursery() as nursery:
            for number, more in enumerate(FRONTS[kind]):
                nursery.start_soon(visit, more, tmp_path / str(number))
    assert seen == FRONTS[kind], f"{seen}"


async def test_a_server_without_a_gate_is_open(tmp_path: Path) -> None:
    with server_alone(tmp_path) as port:
        findings = await findings_at(port, TOKEN)
    assert words(findings) >= {"open", "origin-open", "host-open", "slash-redirect"}
    assert "error" not in {finding.level.word for finding in findings}, findings


@pytest.mark.parametrize(
    ("name", "trusted", "word"),
    [
        ("127.0.0.1", True, "certificate-ends"),
        ("127.0.0.1", False, "tls-untrusted"),
        ("other.example", True, "tls-untrusted"),
    ],
)
async def test_no_token_goes_to_a_server_whose_certificate_is_not_accepted(
    name: str, trusted: bool, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority().file))
    upstream = Upstream(SickGate(), tls=authority().server(name))
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.serve)
        target = Target("https", "127.0.0.1", upstream.port, "/mcp")
        findings = await examine(Visit(target, (TOKEN,), 0), lambda *_: None)
        nursery.cancel_scope.cancel()
    assert words(findings) - {"one-token"} == {word}
    assert (upstream.heads == []) == (word == "tls-untrusted")


async def test_a_port_without_tls_is_told_from_a_bad_certificate() -> None:
    async with open_house() as house:
        target = Target("https", "127.0.0.1", house.port, "/mcp")
        findings = await examine(Visit(target, (TOKEN,), 0), lambda *_: None)
    assert words(findings) - {"one-token"} == {"speaks-no-tls"}


def test_a_closed_stdout_is_no_traceback(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} {ROOT / 'run.py'} doctor | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_the_command_tells_no_token_and_its_status_is_the_worst(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    url = f"http://127.0.0.1:{free_port()}/mcp?key={OTHER_TOKEN}"
    command = [sys.executable, str(ROOT / "run.py"), "doctor", url, "--json"]
    for more in ([], ["--token-file", "token"]):
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (2, "")
        assert [each["word"] for each in json.loads(done.stdout)["findings"]] == ["no-connection"]
        assert "refused" in done.stdout
        assert TOKEN not in done.stdout
        assert OTHER_TOKEN not in done.stdout


async def test_a_server_that_floods_a_stream_is_not_read_for_long() -> None:
    async with standing("comments without end") as port:
        visit = Visit(Target("http", "127.0.0.1", port, "/mcp"), (TOKEN,), idle_seconds=60)
        with trio.fail_after(30):
            assert words(await streams.idle_stream(visit)) == {"stream-buffered"}


TO_TLS = Answer(301, (("Location", "https://gate.example/mcp"),), b"", 0.0)
ELSEWHERE = Answer(421, (), b"{}", 0.0)


@pytest.mark.parametrize(
    ("check", "scheme", "host", "answer", "sent"),
    [
        (arrival.protocol, "http", "gate.example", TO_TLS, False),
        (browsers.host, "https", "gate.example", ELSEWHERE, False),
        (browsers.host, "http", "gate.example", ELSEWHERE, False),
        (browsers.host, "http", "127.0.0.1", ELSEWHERE, True),
    ],
)
async def test_the_token_goes_neither_to_another_host_nor_where_only_a_redirect_to_tls_is(
    check: Callable[[Visit], Awaitable[list[Finding]]],
    scheme: str,
    host: str,
    answer: Answer,
    sent: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def ask(*told: object) -> Answer:
        asked.append(str(told))
        return answer

    monkeypatch.setattr("gatehouse.doctor.visit.ask", ask)
    findings = await check(Visit(Target(scheme, host, 443, "/mcp"), (TOKEN,)))
    assert asked
    assert any(TOKEN in told for told in asked) is sent
    assert words(findings) == ({"redirect"} if answer is TO_TLS else set())


async def drip(peer: Peer, _: Head) -> None:
    """The head of an answer, for ever."""
    await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await peer.send(b"a")
        await trio.sleep(0.5)


async def test_whoever_is_at_the_gates_port_is_asked_for_no_longer_than_a_gate_needs() -> None:
    async with open_house() as house, trio.open_nursery() as nursery:
        stranger = Upstream(drip)
        await nursery.start(stranger.serve)
        with trio.fail_after(20):
            for port, is_gate in {house.port: True, stranger.port: False}.items():
                asked = partial(local.is_gate, "127.0.0.1", port)
                assert await trio.to_thread.run_sync(asked, abandon_on_cancel=True) is is_gate
        nursery.cancel_scope.cancel()
