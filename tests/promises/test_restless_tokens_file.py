"""A tokens file that never stands still, or hangs: what is revoked is gone in time, and half a file means no more."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from gatehouse.identity.clock import Clock
from gatehouse.identity.grants import Grants
from gatehouse.identity.people import People
from gatehouse.identity.subject import Subject
from gatehouse.tokens import last_use, watch
from gatehouse.tokens.agreement import agreed, taken_apart
from gatehouse.tokens.contents import Contents
from gatehouse.tokens.file import TokensError, read_data, read_text
from gatehouse.tokens.keyring import Keyring
from gatehouse.tokens.last_use import keep_last_use
from gatehouse.tokens.reader import parse_contents
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of
from gatehouse.tokens.watch import watch_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Write = Callable[[Path, str], Awaitable[None]]


def text_of(*names: str, more: str = "") -> str:
    """Each name has a token and is a person, and may get; everybody else may look."""
    tokens = [
        f'[tokens.{name}]\nvalues = [{{digest = "sha256:{digest_of(name).hex()}"}}]\ntools = ["get_*"]\n'
        for name in names
    ]
    people = [f'[[people]]\nmatch = "{name}"\ntools = ["get_*"]\n' for name in names]
    others = '[[people]]\nmatch = "*"\ntools = ["look"]\n'
    return "".join([f"# Tokens {more}\n", *tokens, *people, others])


async def at_once(path: Path, text: str) -> None:
    path.with_name("new").write_text(text)
    path.with_name("new").replace(path)


def save(path: Path, text: str, *, anew: bool = False) -> None:
    if anew:
        path.unlink()
    path.write_text(text)


async def in_place(path: Path, text: str) -> None:
    save(path, text)


async def without_a_difference(path: Path, text: str) -> None:
    save(path, "# Tokens\n" + text.partition("\n")[2])


async def appended(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"# {len(text)}\n")


async def made_anew(path: Path, text: str) -> None:
    save(path, text, anew=True)


async def in_halves(path: Path, text: str, marker: str) -> None:
    with path.open("w") as file:
        file.write(text[: text.rindex(marker)])
        file.flush()
        await trio.sleep(0.07)
        file.write(text[text.rindex(marker) :])


RESTLESS: dict[str, Write] = {
    "at once": at_once,
    "in place": in_place,
    "without a difference": without_a_difference,
    "appended": appended,
    "made anew": made_anew,
    "halves": partial(in_halves, marker="256:"),
    "halves that mean more": partial(in_halves, marker="tools"),
}


class Watched:
    """A tokens file that is watched, and all that was in force."""

    def __init__(self, folder: Path, *names: str) -> None:
        folder.mkdir()
        self.path = folder / "tokens.toml"
        self.path.write_text(text_of(*names))
        self.seen = [parse_contents(text_of(*names))]

    @property
    def names(self) -> set[str]:
        return {token.name for token in self.seen[-1].tokens}

    async def run(self) -> None:
        _ask, asked = trio.open_memory_channel[None](1)
        await watch_tokens(self.path, self.seen[0], self.seen.append, parse_contents, asked)

    def tools_of(self, name: str) -> list[tuple[str, ...] | None]:
        """The tools that the person had, one after the other; none for one who was not let in."""
        people = People()
        subject = Subject("oauth", "https://as.example", name, username=name)
        found: list[tuple[str, ...] | None] = []
        for contents in self.seen:
            people.replace(contents.people)
            person = people.find(subject)
            found.append(person.grants.tools if person else ())
        return found

    def never_more(self) -> None:
        """Whoever came in had their list of tools, and no person that of all others meanwhile."""
        for contents in self.seen:
            assert {token.grants.tools for token in contents.tokens} <= {("get_*",)}
        assert {*self.tools_of("bob")} <= {("get_*",), ()}
        for name in ("alice", "carol", "dora"):
            assert {*self.tools_of(name)} <= {("get_*",), ("look",), ()}


async def become(file: Watched, names: set[str]) -> None:
    """Wait until these are in force: new names may take longer on a busy machine."""
    with trio.fail_after(10):
        while file.names != names:
            await trio.sleep(0.05)


async def test_what_is_revoked_is_gone_within_2_seconds_though_the_file_is_written_without_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {way: Watched(tmp_path / way, "alice", "bob") for way in RESTLESS}
    slow = Watched(tmp_path / "slow", "alice", "bob")

    async def rewrite(file: Watched, write: Write) -> None:
        file.path.write_text(text_of("bob", "carol"))
        for turn in range(200):
            await write(file.path, text_of("bob", "carol", more=str(turn)))
            await trio.sleep(0.13)

    async def save_slowly(file: Watched) -> None:
        text = text_of("dora", "bob", "guest", more="new")
        for end in range(0, len(text), len(text) // 30):
            file.path.write_text(text[:end])
            assert file.names == {"alice", "bob"}
            await trio.sleep(0.1)
        file.path.write_text(text)

    async with trio.open_nursery() as nursery:
        for file in (*files.values(), slow):
            nursery.start_soon(file.run)
        await trio.sleep(0.6)
        for way, file in files.items():
            nursery.start_soon(rewrite, file, RESTLESS[way])
        nursery.start_soon(save_slowly, slow)
        with trio.fail_after(7):  # 2 seconds and a look, on a quiet machine
            while any("alice" in file.names for file in files.values()):
                await trio.sleep(0.05)
        for way, file in files.items():
            assert "bob" in file.names, way
            assert file.tools_of("alice")[-1] != ("get_*",), way
            assert file.tools_of("bob")[-1] == ("get_*",), way
            file.never_more()
        for way in ("at once", "in place", "without a difference", "appended", "made anew"):
            await become(files[way], {"bob", "carol"})
        await become(slow, {"dora", "bob", "guest"})
        slow.never_more()
        nursery.cancel_scope.cancel()
    assert "has changed for 2 seconds without rest" in caplog.text


def token(name: str, *globs: str, ends: int = 0) -> Token:
    value = TokenValue(digest_of(f"{name}{ends}"))
    return Token(name, (value,), Grants(tools=globs or None))


def test_texts_that_disagree_let_nobody_in_and_what_none_says_is_over() -> None:
    wide, narrow, other = token("alice"), token("alice", "get_*"), token("bob")

    def said(*texts: tuple[Token, ...], before: tuple[Token, ...], trusted: bool = True) -> object:
        parts = [taken_apart(Contents(text)) for text in texts]
        return agreed(Contents(before), parts, trusted).tokens

    assert said((narrow,), (wide,), before=(narrow,)) == (narrow,)
    assert said((wide,), (wide,), before=(narrow,)) == (wide,)
    assert said((wide,), (wide,), before=(narrow,), trusted=False) == ()
    assert said((narrow,), (), before=(wide,)) == ()
    assert said((other,), (), before=()) == ()
    assert said((other, wide), (wide,), before=(other,)) == (other, wide)
    assert said((wide, token("alice", ends=1)), before=(wide,)) == (
        Token("alice", (*wide.values, *token("alice", ends=1).values)),
    )


async def test_a_folder_swapped_under_links_is_taken_up_and_what_is_no_file_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = Watched(tmp_path / "one", "alice")
    Watched(tmp_path / "two", "bob")
    (tmp_path / "data").symlink_to("one")
    file.path = tmp_path / "data" / "tokens.toml"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        (tmp_path / "swap").symlink_to("two")
        (tmp_path / "swap").rename(tmp_path / "data")
        with trio.fail_after(1.2):
            while file.names != {"bob"}:
                await trio.sleep(0.02)
        (tmp_path / "two" / "tokens.toml").unlink()
        os.mkfifo(tmp_path / "two" / "tokens.toml")
        with trio.fail_after(1.2):
            while "is not a regular file" not in caplog.text:
                await trio.sleep(0.02)
        (tmp_path / "two" / "tokens.toml").unlink()
        (tmp_path / "two" / "tokens.toml").write_text(text_of("carol"))
        with trio.fail_after(1.2):
            while file.names != {"carol"}:
                await trio.sleep(0.02)
        assert len(file.seen) == 3
        nursery.cancel_scope.cancel()


def test_a_pipe_that_takes_the_files_place_between_two_steps_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    regular = (tmp_path / "pipe").with_name("file")
    regular.write_text("")
    status = regular.stat()
    monkeypatch.setattr("pathlib.Path.stat", lambda _: status)
    with pytest.raises(TokensError, match="is not a regular file"):
        read_text(tmp_path / "pipe")


async def test_a_look_that_hangs_or_finds_no_thread_is_told_once_and_the_next_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "SLOW_SECONDS", 0.1)
    file = Watched(tmp_path / "one", "alice")
    over = threading.Event()
    monkeypatch.setattr(watch, "read_data", lambda path: (over.wait(5), read_data(path))[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        file.path.write_text(text_of("bob"))
        await trio.sleep(0.6)
        assert caplog.text.count("takes longer than") == 1
        with monkeypatch.context() as patched:

            def no_thread(*_: object) -> None:
                raise RuntimeError("can't start new thread")

            patched.setattr("trio._threads.start_thread_soon", no_thread)
            over.set()
            await trio.sleep(0.8)
            assert caplog.text.count("cannot be read now") == 1
            assert file.names == {"alice"}
        with trio.fail_after(1.5):
            while file.names != {"bob"}:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


def test_a_clock_that_is_set_back_makes_nothing_good_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = Clock(), time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    assert clock() >= now - 0.1
    monkeypatch.setattr(time, "time", lambda: now + 86400)
    assert clock() == now + 86400


@pytest.mark.parametrize("hangs", ["before", "at the end"])
async def test_a_disk_that_hangs_keeps_the_end_waiting_for_half_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    over = threading.Event()
    if hangs == "at the end":
        over.set()
    monkeypatch.setattr(last_use, "write_last_use", lambda *_: over.wait(5))
    keyring = Keyring(shared="x" * 40)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_last_use, tmp_path / "state", lambda: keyring.used)
            await trio.sleep(0.1)
            over.clear()
            keyring.used[b"digest"] = 1.0
            began = time.monotonic()
            nursery.cancel_scope.cancel()
        assert time.monotonic() - began < (0.3 if hangs == "before" else 0.9)
    finally:
        over.set()
