"""The first steps of all: three open descriptors, and an environment without secrets.

A secret taken out of `os.environ` still stands in `/proc/self/environ`, where the kernel shows the environment
of a program's start to all who may read files: a tool, or a program that a tool starts. The gate therefore
starts itself anew, as the same process, and hands the secrets on through a pipe. This module imports little,
since it runs twice.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECRETS = (
    *("MCP_AUTH_TOKEN", "METRICS_TOKEN", "SHARED_STATE_URL", "UPSTREAM_AUTHORIZATION"),
    *("AUTH_CLIENT_SECRET", "SIGN_IN_CLIENT_SECRET", "SIGN_IN_SECRET"),
)
"""Settings that the MCP server and its tools need not know."""

SECRETS_OF_SPACE = ("OAUTH_CLIENT_SECRET",)
"""Secrets that Hugging Face gives to a Space. They are hidden from the MCP server only if people sign in with them at
the gate: the server may have a sign-in of its own. Settings tell that, which are not read yet, so that these secrets
leave the environment of the start in any case, and `os.environ` later."""

BEGAN = time.monotonic()
"""When this program began, as near as its own code can tell: nothing of ours is imported before."""

HANDED_ON = "GATE_SECRETS_FD"
"""Names the descriptor from which the secrets are read after the new start."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that wait across the new start: one that came in between would end nothing, or only half."""


def seconds_since_start() -> float:
    """How long this program has run."""
    return time.monotonic() - BEGAN


def open_missing() -> None:
    """Open stdin, stdout and stderr if they are closed: the first sockets would else be taken for them."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            os.set_inheritable(descriptor, True)


def leave_no_core() -> None:
    """Let a crash write no file of this program's memory, secrets included: a tool might read it later."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def leave_secrets_behind() -> None:
    """Start this program anew if a secret is in its environment; after the new start, take the secrets up again.

    They are then in `os.environ`, for the settings to read, but the kernel shows them to nobody. Raises OSError
    or ValueError if that fails; SIGNALS wait until `signals_may_come`.
    """
    if descriptor := os.environ.pop(HANDED_ON, None):
        with open(int(descriptor), encoding="ascii") as pipe:  # noqa: PTH123 - a descriptor, no path
            os.environ.update(json.load(pipe))
        return
    names = secret_names((*SECRETS, *SECRETS_OF_SPACE))
    secrets = {name: os.environ[name] for name in names if os.environ[name].strip()}
    if not secrets:
        return
    reader, writer = os.pipe()
    try:
        os.set_inheritable(reader, True)
        os.set_blocking(writer, False)  # the secrets must fit into the pipe: nobody reads it yet
        data = json.dumps(secrets).encode("ascii")
        if os.write(writer, data) < len(data):
            raise OSError("they are too long")
        os.close(writer)
        kept = {name: value for name, value in os.environ.items() if name not in secrets}
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.execve(  # noqa: S606 - that is the point
            sys.executable,
            [sys.executable, *sys.orig_argv[1:]],
            {**kept, HANDED_ON: str(reader)},
        )
    finally:
        signals_may_come()
        os.close(reader)


def signals_may_come() -> None:
    """Let SIGNALS come: from now on they are handled."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def secret_names(secrets: Sequence[str] = SECRETS) -> list[str]:
    """The names of these secrets in the environment, in whatever case: settings are found in any."""
    return [name for name in os.environ if name.upper() in secrets]
