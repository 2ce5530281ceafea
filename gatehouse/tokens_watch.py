"""Looks at the tokens file now and then, and puts what has changed in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from gatehouse.loggers import logger_of
from gatehouse.own_threads import OwnThreads
from gatehouse.tokens import TokensError, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gatehouse.tokens import Token

logger = logger_of("gate.tokens")

THREADS = OwnThreads("tokens file")

LOOK_SECONDS = 0.3
"""How often. A text that is the same at two looks is taken up, within a second; one that changes in between is
still being written, and half of it could mean more than the whole."""


async def watch_tokens(
    path: Path,
    tokens: tuple[Token, ...],
    replace: Callable[[tuple[Token, ...]], None],
    parse: Callable[[str], tuple[Token, ...]],
    asked: trio.MemoryReceiveChannel[None],
) -> None:
    """Call `replace` with the tokens of the file whenever they are others than before; never returns.

    `tokens` are those that were read at the start, and `parse` makes tokens of a text. A file that is faulty,
    unreadable, gone or quite empty (as it is while some programs save it) changes nothing, and each of its
    faults is logged once. The file is read, not asked for its date: it is small,
    and a date may stand still while an editor writes twice. Whoever sends to `asked` says that it is whole
    now: it is taken up at once, and its faults are told again.
    """
    before: str | TokensError | None = None
    judged = ""
    while True:
        with trio.move_on_after(LOOK_SECONDS) as rest:
            await asked.receive()
        # In a thread that may be left behind, because the disk may be one that hangs.
        now = await THREADS.run(text_or_fault, path)
        settled, before = str(now) == str(before), now
        if rest.cancelled_caught and (not settled or str(now) == judged):
            continue
        judged = str(now)
        try:
            if isinstance(now, TokensError):
                raise now
            if not now.strip():
                raise TokensError([f"{path}: is empty; to end all tokens, revoke each"])
            found = await THREADS.run(parse, now)
        except TokensError as error:
            for fault in error.faults:
                logger.error("the tokens in force stay as they are: %s", fault)
            continue
        if found != tokens:
            tokens = found
            replace(tokens)
            names = ", ".join(token.name for token in tokens) or "none"
            logger.info("the tokens file has changed; in force are: %s", names)


def text_or_fault(path: Path) -> str | TokensError:
    """What is in the file, or why that cannot be told."""
    try:
        return read_text(path)
    except TokensError as error:
        return error
