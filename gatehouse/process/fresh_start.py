"""What comes before everything else: three open descriptors, and an environment without secrets.

Taken out of `os.environ`, a secret still stands in `/proc/self/environ`, where the kernel shows what a program
was started with, to whoever may read files: a tool, or a program that a tool starts. So the gate starts itself
anew, as the same process, and hands the secrets on through a pipe. It imports little, since it runs twice.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

SECRETS = ("MCP_AUTH_TOKEN", "METRICS_TOKEN", "SHARED_STATE_URL")
"""Settings that the MCP server and its tools need not know."""

HANDED_ON = "GATE_SECRETS_FD"
"""Names the descriptor that the secrets can be read from, after the new start."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Kept waiting across the new start, or one that comes in between would end nothing, or end it by half."""


def open_missing() -> None:
    """Open what should be open: started without, the first sockets would be taken for stdout and stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(descriptor, True)


def leave_no_core() -> None:
    """Have no file written of this program's memory, secrets and all, if it crashes: a tool might read that later."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def leave_secrets_behind() -> None:
    """Start this program anew if a secret is in its environment; after that, take them up again.

    Then they are in `os.environ`, for the settings to read, but the kernel shows them to nobody. Raises OSError
    or ValueError if that cannot be done; SIGNALS wait until `signals_may_come`.
    """
    if descriptor := os.environ.pop(HANDED_ON, None):
        with open(int(descriptor), encoding="ascii") as pipe:  # noqa: PTH123 - a descriptor, no path
            os.environ.update(json.load(pipe))
        return
    secrets = {name: os.environ[name] for name in secret_names() if os.environ[name].strip()}
    if not secrets:
        return
    reader, writer = os.pipe()
    try:
        os.set_inheritable(reader, True)
        os.set_blocking(writer, False)  # it must fit into what a pipe holds: nobody reads it yet
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
    """From now on there is somebody to hear SIGNALS."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def secret_names() -> list[str]:
    """The names of secrets in the environment, in whatever case: settings are found in any."""
    return [name for name in os.environ if name.upper() in SECRETS]
