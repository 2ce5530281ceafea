"""The Node clients, installed from their lock file."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 240.0


def node_programs() -> Path:
    """The folder of the installed clients; installs them unless that has been done."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            unavailable(f"{command} is not on this machine")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another run of the tests may be installing just now
        # npm writes this file last, so it is also the sign of a complete installation.
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            install()
    return installed.parent / ".bin"


def install() -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        unavailable(f"npm ci took more than {INSTALL_SECONDS:.0f} s")
    if done.returncode:
        reason = "; ".join(done.stdout.splitlines()[:2])  # what follows is advice
        unavailable(f"npm ci ended with {done.returncode}: {reason}")


def unavailable(reason: str) -> NoReturn:
    """Skip what needs Node; in CI, where it has to be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
