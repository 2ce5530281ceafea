"""The page of checks: a look that is begun by a form, its progress, and the findings."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from gatehouse.pages.dashboard.check import CheckPage
from tests.harness.dashboard import Browser
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    import pytest

    from tests.harness.dashboard import Answer

PATH = "/dashboard/check"
ENDPOINT = "https://gate.example/mcp"
ODD = "<b>it said</b> \u202e\x1b[2J"


class Level(IntEnum):
    OK, NOTE, WARNING, ERROR = 0, 1, 2, 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass
class Finding:
    word: str
    level: Level
    seen: str = "seen"
    remedy: str = ""
    check: str = "way"


@dataclass
class Result:
    machine: list[Finding]
    address: list[Finding]
    with_token: bool = False
    at: float = field(default_factory=time.time)


class Doctor:
    """A look that begins and ends as the test says."""

    endpoint = ENDPOINT

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.running = False
        self.began, self.done = math.inf, 0
        self.under_way: list[str] = []
        self.result: Result | None = None

    def begin(self, token: str = "") -> bool:
        if " " in token:
            raise ValueError("a token holds visible ASCII characters only, no spaces")
        if self.running:
            return False
        self.tokens.append(token)
        self.running, self.began = True, time.time()
        return True


class Look:
    """The page over a doctor, and a browser before it."""

    def __init__(self) -> None:
        self.doctor = Doctor()
        page = CheckPage(self.doctor)
        self.browser = Browser({b"/dashboard/check": page.show}, {b"/dashboard/check": page.start})

    async def see(self) -> Answer:
        return await self.browser.get(PATH)

    async def begin(self, token: str = "") -> Answer:
        return await self.browser.post(PATH, {"token": token})


async def test_a_look_is_begun_shown_while_it_runs_and_its_findings_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    look = Look()
    doctor = look.doctor
    first = await look.see()
    assert "Nobody has looked since the gate was started." in first.words
    assert "python run.py doctor https://gate.example/mcp" in first.words
    assert 'http-equiv="refresh"' not in first.text
    answer = await look.begin(TOKEN)
    assert (answer.status, answer.one(b"Location")) == (303, PATH.encode())
    assert doctor.tokens == [TOKEN]
    doctor.done, doctor.under_way = 3, ["wrong token", "body limit"]
    during = await look.see()
    assert "A look is under way" in during.words
    assert "Checks done: 3. Now: body limit, wrong token." in during.words
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in during.text
    assert "/dashboard/assets/check.js" in during.text
    assert 'type="password"' not in during.text
    doctor.running = False
    doctor.result = Result(
        [Finding("ok", Level.OK, "3.11", check="versions")],
        [Finding("slow", Level.NOTE), Finding("open", Level.ERROR, ODD, "Close it")],
        with_token=True,
    )
    after = await look.see()
    assert "with a token" in after.words
    assert after.words.index("error way: <b>it said</b>") < after.words.index("note way: seen")
    assert "Close it" in after.words
    assert "1 in order versions: 3.11" in after.words
    assert "<b>" not in after.text
    assert not any(each in after.text for each in "\u202e\x1b")
    assert 'http-equiv="refresh"' not in after.text
    everything = "".join(each.text for each in (first, during, after)) + caplog.text
    assert TOKEN not in everything
    assert "person:alice began a look at this gate, with a token" in caplog.text


async def test_a_second_look_waits_for_the_first_and_says_so() -> None:
    look = Look()
    await look.begin()
    await look.begin(TOKEN)
    assert look.doctor.tokens == [""]
    assert "A look was under way already." in (await look.see()).words


async def test_a_token_that_nobody_could_send_is_not_repeated() -> None:
    look = Look()
    answer = await look.begin("a b<i>")
    assert answer.status == 400
    assert (
        "The token is no good: a token holds visible ASCII characters only, no spaces."
        in answer.words
    )
    assert "a b" not in answer.text
    assert look.doctor.tokens == []
