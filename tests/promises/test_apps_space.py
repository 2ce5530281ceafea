"""A Space with `hf_oauth: true`, the one variable SIGN_IN, and nothing else: pasting its URL is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.identity.app import App
from tests.harness.identity.app_person import AppPerson
from tests.harness.identity.hugging_face import hugging_face
from tests.harness.owner import HOST, ORIGIN, space_of
from tests.harness.program import Program

if TYPE_CHECKING:
    from pathlib import Path

URL = f"{ORIGIN}/mcp"


def test_whoever_made_the_space_pastes_its_url_and_says_yes(tmp_path: Path) -> None:
    with hugging_face() as provider:
        space = {**space_of(provider), "MCP_APP": "probe_server:mcp", "HOST": "127.0.0.1"}
        program = Program(tmp_path, space)
        try:
            program.wait_for()
            roads = {ORIGIN: program.url}
            with AppPerson(roads=roads) as owner, App(URL, roads=roads) as app:
                app.sign_in(owner)
                assert len(owner.questions) == 1
                assert "Hugging Face" in owner.questions[0]
                assert app.add(2, 3) == 5
                program.wait_for_log("let in an app")
                apps = owner.get(f"{ORIGIN}/dashboard/apps").text
                assert "app of the tests" in apps
            assert program.errors == []
            assert HOST in program.log
            assert "eyJ" not in program.output
        finally:
            program.process.kill()
            program.process.wait()
