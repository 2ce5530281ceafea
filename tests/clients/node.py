"""The Node clients, installed from their lock file."""

from __future__ import annotations

from pathlib import Path

from tests.harness.npm import packages_of

HERE = Path(__file__).resolve().parent


def node_programs() -> Path:
    """The folder of the installed clients; installs them unless that has been done."""
    return packages_of(HERE) / ".bin"
