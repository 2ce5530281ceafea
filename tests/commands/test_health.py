"""The health check of the image: it asks where the gate listens."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gatehouse.commands.health import address
from tests.harness.program import ROOT


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, ("127.0.0.1", 7860)),
        ({"HOST": "", "PORT": ""}, ("127.0.0.1", 7860)),
        ({"HOST": "0.0.0.0", "PORT": "8080"}, ("127.0.0.1", 8080)),
        ({"HOST": "::"}, ("::1", 7860)),
        ({"HOST": "[::1]", "PORT": ' "8080" '}, ("::1", 8080)),
        ({"HOST": "'10.0.0.7'"}, ("10.0.0.7", 7860)),
    ],
)
def test_it_asks_where_the_gate_listens(
    settings: dict[str, str], asked: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert address() == asked


def test_it_loads_nothing_but_the_standard_library() -> None:
    script = f"import sys; before = set(sys.modules); import {address.__module__}; print(*set(sys.modules) - before)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert tops <= {*sys.stdlib_module_names, "gatehouse"}
