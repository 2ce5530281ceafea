"""Looks at the tokens file again and again, and puts changes in force.

`settling.py` decides when a changing text is whole, and which tokens are in force if it never stands still.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

from gatehouse.records.log_budget import LogBudget
from gatehouse.records.loggers import logger_of
from gatehouse.scheduling.own_threads import OwnThreads
from gatehouse.tokens.agreement import agreed, taken_apart
from gatehouse.tokens.contents import NOTHING
from gatehouse.tokens.file import MissingError, TokensError, as_text, read_data
from gatehouse.tokens.settling import UNREST_SECONDS, Settling, Sight

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gatehouse.tokens.contents import Contents

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logger_of("gate.tokens")

THREADS = OwnThreads("tokens file")

LOOK_SECONDS = 0.25
"""The time between looks while nothing changes."""

RESTLESS_SECONDS = 0.1
"""The rough time between looks from a change until the file is whole: a random factor keeps looks
out of step with the writer."""

SLOW_SECONDS = 5.0
"""A look that takes longer is logged: tokens revoked meanwhile stay good."""


EMPTY = "is empty; to end all tokens, revoke each"
"""In words: some programs empty a file while they save it, and nobody may lose a token by that."""


async def watch_tokens(
    path: Path,
    contents: Contents,
    replace: Callable[[Contents], None],
    parse: Callable[[str], Contents],
    asked: trio.MemoryReceiveChannel[None],
    *,
    may_be_missing: bool = False,
) -> None:
    """Call `replace` with the contents of the file whenever they change; never returns.

    `contents` are those read at the start, and `parse` makes them of a text. A file that is faulty,
    unreadable, gone or quite empty (as it is while some programs save it) changes nothing, and each of its
    faults is logged once. A message to `asked` says that the file is whole now: it takes effect at once, and
    its faults are logged again. With `may_be_missing`, nothing is said of a file that is still to be made.
    """
    await Watcher(path, contents, replace, parse, may_be_missing=may_be_missing).run(asked)


class Watcher:
    """Looks at one file, and keeps the contents that are in force."""

    def __init__(
        self,
        path: Path,
        contents: Contents,
        replace: Callable[[Contents], None],
        parse: Callable[[str], Contents],
        *,
        may_be_missing: bool = False,
    ) -> None:
        self._may_be_missing = may_be_missing and contents == NOTHING
        self._path = path
        self._contents = contents
        self._replace = replace
        self._parse = parse
        self._settling = Settling()
        self._sight: Sight | None = None
        self._told: tuple[str, ...] = ()
        self._budget = LogBudget(logger)

    async def run(self, asked: trio.MemoryReceiveChannel[None]) -> None:
        """Look again and again; never returns."""
        took = 0.0
        while True:
            # Reading a large file takes the interpreter: half of the time at the most.
            was_asked = await self._rest(max(took, self._pause), asked)
            began = trio.current_time()
            sight = await self._patiently(look, self._path, self._parse, self._sight)
            took = trio.current_time() - began
            if sight is None:
                continue
            self._sight = sight
            self._may_be_missing &= sight.missing
            if self._may_be_missing:
                continue
            # The time counts from the reading, though parsing may have taken long.
            if self._settling.see(sight, began) or was_asked:
                self._settling.rest(sight)
                self._take(sight, again=was_asked)
            else:
                await self._bear_unrest(sight, began)

    @property
    def _pause(self) -> float:
        restless = self._settling.restless_since <= trio.current_time()
        return RESTLESS_SECONDS * random.uniform(0.5, 1.5) if restless else LOOK_SECONDS  # noqa: S311

    @staticmethod
    async def _rest(seconds: float, asked: trio.MemoryReceiveChannel[None]) -> bool:
        """Wait for so many seconds, or until a look is asked for: then True."""
        with trio.move_on_after(seconds):
            await asked.receive()
            return True
        return False

    def _take(self, sight: Sight, *, again: bool) -> None:
        """Put a whole text in force, or log its faults: with `again` even those already logged."""
        if sight.parts is None:
            if again or sight.faults != self._told:
                for fault in sight.faults:
                    logger.error("the tokens in force stay as they are: %s", fault)
            self._told = sight.faults
        else:
            if self._told and sight.contents == self._contents:
                logger.info(
                    "the tokens file is in order again; the tokens in force stay as they are"
                )
            self._told = ()
            self._put(sight.contents)

    def _put(self, contents: Contents) -> None:
        if contents != self._contents:
            self._contents = contents
            self._replace(contents)
            names = ", ".join(token.name for token in contents.tokens) or "none"
            more = contents.beside_tokens
            logger.info(
                "the tokens file has changed; tokens in force: %s",
                f"{names}; {more}" if more else names,
            )

    async def _bear_unrest(self, sight: Sight, now: float) -> None:
        """Put in force the values that the texts of a changing file agree on."""
        texts, trusted = self._settling.texts(now)
        if texts:
            self._budget.warning(
                "unrest",
                "the tokens file has changed for %g seconds without rest; until it stands still, "
                "only changes that all its texts agree on take effect",
                UNREST_SECONDS,
                lines=1,
            )
            found = await self._patiently(agreed, self._contents, texts, trusted)
            if found is not None:
                self._put(found)
        elif now - self._settling.restless_since >= UNREST_SECONDS:
            self._budget.error(
                "unusable",
                "the tokens in force stay as they are: the file has changed for %g seconds without rest, "
                "and is not whole: %s",
                UNREST_SECONDS,
                *(sight.faults[:1] or ("it is still being written",)),
                lines=1,
            )

    async def _patiently(self, function: Callable[[*Ts], T], *args: *Ts) -> T | None:
        """Call the function in a thread that may be left behind, since the disk may hang; return its result.

        None if no thread could be had; that and slowness are logged.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_if_slow)
            try:
                return await THREADS.run(function, *args)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may go well
                self._budget.error(
                    "no look",
                    "the tokens file cannot be read now, so the tokens in force stay as they are: %s",
                    type(error).__name__,
                    lines=1,
                )
                return None
            finally:
                nursery.cancel_scope.cancel()

    async def _tell_if_slow(self) -> None:
        await trio.sleep(SLOW_SECONDS)
        self._budget.error(
            "slow",
            "reading the tokens file takes longer than %g seconds; the tokens in force stay as they are",
            SLOW_SECONDS,
            lines=1,
        )


def look(path: Path, parse: Callable[[str], Contents], last: Sight | None) -> Sight:
    """A look at the file now. The text that `last` has is not parsed again."""
    try:
        data, stamp = read_data(path)
    except TokensError as error:
        missing = isinstance(error, MissingError)
        return Sight(b"", (), faults=tuple(error.faults), missing=missing)
    if last is not None and last.stamp and data == last.data:
        return last if stamp == last.stamp else replace(last, stamp=stamp)
    try:
        text = as_text(path, data)
        if not text.strip():
            raise TokensError(f"{path}: {EMPTY}")
        contents = parse(text)
    except TokensError as error:
        return Sight(data, stamp, faults=tuple(error.faults))
    return Sight(data, stamp, contents, parts=taken_apart(contents))
