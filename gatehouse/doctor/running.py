"""The look of a running gate at its own machine: as `local.py` has it, with the settings that are in force.

By now the secrets are gone from the environment, the ports are the gate's own, and a hosted server may have changed
the folder and the environment. None of that is a finding.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.doctor.finding import Finding, fine, found
from gatehouse.doctor.local import (
    authorities,
    clock,
    disk,
    env_file,
    name_of,
    own_files,
    server,
    versions,
)
from gatehouse.doctor.sign_in import signers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gatehouse.doctor.local import Check
    from gatehouse.settings.environment import Settings


def examine_running(settings: Settings, sources: str, notes: Sequence[str]) -> Iterator[Finding]:
    """All findings about the machine of a gate that runs, one check after the other.

    `sources` and `notes` are what the start told of the places that settings come from.
    """
    yield replace(fine(sources), check="settings")
    for note in notes:
        yield replace(found("setting-odd", note), check="settings")
    for check in CHECKS:
        yield from findings_of(check, settings)


def findings_of(check: Check, settings: Settings) -> Iterator[Finding]:
    """The findings of one check, each with its name; one that fails is a finding, too."""
    name = name_of(check)
    try:
        for finding in check(settings):
            yield replace(finding, check=name)
    except Exception as error:  # noqa: BLE001 - a file that changes meanwhile, or a disk: the others are to run
        yield replace(found("check-failed", type(error).__name__), check=name)


def files(settings: Settings) -> Iterator[Finding]:
    """The rights of files that hold secrets, and of those that the gate writes, where it was started."""
    yield from env_file(advice.HERE / ".env")
    yield from own_files(settings)


def ports(settings: Settings) -> Iterator[Finding]:
    """The gate's own port."""
    yield fine(f"PORT {settings.port} is this gate's")


def hosted(settings: Settings) -> Iterator[Finding]:
    """The module of the hosted server; one that is loaded need not be looked for."""
    module = settings.mcp_app.partition(":")[0]
    if settings.hosts_upstream and module in sys.modules:
        yield fine(f"MCP_APP: {module} is loaded")
    else:
        yield from server(settings)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    files,
    ports,
    hosted,
    versions,
    disk,
    authorities,
    signers,
    clock,
)
"""Each takes the settings."""
