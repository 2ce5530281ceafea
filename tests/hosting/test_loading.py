"""The import of a hosted server."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gatehouse import advice
from gatehouse.hosting import loading, modules
from gatehouse.hosting.faults import HostedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = "from fastmcp import FastMCP\nserver = FastMCP('x')"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for servers; all that is imported from it is forgotten afterwards."""
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setattr(modules, "FOLDER", folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def fault(app: str) -> str:
    """The one sentence that refuses the server."""
    with pytest.raises(HostedServerError) as failed:
        loading.load_server(app)
    (line,) = failed.value.faults
    assert "\n" not in line
    assert line.startswith("MCP_APP: ")
    assert not failed.value.started
    return str(line)


@pytest.mark.parametrize(
    ("module", "app", "words"),
    [
        ("", "no_such_module:mcp", "there is no module no_such_module"),
        (
            "def make(): ...",
            "broken:make",
            r"a function, .*: put mcp = make\(\) into broken, and set MCP_APP=broken:mcp$",
        ),
        (
            "",
            "broken:mcp",
            r"broken has no mcp, and no FastMCP object at all: give it mcp = FastMCP",
        ),
        (
            f"{SERVER}\nmcp = app = server",
            "broken:no",
            "did you mean .*:server or .*:mcp or .*:app\\?$",
        ),
        (f"{SERVER}\ndef mcp(): ...", "broken:mcp", "did you mean MCP_APP=broken:server\\?$"),
        (
            SERVER,
            "broken:FastMCP",
            "no FastMCP server but a type; did you mean MCP_APP=broken:server",
        ),
        (
            "from mcp.server.mcpserver import MCPServer\nmcp = MCPServer('x')",
            "broken:mcp",
            "is a server of the MCP SDK's own; make it with: from fastmcp import FastMCP$",
        ),
        (
            "from mcp.server.fastmcp import FastMCP",
            "broken:mcp",
            "; write from fastmcp import FastMCP$",
        ),
        (
            "class A:\n    http_app = print\nmcp = A()\nUPSTREAM_RUNTIME = 'uvloop'",
            "broken:mcp",
            "UPSTREAM_RUNTIME in broken must be asyncio or trio, not uvloop",
        ),
        (
            "import no_such_library",
            "broken:mcp",
            "No module named 'no_such_library'.* install the package that has no_such_library",
        ),
        (
            "import json\njson.loads('')",
            "broken:mcp",
            r"JSONDecodeError: .* \(.*broken.py, line 2\)",
        ),
        ("\ndef f(:", "broken:mcp", r"SyntaxError: invalid syntax \(/.*/broken.py, line 2\)$"),
        (
            "import typing\ndef f(x: 'Foo'): ...\ntyping.get_type_hints(f)",
            "broken:mcp",
            r"NameError: name 'Foo' is not defined \(.*broken.py, line 3\)$",
        ),
        (
            "import os\nos.environ['THEIR_KEY']",
            "broken:mcp",
            "KeyError: 'THEIR_KEY' .*; the server wants THEIR_KEY in the environment",
        ),
        ("{}['THEIR_KEY']", "broken:mcp", r"KeyError: 'THEIR_KEY' \(.*broken.py, line 1\)$"),
        (
            "open('no/such.txt')",
            "broken:mcp",
            "begins at the folder of the start .*: Path\\(__file__\\).parent is that of the module$",
        ),
        ("open('/no/such.txt')", "broken:mcp", "'/no/such.txt' \\(.*line 1\\)$"),
        ("from .tools import f", "broken:mcp", "as they stand: import my_tools, without a dot$"),
        ("exit()", "broken:mcp", 'put what ends the program under: if __name__ == "__main__":$'),
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
    folder: Path, module: str, app: str, words: str
) -> None:
    (folder / "broken.py").write_text(module)
    assert re.search(words, fault(app))


async def test_a_setting_that_fastmcp_does_not_take_is_named_without_its_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "reads_settings.py").write_text("from fastmcp.settings import Settings\nSettings()")
    modules.let_servers_be_found()
    monkeypatch.setenv("FASTMCP_STATELESS_HTTP", "yess")
    monkeypatch.setattr(loading, "OURS_TOO", ("reads_settings",))
    with pytest.raises(HostedServerError) as failed:
        await loading.imported("any:mcp")
    (line,) = failed.value.faults
    assert line.startswith("FASTMCP_STATELESS_HTTP: FastMCP does not take this setting: ")
    assert "yess" not in line
    assert "\n" not in line


async def test_a_package_in_the_place_of_a_pinned_one_is_told_with_the_command_that_mends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "not_ours.py").write_text("from fastmcp import NoSuchName")
    modules.let_servers_be_found()
    monkeypatch.setattr(loading, "OURS_TOO", ("not_ours",))
    with pytest.raises(HostedServerError) as failed:
        await loading.imported("any:mcp")
    (line,) = failed.value.faults
    assert line.startswith("FastMCP cannot be imported: ImportError: ")
    assert line.endswith(f" {advice.INSTALL_ANEW}")


@pytest.mark.parametrize(
    "call",
    [
        "if True: server.run()",
        "def main(): server.run(transport='http', port=1)\nmain()",
        "import asyncio; asyncio.run(server.run_async())",
        "import anyio; anyio.run(server.run_http_async)",
        "import anyio; anyio.run(server.run_stdio_async)",
        "try: server.run()\nexcept BaseException: pass",
        "import uvicorn; uvicorn.run(server.http_app(), port=1)",
        "from uvicorn import run; run(server.http_app(), port=1)",
        "import uvicorn, anyio; anyio.run(uvicorn.Server(uvicorn.Config(server.http_app())).serve)",
        "import threading; t = threading.Thread(target=server.run); t.start(); t.join()",
        "from mcp.server.mcpserver import MCPServer; MCPServer('x').run()",
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_runs_itself_at_import_is_stopped_with_that_sentence(
    folder: Path, call: str
) -> None:
    (folder / "runs.py").write_text(f"{SERVER}\n{call}")
    words = r"runs:server runs a server itself .*, by (run|serve)\w*\(\).* under: if __name__ =="
    assert re.search(words, fault("runs:server"))


def test_a_server_that_runs_itself_later_is_refused_and_others_may(folder: Path) -> None:
    (folder / "later.py").write_text(f"from uvicorn import run\n{SERVER}\nother = FastMCP('y')")
    server: Any = loading.load_server("later:server").server
    with pytest.raises(RuntimeError, match="the gate hosts this server already"):
        server.run()
    later = sys.modules["later"]
    with pytest.raises(ValueError, match="Unknown transport"):
        later.other.run(transport="no such transport")
    with pytest.raises(TypeError):
        later.run(None, no_such_option=True)


def test_the_folder_for_servers_comes_last_and_nothing_in_it_hides_what_others_need(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("json", "mcp_app", "throttled", "mine"):
        (folder / f"{name}.py").write_text(SERVER)
    assert "json.py is hidden by another module json (" in fault("json:server")
    assert "mcp_app.py is hidden" in fault("mcp_app:mcp")
    assert loading.load_server("mine:server").server.name == "x"
    assert sys.path[-1] == str(folder)
    assert sys.modules["json"].__file__ != str(folder / "json.py")
    assert f"json in {folder} is hidden by another module" in caplog.text
    (folder / "fails.py").write_text("from json import mine")
    assert re.search("importing fails:mcp failed: .*; json in .* is hidden", fault("fails:mcp"))


def test_a_server_that_is_not_there_is_looked_for(folder: Path) -> None:
    assert f"put my_server.py into {folder}, or install" in fault("my_server:mcp")
    (folder / "my-server.py").touch()
    assert fault("my_server:mcp").endswith("cannot be imported by its name: rename it my_server.py")
    (folder / "my-server.py").rename(folder / "my_servr.py")
    assert fault("my_server:mcp").endswith("did you mean MCP_APP=my_servr:mcp?")
    (folder / "other").mkdir()
    (folder / "other" / "__init__.py").touch()
    assert "put lost.py into" in fault("lost.app:mcp")
    assert fault("othr:mcp").endswith("did you mean MCP_APP=other:mcp?")
    (folder / "other" / "main.py").touch()
    assert fault("other.man:mcp").endswith("did you mean MCP_APP=other.main:mcp?")
    (folder / "requirements.txt").touch()
    (folder / "needs.py").write_text("import no_such_library")
    told = fault("needs:mcp")
    assert advice.install_from(folder / "requirements.txt") in told
    assert "the package that has no_such_library belongs into" in told


def test_a_servers_module_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in [("says_trio", "UPSTREAM_RUNTIME = 'trio'"), ("says_nothing", "")]:
        (tmp_path / f"{name}.py").write_text(f"class A:\n    http_app = print\nmcp = A()\n{line}")
    assert loading.load_server("says_trio:mcp").runtime == "trio"
    assert loading.load_server("says_nothing:mcp").runtime == ""
    assert loading.load_server("mcp_app:mcp").runtime == "trio"
