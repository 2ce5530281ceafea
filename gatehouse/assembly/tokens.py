"""Settings to parts: the tokens file, while the program runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.identity.state_file import OPEN_MODE, PRIVATE_MODE
from gatehouse.settings.issuers import open_issuer
from gatehouse.tokens.clashes import parse_without_clashes
from gatehouse.tokens.contents import NOTHING
from gatehouse.tokens.file import MissingError, TokensError, read_text
from gatehouse.tokens.last_use import keep_last_use
from gatehouse.tokens.watch import watch_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    import trio

    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.contents import Contents


def tokens_tasks(
    settings: Settings,
    uses: Callable[[], Mapping[bytes, float]],
    contents: Contents,
    replace: Callable[[Contents], None],
    asked: trio.MemoryReceiveChannel[None],
) -> list[Callable[[], Awaitable[None]]]:
    """Functions for tasks that follow the tokens file, if there is one, and write down what `uses` tells.

    They call `replace` with the contents of a changed file; `contents` are those of the start. A message to `asked` has
    the file read now.
    """
    tasks: list[Callable[[], Awaitable[None]]] = []
    if file := settings.tokens_at:
        parse, is_default = parser_of(settings, file), settings.tokens_file is None
        tasks.append(
            partial(watch_tokens, file, contents, replace, parse, asked, may_be_missing=is_default)
        )
    if settings.has_principals and settings.state_db is not None:
        tasks.append(partial(keep_last_use, settings.state_db, uses, state_mode(settings)))
    return tasks


def state_mode(settings: Settings) -> int:
    """The mode of the file of STATE_DB if it is made new: names of people, which a dashboard needs, are private."""
    return PRIVATE_MODE if settings.has_dashboard else OPEN_MODE


def first_contents(settings: Settings, shared_token: str) -> Contents:
    """All that the tokens file says at the start; nothing if there is none.

    Raises TokensError, also if nobody at all could come in, or anybody.
    """
    file = settings.tokens_at
    try:
        contents = parser_of(settings, file)(read_text(file)) if file else NOTHING
    except MissingError:
        if settings.tokens_file is not None:
            raise
        contents = NOTHING  # the dashboard makes it
    others_come = settings.has_other_ways_in or settings.has_dashboard  # which makes tokens
    if not shared_token and not contents.tokens and not others_come:
        raise TokensError(f"TOKENS_FILE: {file} has no tokens; make one with: {advice.add_token()}")
    by_sign_in = settings.lets_apps_in and settings.sign_in_key_material
    if settings.shared_state_url and not (shared_token or contents.tokens or by_sign_in):
        raise TokensError(
            "SHARED_STATE_URL: gates trust what they share by the static tokens that they have in common, and this one "
            "has none; set the same MCP_AUTH_TOKEN on all of them"
        )
    if settings.open_issuers and not settings.people and not contents.people:
        raise TokensError(*map(open_issuer, settings.open_issuers))
    return contents


def parser_of(settings: Settings, file: Path) -> Callable[[str], Contents]:
    """Makes contents of the text of the tokens file. Raises TokensError."""
    names = ("mcp_auth_token", "metrics_token", "sign_in_secret")
    others = {name.upper(): getattr(settings, name) for name in names}
    return partial(parse_without_clashes, others, settings.untold, str(file))
