"""The command line: `python run.py` serves, `python run.py tokens ...` makes and ends named tokens.

A value is shown once, when it is made, alone on stdout; all explanation goes to stderr. What this refuses
never repeats an argument that may be a value. Exit status: 0; 1 if there is nothing to change, or nobody
to tell; 2 if the settings, the tokens file or the arguments cannot be used; 130 after Ctrl+C.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from gatehouse.durations import in_words, parse_duration
from gatehouse.grants import Grants
from gatehouse.logs import MASK
from gatehouse.rates import parse_rate
from gatehouse.tokens import (
    HEADER_ONLY,
    KINDS,
    LANES,
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
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from gatehouse.grants import Kind

UNUSED = timedelta(days=7)
"""After so long without use, an old value is taken to be in no client any more."""

STOPPED = 130  # what a shell says of a program that Ctrl+C has ended

ABOUT = """\
The gate: an authenticating reverse proxy in front of an MCP server. Without a command it serves, until
Ctrl+C; the settings come from the environment or from a file called .env in the current folder.
README.md has a table of them, .env.example one line for each.
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
    """The arguments do not go together; the text says which."""


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
        help="how long the old values are good for, such as 12h or 7d (the default); 0s: no longer",
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
        help="it may come in the URL, too, for clients that can send no header",
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
    """Do what `parser` has read after `tokens`; returns the exit status.

    `tokens_file` and `state_db` are the settings TOKENS_FILE and STATE_DB, None if they are not set.
    """
    if tokens_file is None:
        return _refuse(NO_FILE, status=2)
    if not sys.stdout:  # closed by whoever started this; a value would go nowhere
        return _refuse("stdout: is closed, and there is no other place to show anything", status=1)
    from gatehouse.token_file import NotChangedError  # late: serving needs no tomlkit

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
    from gatehouse.token_file import add

    begins = _moment("--not-before", options.not_before, now)
    ends = _moment("--expires", options.expires, now)
    if ends and ends <= max(begins or now, now):
        raise UsageError("--expires: is over before it begins")
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
            "client that can send no header."
        )
    if token.grants.restricted:
        named = [kind for kind in KINDS if getattr(token.grants, kind) is not None]
        others = " and ".join(kind for kind in KINDS if kind not in named)
        yield f"It is for {_rights(token.grants)}" + (
            f"; {others} are refused altogether, because nothing grants any." if others else "."
        )


def _rotate(options: argparse.Namespace, path: Path, now: datetime) -> None:
    from gatehouse.token_file import rotate

    value = make_value()
    ends = _moment("--expires", options.expires, now)
    if ends and ends <= now:
        raise UsageError("--expires: is over before it begins")
    fresh = TokenValue(digest_of(value), created=now, expires=ends)
    overlap_ends = _after("--overlap", options.overlap, now)
    token = rotate(path, options.name, fresh, now=now, end=overlap_ends)
    lines = [f"{token.name}: has a new value in {path} now."]
    for old in token.values[:-1]:
        end = "is not valid any more" if _has_expired(old, now) else _validity(old, now)
        lines.append(f"The old value {old.id} {end}.")
    _show(value, token, lines)


def _show(value: str, token: Token, about: Iterable[str]) -> None:
    """Show a value, now and never again: alone on stdout, so that `$(...)` has it, and nothing else."""
    with suppress(OSError):  # the value matters more than what is said about it
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
    from gatehouse.token_file import revoke

    revoke(path, options.name, options.value or "")
    which = f"the value {options.value}" if options.value else "the token"
    _say(f"{options.name}: {which} is revoked; a running gate refuses it within a second.")


def _list(options: argparse.Namespace, path: Path, state_db: Path | None, now: datetime) -> None:
    from gatehouse.last_use import read_last_use

    tokens = load_tokens(path)
    last_use = read_last_use(state_db) if state_db else {}
    if isinstance(sys.stdout, io.TextIOWrapper):  # a note may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.json:
        print(as_json(tokens, last_use, now), flush=True)  # noqa: T201
    elif tokens:
        lines = [as_table(tokens, last_use, now), "", *hints(tokens, last_use, now)]
        print("\n".join(lines).rstrip(), flush=True)  # noqa: T201
    else:
        _say(f"{path}: has no tokens; this makes one: python run.py tokens add NAME")


# What a list shows. `last_use` has Unix times by digest; where it is empty, nothing is known. A note is
# not printed as it stands in the file: it could move the cursor.

COLUMNS = ("NAME", "VALUE", "AGE", "VALID", "LAST USE", "LANES", "FOR", "RATE", "NOTE")


def as_table(tokens: Iterable[Token], last_use: Mapping[bytes, float], now: datetime) -> str:
    """A line for each value, under a line of titles; what is the token's own is only in its first."""
    rows = [COLUMNS]
    for token in tokens:
        of_token = (
            ", ".join(sorted(token.lanes)),
            _rights(token.grants),
            token.rate or "none",
            token.note,
        )
        for value in token.values:
            age = in_words((now - value.created).total_seconds()) if value.created else "unknown"
            of_value = (value.id, age, _validity(value, now), _last_use(value, last_use, now))
            rows.append((token.name, *of_value, *of_token))
            of_token = ("", "", "", "")
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def hints(tokens: Iterable[Token], last_use: Mapping[bytes, float], now: datetime) -> Iterator[str]:
    """A sentence for each value that can go, with the command for it."""
    for token in tokens:
        revoke = f"python run.py tokens revoke {token.name}"
        if all(_has_expired(value, now) for value in token.values):
            rotate = f"python run.py tokens rotate {token.name}"
            yield f"{token.name}: has expired; renew it: {rotate} or drop it: {revoke}"
            continue
        for value in token.values:
            if _has_expired(value, now):
                words = f"value {value.id} {_validity(value, now)}"
            elif _is_left_behind(value, token, last_use, now):
                used = last_use.get(value.digest)
                unused = "never used" if used is None else f"unused for {_since(used, now)}"
                words = f"old value {value.id} {unused}"
            else:
                continue
            yield f"{token.name}: {words}, safe to drop: {revoke} --value {value.id}"


def _is_left_behind(
    value: TokenValue, token: Token, last_use: Mapping[bytes, float], now: datetime
) -> bool:
    """Whether a newer value is in use instead of this one, and has been for long enough to tell."""
    from gatehouse.last_use import BEGAN

    used = last_use.get(value.digest)
    since = used
    if used is None and value.created and BEGAN in last_use:
        since = max(value.created.timestamp(), last_use[BEGAN])
    if since is None or now.timestamp() - since < UNUSED.total_seconds():
        return False
    return any(
        newer.created is not None
        and (value.created is None or newer.created > value.created)
        and last_use.get(newer.digest, 0.0) > (used or 0.0)
        for newer in token.values
        if newer is not value
    )


def as_json(tokens: Iterable[Token], last_use: Mapping[bytes, float], now: datetime) -> str:
    """The same for programs: times as ISO 8601 in UTC, null where there is none.

    `last_use` may also be "never" or "unknown"; null for `tools` and the like is everything.
    """
    tokens = tuple(tokens)
    listed: list[dict[str, Any]] = [
        {
            "name": token.name,
            "note": token.note,
            "lanes": sorted(token.lanes),
            "rate": token.rate or None,
            **{kind: _granted(token.grants, kind) for kind in KINDS},
            "values": [_value_for_json(value, last_use, now) for value in token.values],
        }
        for token in tokens
    ]
    return json.dumps({"tokens": listed, "hints": [*hints(tokens, last_use, now)]}, indent=2)


def _value_for_json(
    value: TokenValue, last_use: Mapping[bytes, float], now: datetime
) -> dict[str, Any]:
    used = last_use.get(value.digest)
    return {
        "id": value.id,
        "valid": value.valid_at(now.timestamp()),
        **{key: _iso(getattr(value, key)) for key in ("created", "not_before", "expires")},
        "last_use": _last_use(value, last_use, now)
        if used is None
        else _iso(datetime.fromtimestamp(used, UTC)),
    }


def _granted(grants: Grants, kind: Kind) -> list[str] | None:
    """The globs of a kind; None is everything."""
    return list(getattr(grants, kind) or ()) if grants.restricted else None


def _iso(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _rights(grants: Grants) -> str:
    if not grants.restricted:
        return "everything"
    granted = [f"{kind} {', '.join(globs)}" for kind in KINDS if (globs := getattr(grants, kind))]
    return "; ".join(granted) or "nothing"


def _has_expired(value: TokenValue, now: datetime) -> bool:
    return value.expires is not None and value.expires <= now


def _validity(value: TokenValue, now: datetime) -> str:
    words = []
    if value.not_before and value.not_before > now:
        words.append(f"begins in {in_words((value.not_before - now).total_seconds())}")
    if value.expires is None:
        words.append("does not expire")
    elif value.expires > now:
        words.append(f"expires in {in_words((value.expires - now).total_seconds())}")
    else:
        words.append(f"expired {in_words((now - value.expires).total_seconds())} ago")
    return ", ".join(words)


def _last_use(value: TokenValue, last_use: Mapping[bytes, float], now: datetime) -> str:
    from gatehouse.last_use import BEGAN

    used = last_use.get(value.digest)
    if used is not None:
        return f"{_since(used, now)} ago"
    older = value.created is not None and value.created.timestamp() < last_use.get(BEGAN, 0.0)
    return "unknown" if older or not last_use else "never"


def _since(moment: float, now: datetime) -> str:
    return in_words(now.timestamp() - moment)


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


# What an argument stands for: each raises ArgumentTypeError in words that do not repeat it.


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
    if not sys.stderr:  # closed by whoever started this; `print` would take stdout instead
        return
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201


def _refuse(*lines: str, status: int) -> int:
    with suppress(OSError):
        _say(*lines)
    return status


def _give_up_stdout() -> None:
    """Let nothing more be written there, or Python complains at its end: «Note on SIGPIPE»."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
