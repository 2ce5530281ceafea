"""The command line: `python run.py` serves, `python run.py tokens ...` makes and ends named tokens.

A value is shown once, when it is made, alone on stdout; all explanation goes to stderr. No refusal
repeats an argument that may be a value. Exit status: 0; 1 if there is nothing to change, or no stdout to
write to; 2 if the settings, the tokens file or the arguments cannot be used; 130 after Ctrl+C.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from gatehouse.commands.durations import parse_duration
from gatehouse.commands.token_table import as_json, as_table, has_expired, hints, rights, validity
from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.identity.rate import parse_rate
from gatehouse.records.redact import MASK
from gatehouse.tokens.reader import (
    HEADER_ONLY,
    KINDS,
    VALUE_PATTERN,
    Token,
    TokensError,
    TokenValue,
    check_name,
    digest_of,
    load_tokens,
    make_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


STOPPED = 130  # a shell's status for a program that Ctrl+C has ended

ABOUT = """\
The gate: an authenticating reverse proxy in front of an MCP server. Without a command it serves, until
Ctrl+C; the settings come from the environment or from a file called .env in the current folder.
README.md is the first page, docs/settings.md has a table of them, .env.example one line for each.
"""
EXAMPLES = """\
examples:
  python run.py                                   serve
  HOST=0.0.0.0 PORT=8080 python run.py            the same, with settings from the environment
  python run.py tokens add alice                  make a token for Alice, and show its value once
  python run.py tokens --help                     what else can be done with tokens
"""
ABOUT_TOKENS = """\
Named tokens, one for each person or program: each can have its own rights, and can be ended alone. They
stand in the file that the setting TOKENS_FILE names, as digests, never in clear. A running gate takes up
a change of the file within a second, made here or by hand.
"""
TOKENS_EXAMPLES = """\
examples:
  python run.py tokens add alice --note "Alice's laptop" --expires 90d
  python run.py tokens add ci --tools "list_*,get_item" --rate "60/min, burst 20"
  python run.py tokens list
  python run.py tokens rotate alice --overlap 2d  a new value; the old one is good for two days more
  python run.py tokens revoke alice
"""
NO_FILE = "TOKENS_FILE: is not set; put TOKENS_FILE=tokens.toml into .env, or into the environment"
WHEN = "a span from now, such as 12h, 30d or 2w, or a date and time such as 2026-11-24T12:00:00Z"


class UsageError(Exception):
    """Some arguments do not go together; the text says which."""


class NotShownError(Exception):
    """A new value could not be written to stdout, and nobody knows it."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints repeat no value of a token."""

    def error(self, message: str) -> NoReturn:
        super().error(VALUE_PATTERN.sub(MASK, message))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        try:
            if sys.stdout:
                sys.stdout.flush()
        except OSError:
            _give_up_stdout()
        super().exit(status, message)


def parser() -> Parser:
    """The parser for the whole command line. `command` is None (serve) or "tokens"."""
    layout = argparse.RawDescriptionHelpFormatter
    whole = Parser(prog="python run.py", description=ABOUT, epilog=EXAMPLES, formatter_class=layout)
    commands = whole.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    tokens = commands.add_parser(
        "tokens",
        help="make, show, rotate and revoke named tokens",
        description=ABOUT_TOKENS,
        epilog=TOKENS_EXAMPLES,
        formatter_class=layout,
    )
    actions = tokens.add_subparsers(
        title="commands", dest="action", metavar="COMMAND", required=True
    )
    _define_add(actions.add_parser("add", help="make a token, and show its value once"))

    shows = actions.add_parser("list", help="show all tokens, and which values can go")
    shows.add_argument("--json", action="store_true", help="for programs")

    rotates = actions.add_parser(
        "rotate", help="give a token a new value; the old one is good for a while yet"
    )
    rotates.add_argument("name", metavar="NAME", type=_name)
    rotates.add_argument(
        "--overlap",
        metavar="SPAN",
        type=_span,
        default=timedelta(days=7),
        help="how long the old values are good for, such as 12h; 7d by default; 0s: no longer",
    )
    rotates.add_argument(
        "--expires", metavar="WHEN", type=_when, help=f"when the new value ends: {WHEN}"
    )

    revokes = actions.add_parser("revoke", help="end a token, or one value of it, at once")
    revokes.add_argument("name", metavar="NAME", type=_name)
    revokes.add_argument(
        "--value",
        metavar="ID",
        type=_value_id,
        help="only this value, as `list` has it",
    )
    return whole


def _define_add(adds: argparse.ArgumentParser) -> None:
    adds.add_argument("name", metavar="NAME", type=_name, help="who or what it is for")
    wanted = {
        "tools": "only these tools, as globs with commas between; may be given several times",
        "resources": "only these resources, by URI",
        "prompts": "only these prompts; with none of the three, everything, else only what is named",
    }
    for kind, words in wanted.items():
        adds.add_argument(f"--{kind}", metavar="GLOBS", type=_globs, action="extend", help=words)
    adds.add_argument("--expires", metavar="WHEN", type=_when, help=f"when it ends: {WHEN}")
    adds.add_argument("--not-before", metavar="WHEN", type=_when, help="when it begins")
    adds.add_argument(
        "--query",
        action="store_true",
        help="it may come in the URL, too, for clients that cannot send headers",
    )
    adds.add_argument(
        "--rate",
        type=_rate,
        help='so many requests at most, such as "60/min, burst 20"',
    )
    adds.add_argument("--note", metavar="TEXT", type=_text, help="for you to remember")


def tokens_command(
    options: argparse.Namespace, tokens_file: Path | None, state_db: Path | None
) -> int:
    """Do the command that `parser` has read after `tokens`; returns the exit status.

    `tokens_file` and `state_db` are the settings TOKENS_FILE and STATE_DB, None if they are not set.
    """
    if tokens_file is None:
        return _refuse(NO_FILE, status=2)
    if not sys.stdout:  # closed before the start; a value would go nowhere
        return _refuse("stdout: is closed, and there is no other place to show anything", status=1)
    from gatehouse.tokens.editor import NotChangedError  # late: serving needs no tomlkit

    try:
        _run(options, tokens_file, state_db)
    except TokensError as error:
        return _refuse(*error.faults, status=2)
    except UsageError as error:
        return _refuse(str(error), status=2)
    except (NotChangedError, NotShownError) as error:
        return _refuse(str(error), status=1)
    except OSError:  # of stdout or stderr: a closed pipe, a full disk
        _give_up_stdout()
        return 1
    except KeyboardInterrupt:
        return STOPPED
    return 0


def _run(options: argparse.Namespace, path: Path, state_db: Path | None) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    match options.action:
        case "add":
            _add(options, path, now)
        case "rotate":
            _rotate(options, path, now)
        case "revoke":
            _revoke(options, path)
        case _:
            _list(options, path, state_db, now)


def _add(options: argparse.Namespace, path: Path, now: datetime) -> None:
    from gatehouse.tokens.editor import add

    begins = _moment("--not-before", options.not_before, now)
    ends = _moment("--expires", options.expires, now)
    if ends and ends <= max(begins or now, now):
        raise UsageError("--expires: lies in the past, or before --not-before")
    value = make_value()
    token = Token(
        name=options.name,
        values=(TokenValue(digest_of(value), created=now, not_before=begins, expires=ends),),
        grants=Grants(**{kind: _tuple(getattr(options, kind)) for kind in KINDS}),
        rate=options.rate or "",
        lanes=LANES if options.query else HEADER_ONLY,
        note=options.note or "",
    )
    add(path, token)
    _show(value, token, [f"{token.name}: is in {path} now.", *_about_use(token)])


def _about_use(token: Token) -> Iterator[str]:
    if "query" in token.lanes:
        yield (
            "It may also come in the URL, as ?key=VALUE. URLs show up in logs, so do that only with a "
            "client that cannot send headers."
        )
    if token.grants.restricted:
        named = [kind for kind in KINDS if getattr(token.grants, kind) is not None]
        others = " and ".join(kind for kind in KINDS if kind not in named)
        yield f"It is for {rights(token.grants)}" + (
            f"; {others} are refused altogether, because nothing grants any." if others else "."
        )


def _rotate(options: argparse.Namespace, path: Path, now: datetime) -> None:
    from gatehouse.tokens.editor import rotate

    value = make_value()
    ends = _moment("--expires", options.expires, now)
    if ends and ends <= now:
        raise UsageError("--expires: lies in the past")
    fresh = TokenValue(digest_of(value), created=now, expires=ends)
    overlap_ends = _after("--overlap", options.overlap, now)
    token = rotate(path, options.name, fresh, now=now, end=overlap_ends)
    lines = [f"{token.name}: has a new value in {path} now."]
    for old in token.values[:-1]:
        end = "is not valid any more" if has_expired(old, now) else validity(old, now)
        lines.append(f"The old value {old.id} {end}.")
    _show(value, token, lines)


def _show(value: str, token: Token, about: Iterable[str]) -> None:
    """Show a value, now and never again: alone on stdout, so that `$(...)` gets only the value."""
    with suppress(OSError):  # the value matters more than the words about it
        _say(
            *about,
            "Below is the value: keep it. It is not stored anywhere, and is not shown again.",
            "A client sends it as  Authorization: Bearer VALUE  or as  X-API-Key: VALUE",
        )
    try:
        print(value, flush=True)  # noqa: T201
    except OSError:
        _give_up_stdout()
        raise NotShownError(
            f"{token.name}: the value could not be shown, and is lost; this makes another one: "
            f"python run.py tokens rotate {token.name}"
        ) from None


def _revoke(options: argparse.Namespace, path: Path) -> None:
    from gatehouse.tokens.editor import revoke

    revoke(path, options.name, options.value or "")
    which = f"the value {options.value}" if options.value else "the token"
    _say(f"{options.name}: {which} is revoked; a running gate refuses it within a second.")


def _list(options: argparse.Namespace, path: Path, state_db: Path | None, now: datetime) -> None:
    from gatehouse.tokens.last_use import read_last_use

    tokens = load_tokens(path)
    last_use = read_last_use(state_db) if state_db else {}
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a note may hold characters that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(as_json(tokens, last_use, now), flush=True)  # noqa: T201
    elif tokens:
        lines = [as_table(tokens, last_use, now), "", *hints(tokens, last_use, now)]
        print("\n".join(lines).rstrip(), flush=True)  # noqa: T201
    else:
        _say(f"{path}: has no tokens; this makes one: python run.py tokens add NAME")


# Parsers of arguments: each raises ArgumentTypeError in words that do not repeat the argument.


def _name(text: str) -> str:
    try:
        check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _text(text: str) -> str:
    if not text.isprintable():
        raise argparse.ArgumentTypeError("may hold printable characters only")
    if VALUE_PATTERN.search(text):
        raise argparse.ArgumentTypeError("holds the value of a token, which is for nobody to read")
    return text


def _globs(text: str) -> list[str]:
    return [glob for part in _text(text).split(",") if (glob := part.strip())]


def _rate(text: str) -> str:
    try:
        parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _span(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _when(text: str) -> timedelta | datetime:
    with suppress(ValueError):
        return parse_duration(text)
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC).replace(microsecond=0)
    raise argparse.ArgumentTypeError(f"must be {WHEN}")


def _value_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8,64}", text):
        raise argparse.ArgumentTypeError(
            "must be the id of a value, 8 hex digits, as `list` has it"
        )
    return text


def _moment(option: str, when: timedelta | datetime | None, now: datetime) -> datetime | None:
    return _after(option, when, now) if isinstance(when, timedelta) else when


def _after(option: str, span: timedelta, now: datetime) -> datetime:
    try:
        return now + span
    except OverflowError:
        raise UsageError(f"{option}: is too far away") from None


def _tuple(globs: list[str] | None) -> tuple[str, ...] | None:
    return None if globs is None else tuple(globs)


def _say(*lines: str) -> None:
    if not sys.stderr:  # closed before the start; `print` would take stdout instead
        return
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201


def _refuse(*lines: str, status: int) -> int:
    with suppress(OSError):
        _say(*lines)
    return status


def _give_up_stdout() -> None:
    """Let nothing more be written to stdout, or Python complains at its end: «Note on SIGPIPE»."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
