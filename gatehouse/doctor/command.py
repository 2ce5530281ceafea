"""`python run.py doctor`: look at a gate from outside, or, without a URL, at this machine.

The result goes to stdout, and nothing else does. Exit status by the worst finding: 0 if there are only notes,
1 for a warning, 2 for an error, and for arguments that cannot be used; 130 after Ctrl+C.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from gatehouse.doctor.examine import examine
from gatehouse.doctor.finding import Level, cleaned, without, worst
from gatehouse.doctor.local import examine_machine
from gatehouse.doctor.progress import shown
from gatehouse.doctor.report import as_json, as_text
from gatehouse.doctor.target import read_target
from gatehouse.doctor.tokens import read_tokens
from gatehouse.doctor.visit import Visit
from gatehouse.errors import sole_cause

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gatehouse.doctor.finding import Finding

STOPPED = 130
"""A shell's status for a program that Ctrl+C has ended."""

STATUSES = {Level.OK: 0, Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}


def doctor_command(options: argparse.Namespace) -> int:
    """Do what `parser` has read after `doctor`; returns the exit status."""
    try:
        if options.url is None:
            return tell("this machine", examine_machine(), (), json=options.json)
        target, key = read_target(options.url)
        tokens = (key,) if key and options.token_file is None else read_tokens(options.token_file)
        visit = Visit(target, tokens, options.idle, key_in_url=bool(key) and key in tokens)
        with shown(target.url) as progress:
            findings = trio.run(examine, visit, progress)
        return tell(target.url, findings, (*tokens, key), json=options.json)
    except ValueError as error:
        with suppress(OSError):
            print(f"doctor: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except (KeyboardInterrupt, EOFError):
        return STOPPED
    except BaseExceptionGroup as group:
        if isinstance(sole_cause(group), KeyboardInterrupt):
            return STOPPED
        raise


def tell(subject: str, findings: Sequence[Finding], secrets: Sequence[str], *, json: bool) -> int:
    """Print the result without the secrets; returns the exit status."""
    text = (as_json if json else as_text)(without(secrets, subject), cleaned(findings, secrets))
    if sys.stdout:
        print(text, flush=True)  # noqa: T201
    return STATUSES[worst(findings)]
