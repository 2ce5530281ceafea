"""Node packages that tests need, installed from the lock file beside their `package.json`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_SECONDS = 240.0


def packages_of(folder: Path) -> Path:
    """The `node_modules` of this folder; installs them unless that has been done."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            unavailable(f"{command} is not on this machine")
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another run of the tests may be installing just now
        # npm writes this file last, so it is also the sign of a complete installation.
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            install(folder)
    return installed.parent


def install(folder: Path) -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
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
    """Skip what needs it; in CI, where it has to be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
