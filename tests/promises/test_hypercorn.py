"""Hypercorn changed under the gate: it serves with our connections, or it does not start."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import hypercorn

from tests.harness.program import ROOT, Program, running

VERSION = "0.18.0"
SOURCE = Path(hypercorn.__file__).parent
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# The parts of Hypercorn's own way of serving.
SERVING = {
    "TCPServer",
    "worker_serve",
    "serve",
    "raise_shutdown",
    "ShutdownError",
    "ProtocolWrapper",
}


def test_hypercorn_is_pinned_to_the_release_that_was_read() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [line for line in project["dependencies"] if line.startswith("hypercorn")]
    assert pin == f"hypercorn=={VERSION}"
    assert importlib.metadata.version("hypercorn") == VERSION


def test_with_any_of_its_names_changed_it_serves_as_before_or_does_not_start(
    tmp_path: Path,
) -> None:
    names = used_names()
    assert {"Config", "Lifespan", "wrap_app", "handle_lifespan", "wait_for_shutdown"} <= names
    copies = [copied(tmp_path / "same", "")]
    copies += [copied(tmp_path / name, name) for name in sorted(names | SERVING)]
    tried = subprocess.run(
        [sys.executable, ROOT / "tests/harness/hypercorn_trial.py", *copies],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    outcomes = dict(line.split(": ", 1) for line in tried.stdout.splitlines())
    assert outcomes.keys() == {copy.name for copy in copies}
    assert set(outcomes.values()) == {"serves as before", "does not start"}, outcomes
    assert outcomes["same"] == outcomes["TCPServer"] == "serves as before"


def test_the_program_serves_as_before_without_hypercorns_own_connections(tmp_path: Path) -> None:
    copy = copied(tmp_path / "copy", "TCPServer")
    with running(tmp_path, MCP_APP="", PYTHONPATH=f"{copy}:{ROOT}") as program:
        program.wait_for("/health")
        assert answered(program, PREFACE).startswith(b"HTTP/1.1 505 ")
        health = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert answered(program, health).startswith(b"HTTP/1.1 200 OK")
        assert program.stop() == 0


def answered(program: Program, data: bytes) -> bytes:
    """The first that comes back."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=5) as client:
        client.sendall(data)
        return client.recv(1000)


def used_names() -> set[str]:
    """Every name that the gate imports from Hypercorn, and every attribute that it uses and that one of the imported
    classes has. Only `downstream/` imports them.
    """
    imported: dict[str, str] = {}
    attributes = set[str]()
    for path in (ROOT / "gatehouse/downstream").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(
                "hypercorn."
            ):
                imported |= {alias.name: module for alias in node.names}
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
    kinds = [getattr(importlib.import_module(imported[name]), name) for name in imported]
    classes = [kind for kind in kinds if isinstance(kind, type)]
    return imported.keys() | {name for kind in classes for name in has(kind) & attributes}


def has(kind: type) -> set[str]:
    """The names that the class has, and that its methods give to `self`."""
    names = {*vars(kind), *vars(kind).get("__annotations__", ())}
    for node in ast.walk(ast.parse(inspect.getsource(kind))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if not name.startswith("__")}


def copied(folder: Path, name: str) -> Path:
    """A copy of Hypercorn in `folder`, with that name changed wherever it stands."""
    shutil.copytree(SOURCE, folder / "hypercorn", ignore=shutil.ignore_patterns("__pycache__"))
    if name:
        for path in (folder / "hypercorn").rglob("*.py"):
            source = path.read_text()
            path.write_text(re.sub(rf"\b{name}\b", f"{name}_changed", source))
    return folder
