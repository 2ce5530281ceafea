"""Ask the gate at its own HOST and PORT whether it lives: `python -m gatehouse.commands.health`, for the image.

It says so by its exit status. It loads the standard library only, because it runs every half minute.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

ANSWER_SECONDS = 4.0
"""Less than the time that the image gives to this command, so that it can still say why."""

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where a gate answers that listens at all addresses."""


def address() -> tuple[str, int]:
    """The address that the gate listens at, from the environment. Raises ValueError."""
    host = _setting("HOST", "127.0.0.1").removeprefix("[").removesuffix("]")
    return LOOPBACK.get(host, host), int(_setting("PORT", "7860"))


def _setting(name: str, default: str) -> str:
    """A setting as the gate reads it: without spaces and quotes around it; an empty one is unset."""
    return os.environ.get(name, "").strip().strip("\"'").strip() or default


def fault() -> str:
    """Why the gate is not well; empty if it is."""
    try:
        host, port = address()
        connection = HTTPConnection(host, port, timeout=ANSWER_SECONDS)
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, ValueError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return "" if status == 200 else f"/health answers {status}"


if __name__ == "__main__":
    sys.exit(fault() or 0)
