"""The import of a hosted server."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from gatehouse.hosting import loading
from gatehouse.hosting.faults import HostedServerError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("module", "app", "words"),
    [
        ("", "no_such_module:mcp", "there is no module no_such_module"),
        ("def mcp(): ...", "broken:mcp", "is no FastMCP server but a function; name the object"),
        ("", "broken:mcp", "broken has no mcp"),
        (
            "class mcp:\n    def http_app(): ...\nUPSTREAM_RUNTIME = 'uvloop'",
            "broken:mcp",
            "UPSTREAM_RUNTIME in broken must be asyncio or trio, not uvloop",
        ),
        ("import no_such_library", "broken:mcp", "No module named 'no_such_library'"),
        (
            "import json\njson.loads('')",
            "broken:mcp",
            r"JSONDecodeError: .* \(.*broken.py, line 2\)",
        ),
        ("def f(:", "broken:mcp", "SyntaxError"),
        (
            "class Odd(SystemExit):\n    def __str__(self): raise Odd\nraise Odd",
            "broken:mcp",
            r"Odd: <no text> \(.*broken.py, line 3\)",
        ),
        (
            "def __getattr__(name):\n    if name == 'mcp':\n        raise KeyboardInterrupt",
            "broken:mcp",
            "KeyboardInterrupt",
        ),
    ],
)
def test_a_server_that_cannot_be_imported_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, app: str, words: str
) -> None:
    (tmp_path / "broken.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "broken", None)
    monkeypatch.delitem(sys.modules, "broken")
    with pytest.raises(HostedServerError) as failed:
        loading.load_server(app)
    (line,) = failed.value.faults
    assert "\n" not in line
    assert line.startswith("MCP_APP: ")
    assert re.search(words, line)
    assert not failed.value.started


def test_an_import_that_takes_long_is_told(
    monkeypatch: pytest.MonkeyPatch, access_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "SLOW_IMPORT_SECONDS", 0.01)
    with loading.logged_if_slow("slow:mcp"):
        deadline = time.monotonic() + 10
        while not access_log.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "importing slow:mcp has not ended after 0.01 s" in access_log.text


def test_a_servers_module_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in [("says_trio", "UPSTREAM_RUNTIME = 'trio'"), ("says_nothing", "")]:
        (tmp_path / f"{name}.py").write_text(f"class mcp:\n    def http_app(): ...\n{line}")
    assert loading.load_server("says_trio:mcp").runtime == "trio"
    assert loading.load_server("says_nothing:mcp").runtime == ""
    assert loading.load_server("mcp_app:mcp").runtime == "trio"
