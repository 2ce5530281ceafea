"""The command line as it is read: `python run.py` serves, `python run.py tokens ...` manages named tokens.

No complaint repeats an argument that may be the value of a token.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from gatehouse import advice
from gatehouse.pages.snippets import CLIENTS
from gatehouse.records.redact import MASK
from gatehouse.tokens import typed
from gatehouse.tokens.typed import WHEN
from gatehouse.tokens.value import VALUE_PATTERN
from gatehouse.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

ABOUT = """\
The gate: an authenticating reverse proxy in front of an MCP server. Without a command it serves until
Ctrl+C. Settings come from the environment, or from a file called .env in the current folder.
README.md is the first page, docs/settings.md has a table of all settings, .env.example their defaults.
"""
EXAMPLES = """\
examples:
  {run}
      serve
  PORT=8080 {run}
      the same, with a setting from the environment
  {run} tokens add alice
      make a token for Alice, and show its value once
  {run} tokens --help
      show the commands for tokens
"""
ABOUT_TOKENS = """\
Named tokens, one for each person or program: each has its own rights, and can be revoked alone. The setting
TOKENS_FILE names their file, which holds digests, never a value. A running gate takes over a change of the
file within a second, whether a command or an editor made it.
"""
TOKENS_EXAMPLES = """\
examples:
  {run} tokens add alice --note "Alice's laptop" --expires 90d
  {run} tokens add ci --tools "list_*,get_item" --rate "60/min, burst 20"
  {run} tokens list
  {run} tokens rotate alice --overlap 2d
      make a new value; the old one stays good for two days
  {run} tokens revoke alice
"""
ABOUT_DOCTOR = """\
Looks at a gate, or at any MCP server, as clients see it, and says what is wrong and what to do. Without a URL it looks
at the configuration of this machine. Tokens come from --token-file, or from GATE_TOKEN (and SECOND_GATE_TOKEN) in the
environment, or from a prompt. Exit status: 0, 1 for a warning, 2 for an error. docs/doctor.md explains each finding.
"""
MAX_IDLE_SECONDS = 3600


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints repeat no value of a token."""

    def error(self, message: str) -> NoReturn:
        run = advice.run_py()
        if self.prog == run:
            message += f". Settings are no options; they come from the environment or .env: PORT=8080 {run}"
        super().error(VALUE_PATTERN.sub(MASK, message))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        try:
            if sys.stdout:
                sys.stdout.flush()
        except OSError:
            give_up_stdout()
        super().exit(status, message)


def parser() -> Parser:
    """The parser for the whole command line. `command` is None (serve), "tokens" or "doctor"."""
    layout = argparse.RawDescriptionHelpFormatter
    run = advice.run_py()
    whole = Parser(
        prog=run, description=ABOUT, epilog=EXAMPLES.format(run=run), formatter_class=layout
    )
    whole.add_argument("--version", action="version", version=f"mcp-gate {VERSION}")
    commands = whole.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    tokens = commands.add_parser(
        "tokens",
        help="make, list, rotate and revoke named tokens",
        description=ABOUT_TOKENS,
        epilog=TOKENS_EXAMPLES.format(run=run),
        formatter_class=layout,
    )
    actions = tokens.add_subparsers(
        title="commands", dest="action", metavar="COMMAND", required=True
    )
    _define_add(actions.add_parser("add", help="make a token, and show its value once"))
    shows = actions.add_parser("list", help="show all tokens, and which values can go")
    shows.add_argument("--json", action="store_true", help="show them as JSON, for programs")
    _define_rotate(
        actions.add_parser("rotate", help="make a new value; the old one stays good for a while")
    )
    _define_revoke(actions.add_parser("revoke", help="end a token, or one value of it, at once"))
    about = "look at a gate from outside, or at this machine, and say what is wrong"
    _define_doctor(commands.add_parser("doctor", help=about, description=ABOUT_DOCTOR))
    return whole


def _define_add(adds: argparse.ArgumentParser) -> None:
    adds.add_argument(
        "name", metavar="NAME", type=_worded(typed.name), help="the person or program it is for"
    )
    wanted = {
        "tools": "allow only these tools: globs separated by commas; may be given several times",
        "resources": "allow only these resources, by URI",
        "prompts": "allow only these prompts. Without any of the three lists, everything is allowed; with one, "
        "only what the lists name",
    }
    for kind, words in wanted.items():
        adds.add_argument(
            f"--{kind}", metavar="GLOBS", type=_worded(typed.globs), action="extend", help=words
        )
    adds.add_argument(
        "--expires",
        metavar="WHEN",
        type=_worded(typed.end),
        help=f"the end, that of the day for a date: {WHEN}",
    )
    adds.add_argument(
        "--not-before",
        metavar="WHEN",
        type=_worded(typed.beginning),
        help="the beginning, that of the day for a date",
    )
    adds.add_argument(
        "--query",
        action="store_true",
        help="allow it in the URL, too, for clients that cannot send headers",
    )
    adds.add_argument(
        "--rate",
        type=_worded(typed.rate),
        help='the most requests it may make, such as "60/min, burst 20"; off for no limit',
    )
    adds.add_argument(
        "--note", metavar="TEXT", type=_worded(typed.note), help="a note for you to remember"
    )
    _define_for(adds)


def _define_for(makes: argparse.ArgumentParser) -> None:
    makes.add_argument(
        "--for",
        dest="client",
        metavar="CLIENT",
        type=_client,
        nargs="?",
        const="",  # is refused, with the names of all clients
        help=f"show the value in the snippet for this client: {', '.join(CLIENTS)}",
    )


def _define_rotate(rotates: argparse.ArgumentParser) -> None:
    rotates.add_argument("name", metavar="NAME", type=_worded(typed.name), help="the token")
    rotates.add_argument(
        "--overlap",
        metavar="SPAN",
        type=_worded(typed.span),
        default=typed.OVERLAP,
        help="how long the old values stay good, such as 12h; 7d by default, 0s for not at all",
    )
    rotates.add_argument(
        "--expires",
        metavar="WHEN",
        type=_worded(typed.end),
        help=f"the end of the new value: {WHEN}",
    )
    _define_for(rotates)


def _define_revoke(revokes: argparse.ArgumentParser) -> None:
    revokes.add_argument("name", metavar="NAME", type=_worded(typed.name), help="the token")
    revokes.add_argument(
        "--value",
        metavar="ID",
        type=_worded(typed.value_id),
        help="end only this value, by its id in `list`",
    )


def _define_doctor(looks: argparse.ArgumentParser) -> None:
    looks.add_argument(
        "url", metavar="URL", nargs="?", help="the MCP endpoint; without it, look at this machine"
    )
    looks.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with a token, or two, each on a line: the second tries the sessions of the first",
    )
    looks.add_argument(
        "--idle",
        metavar="SECONDS",
        type=_idle,
        default=20.0,
        help="how long to watch a silent stream; 20 by default, 0 for not at all",
    )
    looks.add_argument("--json", action="store_true", help="one JSON document, for programs")


def give_up_stdout() -> None:
    """Let nothing more be written to stdout, or Python complains at its end: «Note on SIGPIPE»."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Parsers of arguments: each raises ArgumentTypeError in words that do not repeat the argument.


def _worded(parse: Callable[[str], T]) -> Callable[[str], T]:
    """The same parser with ArgumentTypeError in the place of ValueError, whose own words argparse would not tell."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _client(text: str) -> str:
    if text not in CLIENTS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(CLIENTS)}")
    return text


def _idle(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) <= MAX_IDLE_SECONDS:
            return seconds
    raise argparse.ArgumentTypeError(f"must be a number of seconds, {MAX_IDLE_SECONDS} at most")
