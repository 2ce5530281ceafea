"""The look of a running gate at itself: no fault where there is none, one look at a time, and always an end."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from gatehouse import advice
from gatehouse.doctor import checkup, local, running
from gatehouse.doctor.checkup import MACHINE, Checkup
from gatehouse.doctor.finding import Finding, Level, fine, found
from gatehouse.settings.environment import Settings
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from gatehouse.doctor.visit import Visit

PUBLIC = "https://gate.example/mcp"
ADMIN = {"front": "pomerium", "front_audience": "gate.example", "admins": "alice@example.com"}


def words(findings: Sequence[Finding]) -> set[str]:
    return {finding.word for finding in findings if finding.level}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for keys: that takes a socket."""
    checks = [each for each in running.CHECKS if local.name_of(each) != "signers"]
    assert len(checks) == len(running.CHECKS) - 1
    monkeypatch.setattr(running, "CHECKS", tuple(checks))


def look_at(settings: Settings, *notes: str) -> list[Finding]:
    return [*running.examine_running(settings, "from somewhere", notes)]


def test_a_gate_that_runs_in_order_has_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "HERE", tmp_path)
    monkeypatch.setattr(local, "taken", lambda *_: "Address already in use")  # by the gate itself
    tokens, state = tmp_path / "tokens.toml", tmp_path / "state"
    tokens.write_text("")
    for file in (tokens, state):
        file.touch(0o600)
        file.chmod(0o600)
    given: dict[str, Any] = {**ADMIN, "mcp_app": "trio:run"}
    settings = Settings(_env_file=None, state_db=state, tokens_file=tokens, **given)
    monkeypatch.setenv("PORT", "many")  # a hosted server may write what it likes
    monkeypatch.setenv("TOKEN_FILE", "x")
    findings = look_at(settings)
    assert words(findings) == set(), findings
    assert all(finding.check for finding in findings)
    assert f"{tokens}: 0 named tokens" in [finding.seen for finding in findings]


def test_faults_of_a_gate_that_runs_have_the_words_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "HERE", tmp_path)
    state = tmp_path / "state"
    for file, text in (
        (tmp_path / ".env", f"MCP_AUTH_TOKEN={TOKEN}"),
        (tmp_path / "tokens.toml", "nonsense"),
        (state, ""),
    ):
        file.write_text(text)
        file.chmod(0o644)
    given: dict[str, Any] = {**ADMIN, "mcp_app": "not_there.at_all:mcp"}
    tokens = tmp_path / "tokens.toml"
    settings = Settings(_env_file=None, state_db=state, tokens_file=tokens, **given)
    findings = look_at(settings, "a note of the start")
    assert words(findings) == {
        *("setting-odd", "file-readable", "tokens-wrong", "state-readable", "server-missing")
    }
    assert TOKEN not in str(findings)


def test_a_check_that_fails_is_a_finding_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(_: Settings) -> Iterator[Finding]:
        yield fine("the beginning")
        raise OSError

    monkeypatch.setattr(running, "CHECKS", (breaks, local.clock))
    findings = look_at(Settings(_env_file=None))
    assert [finding.check for finding in findings] == ["settings", "breaks", "breaks", "clock"]
    assert words(findings) == {"check-failed"}


@asynccontextmanager
async def kept(
    monkeypatch: pytest.MonkeyPatch,
    machine: Callable[[], Sequence[Finding]] = tuple,
    address: Sequence[Finding] = (),
    visits: list[Visit] | None = None,
    **more: Any,
) -> AsyncIterator[Checkup]:
    """A doctor that is at work, and that sees this of the address, without asking it."""

    async def examine(visit: Visit, progress: Any, tell: Any) -> None:
        if visits is not None:
            visits.append(visit)
        progress("way", False)
        await trio.lowlevel.checkpoint()
        tell(list(address))
        progress("way", True)

    monkeypatch.setattr(checkup, "examine", examine)
    doctor = Checkup(machine, **{"endpoint": PUBLIC, **more})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(doctor.keep)
        yield doctor
        nursery.cancel_scope.cancel()


async def until_over(doctor: Checkup) -> checkup.Result:
    with trio.fail_after(5):
        while doctor.running:
            await trio.sleep(0.005)
    assert doctor.result is not None
    return doctor.result


async def test_a_look_ends_with_both_halves_and_the_token_is_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visits: list[Visit] = []
    seen = [found("slow", f"it told {TOKEN} and mcpgate_secret")]
    async with kept(
        monkeypatch, lambda: [fine("a machine")], seen, visits, hidden=["mcpgate_secret"]
    ) as doctor:
        assert doctor.begin(TOKEN)
        assert doctor.running
        assert not doctor.begin()  # one at a time
        result = await until_over(doctor)
        assert [each.seen for each in result.machine] == ["a machine"]
        assert words(result.address) == {"slow"}
        assert result.with_token
        assert TOKEN not in f"{vars(doctor)}"
        assert "mcpgate_secret" not in str(result)
        assert doctor.done == 2
        assert doctor.begin()
        assert not (await until_over(doctor)).with_token
    assert [visit.tokens for visit in visits] == [(TOKEN,), ()]


def test_a_token_that_nobody_can_send_is_refused_and_not_repeated() -> None:
    doctor = Checkup(tuple, PUBLIC)
    with pytest.raises(ValueError, match="visible ASCII") as refused:
        doctor.begin("a b")
    assert "a b" not in str(refused.value)
    assert not doctor.running


@pytest.mark.parametrize(
    ("word", "given", "token", "expected", "level"),
    [
        ("no-connection", {}, "", "not-from-here", Level.NOTE),
        ("name-unknown", {}, TOKEN, "not-from-here", Level.NOTE),
        (
            "no-connection",
            {"endpoint": "http://127.0.0.1:7860/mcp"},
            "",
            "no-connection",
            Level.ERROR,
        ),
        ("token-needed", {}, "", "token-needed", Level.NOTE),
        ("sign-in-needed", {}, "", "sign-in-needed", Level.NOTE),
        ("token-refused", {}, TOKEN, "token-refused", Level.ERROR),
        ("front-first", {}, "", "front-first", Level.ERROR),
        ("front-first", {"behind_front": True}, "", "front-first", Level.NOTE),
        ("tls-untrusted", {}, "", "tls-untrusted", Level.ERROR),
    ],
)
async def test_a_finding_that_tells_of_the_place_of_the_look_is_no_fault_of_the_gate(
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    given: dict[str, Any],
    token: str,
    expected: str,
    level: Level,
) -> None:
    async with kept(monkeypatch, address=[found(word, "seen")], **given) as doctor:
        doctor.begin(token)
        (finding,) = (await until_over(doctor)).address
    assert (finding.word, finding.level) == (expected, level)
    assert finding.remedy
    assert "seen" in finding.seen


async def test_whatever_hangs_a_look_ends_and_leaves_one_thread_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hangs() -> Sequence[Finding]:
        released.wait(10)
        return ()

    async def examine(_: Visit, progress: Any, tell: Any) -> None:
        tell([fine("the way")])
        progress("protocol", False)
        await trio.sleep_forever()

    async with kept(monkeypatch, hangs) as doctor:
        monkeypatch.setattr(checkup, "examine", examine)
        monkeypatch.setattr(checkup, "MAX_SECONDS", 1.05)
        for _ in range(2):
            doctor.begin()
            result = await until_over(doctor)
            assert [each.word for each in result.machine] == ["unfinished"]
            assert [each.word for each in result.address] == ["ok", "unfinished"]
            assert "protocol" in result.address[1].seen
            assert MACHINE not in result.address[1].seen
            assert checkup.MACHINE_THREADS.busy == 1
        released.set()


async def test_a_look_that_fails_says_so_and_the_next_one_can_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks() -> Sequence[Finding]:
        raise OSError("secret")

    async def examine(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    async with kept(monkeypatch, breaks) as doctor:
        monkeypatch.setattr(checkup, "examine", examine)
        for _ in range(2):
            assert doctor.begin()
            result = await until_over(doctor)
            assert words(result.machine) == words(result.address) == {"check-failed"}
            assert "secret" not in str(result)


async def test_the_end_of_the_gate_ends_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def examine(*_: Any) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with kept(monkeypatch) as doctor:
        monkeypatch.setattr(checkup, "examine", examine)
        doctor.begin()
        with trio.fail_after(5):
            while not begun.is_set():
                await trio.sleep(0.005)
    with trio.fail_after(5):
        while not ended.is_set():
            await trio.sleep(0.005)
