"""The tokens file as the page of tokens has it: looked at, and changed, in threads with a bound, since its disk may hang.

A change runs to its end even if nobody waits for it any more, and says itself in the log how it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

from gatehouse.scheduling.own_threads import OwnThreads
from gatehouse.tokens.contents import NOTHING, Contents
from gatehouse.tokens.editor import expect_to_change
from gatehouse.tokens.file import MissingError, TokensError, read_text
from gatehouse.tokens.last_use import LastUse, read_last_use
from gatehouse.tokens.places import is_mounted
from gatehouse.tokens.watch import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

THREADS = OwnThreads("page of tokens")

RECORD_THREADS = OwnThreads("record for the page of tokens")
"""Of their own: the page does without last uses, and must not wait for them."""

MAX_SECONDS = 5.0
"""How long somebody waits for the disk, for others who change the file, and for a large one to be understood: then they
are told to look again."""

MAX_RECORD_SECONDS = 1.0
"""How long they wait for the last uses, which only say what can go."""


class StalledError(Exception):
    """The disk, others who change the file, or its size, have taken too long, as the text says. A change may still be made."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The file at one moment, and what can be done with it."""

    contents: Contents
    """All that it says; if it cannot be used, the contents that are in force."""
    faults: tuple[str, ...] = ()
    """Sentences about why it cannot be used."""
    missing: bool = False
    """True if there is none, and nothing is lost by making one."""
    unwritable: str = ""
    """Why it cannot be changed; empty if it can."""


class TokenFile:
    """The file at `path`.

    `parse` makes contents of its text, as for the tokens in force, which `in_force` tells. `changed` is called after each
    change, so that it takes effect at once. In a Space only a mounted disk outlasts a restart.
    """

    def __init__(
        self,
        path: Path,
        *,
        parse: Callable[[str], Contents],
        in_force: Callable[[], Contents],
        changed: Callable[[], None],
        in_space: bool,
    ) -> None:
        self.path, self.in_space = path, in_space
        self.is_of_space = in_space and not is_mounted(path)
        """True if it is on the disk of a Space, where changes are lost at the next restart."""
        self.in_force = in_force
        self._parse = parse
        self._changed = changed
        self._last = ("", NOTHING)

    async def look(self) -> Sight:
        """The file now; if that takes too long, that is its fault."""
        try:
            return await self._within(self._look, self.in_force())
        except StalledError as error:
            return Sight(self.in_force(), faults=(str(error),))

    async def text(self) -> str:
        """The text of a file that can be used. Raises TokensError or StalledError."""
        return await self._within(self._text)

    async def change(self, act: Callable[[Path], T]) -> T:
        """Let `act` change the file, in a thread; returns what that does.

        Raises what `act` does, TokensError if the file cannot be used, or StalledError.
        """
        done = await self._within(self._change, act, self.in_force())
        self._changed()
        return done

    async def _within(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        with trio.move_on_after(MAX_SECONDS):
            return await THREADS.run(function, *args)
        raise StalledError(
            f"{self.path}: reading or changing this file takes longer than {MAX_SECONDS:g} seconds"
        )

    def _look(self, in_force: Contents) -> Sight:
        unwritable = ""
        try:
            expect_to_change(self.path)
        except TokensError as error:
            unwritable = " ".join(error.faults)
        contents, missing = NOTHING, False
        faults: tuple[str, ...] = ()
        try:
            text = read_text(self.path)
            if not text.strip() and in_force != NOTHING:
                raise TokensError(f"{self.path}: {EMPTY}")
            contents = self._contents(text)
        except TokensError as error:
            # Where tokens are in force, a new file would end them all.
            missing = isinstance(error, MissingError) and in_force == NOTHING
            faults = () if missing else tuple(error.faults)
        return Sight(in_force if faults else contents, faults, missing, unwritable)

    def _text(self) -> str:
        text = read_text(self.path)
        self._contents(text)
        return text

    def _contents(self, text: str) -> Contents:
        """The contents of a text. A large one takes long, and seldom changes."""
        if text != self._last[0]:
            self._last = (text, self._parse(text))
        return self._last[1]

    def _change(self, act: Callable[[Path], T], in_force: Contents) -> T:
        faults = self._look(in_force).faults
        if faults:
            raise TokensError(*faults)
        return act(self.path)


async def last_uses(state_db: Path | None) -> LastUse:
    """The record of last uses, as far as it can be had soon."""
    if state_db is None:
        return LastUse()
    with trio.move_on_after(MAX_RECORD_SECONDS):
        return await RECORD_THREADS.run(read_last_use, state_db)
    return LastUse(fault=f"STATE_DB: {state_db} cannot be read now, so no earlier use is known")
