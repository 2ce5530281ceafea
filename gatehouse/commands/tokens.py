"""`python run.py tokens`: make, list, rotate and revoke named tokens.

A value is shown once, when it is made, alone on stdout or in the snippet for a client; all explanation goes to stderr. Exit status: 0; 1 if
there is nothing to change, or no stdout to write to; 2 if the settings, the tokens file or the arguments
cannot be used; 130 after Ctrl+C.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.commands.for_clients import NAMES, Clients, WrongClientError
from gatehouse.commands.parser import give_up_stdout
from gatehouse.commands.token_table import as_json, as_table, hints
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import by_kind
from gatehouse.settings.notes import read_notes
from gatehouse.tokens import issue
from gatehouse.tokens.editor import NotChangedError
from gatehouse.tokens.file import TokensError
from gatehouse.tokens.last_use import LastUse, read_last_use
from gatehouse.tokens.reader import load_contents, load_tokens
from gatehouse.tokens.token import HEADER_ONLY, KINDS, Token
from gatehouse.tokens.words import KEEP, about_old_values, about_use

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from gatehouse.http.mcp import Kind
    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.issue import Issued

STOPPED = 130
"""A shell's status for a program that Ctrl+C has ended."""

NO_FILE = "TOKENS_FILE: is not set; put TOKENS_FILE=tokens.toml into .env, or into the environment"


ABOUT_VALUES = (
    "A client sends it as  Authorization: Bearer VALUE  or as  X-API-Key: VALUE",
    f"With --for CLIENT a value comes in the snippet for that client: {NAMES}",
)


class NotShownError(Exception):
    """A new value could not be written to stdout, and nobody knows it."""


def tokens_command(options: argparse.Namespace, settings: Settings) -> int:
    """Do the command that `parser` has read after `tokens`; returns the exit status."""
    if settings.tokens_at is None:
        return _refuse(NO_FILE, *read_notes(settings)[1], status=2)  # perhaps one says why
    if not sys.stdout:  # closed before the start; a value would go nowhere
        return _refuse("stdout: is closed, and there is no other place to show anything", status=1)
    try:
        _run(options, settings.tokens_at, settings.state_db, Clients(settings))
    except TokensError as error:
        return _refuse(*error.faults, status=2)
    except issue.WrongTimeError as error:
        return _refuse(f"--{error.key.replace('_', '-')}: {error.words}", status=2)
    except WrongClientError as error:
        return _refuse(f"--for {options.client}: {error}", status=2)
    except (NotChangedError, NotShownError) as error:
        return _refuse(str(error), status=1)
    except OSError:  # of stdout or stderr: a closed pipe, a full disk
        give_up_stdout()
        return 1
    except KeyboardInterrupt:
        return STOPPED
    return 0


def _run(options: argparse.Namespace, path: Path, state_db: Path | None, clients: Clients) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    match options.action:
        case "add":
            _add(options, path, now, clients)
        case "rotate":
            _rotate(options, path, now, clients)
        case "revoke":
            _revoke(options, path)
        case _:
            _list(options, path, state_db, now)


def _add(options: argparse.Namespace, path: Path, now: datetime, clients: Clients) -> None:
    globs: dict[Kind, list[str] | None] = {kind: getattr(options, kind) for kind in KINDS}
    token = Token(
        name=options.name,
        values=(),
        grants=by_kind(
            {kind: None if listed is None else tuple(listed) for kind, listed in globs.items()}
        ),
        rate=options.rate,
        lanes=LANES if options.query else HEADER_ONLY,
        note=options.note or "",
    )
    clients.judge(options.client, token)
    issued = issue.make(path, token, now, not_before=options.not_before, expires=options.expires)
    about = [f"{token.name}: is in {path} now.", *about_use(token)]
    _show(issued, about, options.client, clients)


def _rotate(options: argparse.Namespace, path: Path, now: datetime, clients: Clients) -> None:
    for token in load_tokens(path):
        if token.name == options.name:
            clients.judge(options.client, token)
    issued = issue.rotate(path, options.name, now, overlap=options.overlap, expires=options.expires)
    lines = [f"{options.name}: has a new value in {path} now."]
    lines += about_old_values(issued.token, now)
    _show(issued, lines, options.client, clients)


def _show(issued: Issued, about: Iterable[str], client: str | None, clients: Clients) -> None:
    """Show a value, now and never again: alone on stdout, so that `$(...)` gets only the value, or in a snippet."""
    use = clients.remarks() if client else ABOUT_VALUES
    with suppress(OSError):  # the value matters more than the words about it
        _say(
            *about,
            KEEP,
            *use,
        )
    shown = clients.snippet(client, issued.value) if client else issued.value
    try:
        print(shown, flush=True)  # noqa: T201
    except OSError:
        give_up_stdout()
        name = issued.token.name
        raise NotShownError(
            f"{name}: the value could not be shown, and is lost; this makes another one: "
            f"{advice.rotate_token(name)}"
        ) from None


def _revoke(options: argparse.Namespace, path: Path) -> None:
    issue.revoke(path, options.name, options.value or "")
    which = f"the value {options.value}" if options.value else "the token"
    _say(f"{options.name}: {which} is revoked; a running gate refuses it within a second.")


def _list(options: argparse.Namespace, path: Path, state_db: Path | None, now: datetime) -> None:
    contents = load_contents(path)
    tokens = contents.tokens
    last_use = read_last_use(state_db) if state_db else LastUse()
    if last_use.fault:
        _say(last_use.fault)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A note may hold characters that the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(as_json(tokens, last_use, now), flush=True)  # noqa: T201
    elif tokens:
        lines = [as_table(tokens, last_use, now), "", *hints(tokens, last_use, now)]
        print("\n".join(lines).rstrip(), flush=True)  # noqa: T201
    else:
        _say(f"{path}: has no tokens; this makes one: {advice.add_token()}")
    if contents.beside_tokens and not options.json:
        _say(
            f"{path}: has others beside tokens, which you change by hand: {contents.beside_tokens}"
        )
    number, latest = last_use.others
    if number and not options.json:
        when = datetime.fromtimestamp(latest, UTC)
        _say(
            f"{state_db}: people and apps that came in: {number}, the last of them at {when:%Y-%m-%dT%H:%M:%SZ}"
        )


def _say(*lines: str) -> None:
    if not sys.stderr:  # closed before the start; `print` would take stdout instead
        return
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201


def _refuse(*lines: str, status: int) -> int:
    with suppress(OSError):
        _say(*lines)
    return status
