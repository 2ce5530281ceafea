"""A gate without a dashboard loads nothing of it: Jinja2 and its like take a tenth of a second."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.harness.program import ROOT, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import run
from gatehouse.assembly.house import House
from gatehouse.settings.environment import Settings

settings = {**dict(pair.split("=", 1) for pair in sys.argv[1:]), "mcp_app": ""}
house = House(Settings(_env_file=None, **settings), [])
house.gate
print(*sys.modules)
"""
SLOW = {"jinja2", "segno", "markupsafe"}
OF_A_DASHBOARD = {
    "gatehouse.assembly.dashboard",
    "gatehouse.doctor.checkup",
    "gatehouse.pages.dashboard.dashboard",
    "gatehouse.signin.provider",
    "gatehouse.signin.sealing",
}
WITH_ONE = [
    "sign_in=https://issuer.example",
    "sign_in_client_id=gate",
    f"sign_in_client_secret={TOKEN}",
    "admins=alice@example.com",
    "public_url=https://gate.example",
]


def loaded(settings: list[str], folder: Path) -> set[str]:
    command = [sys.executable, "-c", PROGRAM, *settings]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_a_gate_without_a_dashboard_loads_none_of_it(tmp_path: Path) -> None:
    found = loaded([f"mcp_auth_token={TOKEN}"], tmp_path)
    assert "gatehouse.pages.landing" in found
    assert not (SLOW | OF_A_DASHBOARD | {"joserfc", "cryptography"}) & found


def test_the_names_above_are_those_that_a_dashboard_loads(tmp_path: Path) -> None:
    assert loaded(WITH_ONE, tmp_path) >= SLOW | OF_A_DASHBOARD
