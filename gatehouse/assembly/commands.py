"""The commands by their names: each imports what it needs only when it is asked for, since serving needs none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.commands.parser import give_up_stdout
from gatehouse.process import signals
from gatehouse.settings.environment import load_settings

if TYPE_CHECKING:
    import argparse


def run_command(options: argparse.Namespace) -> int:
    """Do the command that `parser` has read; returns the exit status. Raises FaultsError."""
    signals.give_back()
    if options.command == "doctor":
        from gatehouse.doctor.command import doctor_command

        try:
            return doctor_command(options)  # faulty settings are among its findings
        except OSError:  # of stdout: a closed pipe, a full disk
            give_up_stdout()
            return 1
    from gatehouse.commands.tokens import tokens_command

    return tokens_command(options, load_settings())
