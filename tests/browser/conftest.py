"""One browser for each file of tests, whose windows share nothing; a Space, and the window of the one who owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import chromium
from tests.browser.gates import VALUE, headed, in_a_space, sign_in, visiting
from tests.harness.identity.hugging_face import hugging_face

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.browser.window import Window
    from tests.harness.identity.hugging_face import HuggingFace
    from tests.harness.program import Program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def provider() -> Iterator[HuggingFace]:
    with hugging_face(asks=True) as provider:
        yield provider


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, provider: HuggingFace) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("gate")
    with in_a_space(folder, provider) as program:
        yield program
        assert program.stop() == 0
    assert program.errors == []
    assert VALUE.search(program.output) is None


@pytest.fixture
def owner(browser: Browser, program: Program, provider: HuggingFace) -> Iterator[Window]:
    """A window in which alice, whose Space it is, is signed in."""
    with visiting(browser, program, provider) as opened:
        sign_in(opened.page, program)
        headed(opened.page, "Now")
        opened.forgive("status of 401")
        yield opened
