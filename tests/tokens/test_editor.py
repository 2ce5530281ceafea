"""Edits of the tokens file: every other line stays as it is, and nothing faulty is written."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.credentials import LANES
from gatehouse.identity.grants import Grants
from gatehouse.identity.rate import parse_rate
from gatehouse.tokens.editor import HEADER, NotChangedError, expect_to_change, make_file
from gatehouse.tokens.file import TokensError, locked
from gatehouse.tokens.issue import add, replace_values, revoke, rotate
from gatehouse.tokens.reader import load_tokens
from gatehouse.tokens.token import Token
from gatehouse.tokens.value import TokenValue, digest_of
from tests.harness.program import ROOT
from tests.harness.token_files import BOTH, Written, token_files

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = f"mcpgate_{'hunter2' * 6}"


def value(number: int = 0, **times: Any) -> TokenValue:
    return TokenValue(digest_of(f"value {number}"), **times)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def test_adding_puts_a_table_at_the_end(path: Path) -> None:
    path.write_text(BOTH)
    token = Token(
        "carol",
        (value(created=NOW, not_before=NOW + DAY, expires=NOW + 2 * DAY),),
        Grants(tools=("list_*", "get"), prompts=()),
        parse_rate("60/min"),
        LANES,
        'a "phone"\n',
    )
    add(path, token)
    assert (
        path.read_text()
        == f"""\
{BOTH}
[tokens.carol]
note = "a \\"phone\\"\\n"
tools = ["list_*", "get"]
prompts = []
rate = "60/min"
lanes = ["header", "query"]

[[tokens.carol.values]]
digest = "sha256:{digest_of("value 0").hex()}"
created = 2026-11-24T12:00:00Z
not_before = 2026-11-25T12:00:00Z
expires = 2026-11-26T12:00:00Z
"""
    )
    assert load_tokens(path)[-1] == token


def test_adding_makes_a_missing_file_for_its_owner_only(path: Path) -> None:
    add(path, Token("alice", (value(created=NOW),)))
    assert path.read_text().startswith("# The named tokens of the gate")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_tokens(path) == (Token("alice", (value(created=NOW),)),)


def test_revoking_takes_out_a_table_with_its_values_and_leaves_the_other_comments(
    path: Path,
) -> None:
    path.write_text(BOTH)
    revoke(path, "alice")
    before, after = BOTH.split("\n[tokens.alice]")[0], BOTH[BOTH.index("\n# Bob") :]
    assert path.read_text() == before + after


def test_rotating_ends_the_old_values_and_adds_one(path: Path) -> None:
    path.write_text(BOTH)
    replace_values(path, "alice", value(created=NOW), now=NOW, end=NOW + 7 * DAY)
    first, second = "created = 2026-01-01T00:00:00Z\n", "expires = 2027-01-01T00:00:00Z   # with"
    assert path.read_text() == BOTH.replace(
        first, first + "expires = 2026-12-01T12:00:00Z\n"
    ).replace(second, "expires = 2026-12-01T12:00:00Z   # with").replace(
        "contract\n",
        f'contract\n\n[[tokens.alice.values]]\ndigest = "sha256:{value().digest.hex()}"\n'
        "created = 2026-11-24T12:00:00Z\n",
    )


@pytest.mark.parametrize(
    ("times", "overlap", "then"),
    [
        ({}, 7 * DAY, {"expires": NOW + 7 * DAY}),
        ({}, 0 * DAY, {"expires": NOW}),
        ({"expires": NOW + 8 * DAY}, 7 * DAY, {"expires": NOW + 7 * DAY}),
        ({"expires": NOW + 6 * DAY}, 7 * DAY, {"expires": NOW + 6 * DAY}),
        ({"expires": NOW}, 7 * DAY, None),
        ({"expires": NOW - DAY}, 0 * DAY, None),
        ({"not_before": NOW + DAY}, 7 * DAY, {"not_before": NOW + DAY, "expires": NOW + 7 * DAY}),
        ({"not_before": NOW + 7 * DAY}, 7 * DAY, None),
        ({"not_before": NOW}, 0 * DAY, None),
    ],
)
def test_after_the_overlap_there_is_only_the_new_value(
    path: Path, times: dict[str, datetime], overlap: timedelta, then: dict[str, datetime] | None
) -> None:
    add(path, Token("alice", (value(1, **times),)))
    changed = replace_values(path, "alice", value(2, created=NOW), now=NOW, end=NOW + overlap)
    left = () if then is None else (value(1, **then),)
    assert changed.values == (*left, value(2, created=NOW))
    assert load_tokens(path) == (changed,)


def test_who_asks_twice_for_a_value_gets_one(path: Path) -> None:
    add(path, Token("alice", (value(),)))
    issued = rotate(path, "alice", NOW, overlap=DAY, newest=value().id)
    with pytest.raises(NotChangedError, match="has got another value meanwhile"):
        rotate(path, "alice", NOW, overlap=DAY, newest=value().id)
    (alice,) = load_tokens(path)
    assert alice == issued.token


def test_one_value_can_be_revoked_and_the_last_one_only_with_its_name(path: Path) -> None:
    path.write_text(BOTH)
    revoke(path, "alice", "aaaaaaaa")
    start, end = BOTH.index("[[tokens.alice"), BOTH.index("# the second")
    assert path.read_text() == BOTH[:start] + BOTH[end:]
    with pytest.raises(NotChangedError, match=r"python run\.py tokens revoke alice$"):
        revoke(path, "alice", "BBBBBBBB")


def test_a_value_id_must_be_of_one_value(path: Path) -> None:
    path.write_text(BOTH.replace("b" * 64, "a" * 63 + "b"))
    with pytest.raises(NotChangedError, match="two values begin so"):
        revoke(path, "alice", "aaaaaaaa")
    with pytest.raises(NotChangedError, match="has no such value; it has: aaaaaaaa, aaaaaaaa"):
        revoke(path, "alice", "cccccccc")
    revoke(path, "alice", "a" * 63 + "b")


@given(
    written=token_files(only_tables=True), data=st.data(), newline=st.sampled_from(["\n", "\r\n"])
)
@settings(max_examples=40)
def test_a_change_leaves_every_line_that_it_is_not_about(
    written: Written, data: st.DataObject, newline: str
) -> None:
    # Each line can be told from the others.
    written.lines = [(owner, f"{line} # {at}") for at, (owner, line) in enumerate(written.lines)]
    text = written.text.replace("\n", newline)
    name = data.draw(st.sampled_from(["nobody", *(token.name for token in written.tokens)]))
    others = [token for token in written.tokens if token.name != name]
    their_lines = [line for owner, line in written.lines if owner != name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.toml"
        path.write_bytes(text.encode())
        if name == "nobody":
            add(path, Token(name, (value(1),)))
            assert path.read_bytes().startswith(text.encode())
        replace_values(path, name, value(2), now=NOW, end=NOW + DAY)
        lines = path.read_bytes().decode().split(newline)
        assert [line for line in lines if line in their_lines] == their_lines
        assert [token for token in load_tokens(path) if token.name != name] == others
        revoke(path, name)
        left = "".join(line + newline for line in their_lines)
        assert path.read_bytes().decode() == (left if left.strip() else HEADER)


@pytest.mark.parametrize(
    "text",
    [
        f"""tokens.alice.values = [{{digest = "sha256:{"a" * 64}"}}]""",
        f"""[tokens]\nalice = {{values = [{{digest = "sha256:{"a" * 64}"}}]}}""",
        f"""tokens = {{alice = {{values = [{{digest = "sha256:{"a" * 64}"}}]}}}}""",
    ],
)
def test_what_is_written_inline_is_left_to_be_changed_by_hand(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(TokensError, match="change this one by hand"):
        replace_values(path, "alice", value(), now=NOW, end=NOW)
    assert path.read_text() == text


def test_a_file_that_is_faulty_is_left_alone(path: Path) -> None:
    path.write_text("[tokens.alice]\n")
    with pytest.raises(TokensError, match="line 1: values: there are none"):
        add(path, Token("bob", (value(),)))
    assert path.read_text() == "[tokens.alice]\n"


def test_nothing_is_written_that_would_be_refused(path: Path) -> None:
    path.write_text(BOTH)
    for wrong in (
        Token("x y", (value(),)),
        Token("carol", ()),
        Token("carol", (TokenValue(b"\xcc" * 32),)),
        Token("carol", (value(not_before=NOW, expires=NOW),)),
        Token("carol", (value(),), note=SECRET),
    ):
        with pytest.raises(TokensError):
            add(path, wrong)
    with pytest.raises(TokensError, match="would become larger"):
        add(path, Token("carol", (value(),), note="x" * 2**20))
    assert path.read_text() == BOTH


def test_a_last_line_without_an_end_is_no_trouble(path: Path) -> None:
    path.write_text(BOTH.rstrip())
    add(path, Token("carol", (value(),)))
    assert path.read_text().startswith(BOTH)
    assert len(load_tokens(path)) == 3


def test_mode_and_link_stay_as_they_are(path: Path) -> None:
    there = path.parent / "there"
    there.mkdir()
    real = there / "real.toml"
    real.write_text(BOTH)
    real.chmod(0o640)
    path.symlink_to("there/real.toml")
    revoke(path, "bob")
    assert path.is_symlink()
    assert [token.name for token in load_tokens(real)] == ["alice"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(file.name for file in there.iterdir()) == ["real.toml", "real.toml.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays_the_same(path: Path) -> None:
    path.write_text(BOTH)
    os.chown(path, 12345, 54321)
    revoke(path, "bob")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_files_that_root_makes_belong_to_the_owner_of_the_folder(path: Path) -> None:
    os.chown(path.parent, 12345, 54321)
    add(path, Token("alice", (value(),)))
    for made in (path, path.with_name("tokens.toml.lock")):
        there = made.stat()
        assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)) == (12345, 54321, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_gives_nothing_away_that_it_has_not_made(path: Path) -> None:
    mine = path.with_name("mine")
    mine.touch()
    os.chown(path.parent, 12345, 54321)
    path.with_name("tokens.toml.lock").hardlink_to(mine)
    add(path, Token("alice", (value(),)))
    assert mine.stat().st_uid == 0


def test_a_file_that_is_in_the_way_is_named(path: Path) -> None:
    path.with_name("tokens.toml.lock").mkdir()
    with pytest.raises(TokensError, match=r"cannot be changed \(Is a directory: .*\.lock\)"):
        add(path, Token("alice", (value(),)))


def test_a_lock_that_can_only_be_read_still_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket of Hugging Face's opens no file for changes, except to replace all of it."""

    def refuse(name: Any, flags: int, *mode: int, really: Any = os.open) -> int:
        if flags & os.O_RDWR and not flags & os.O_CREAT:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
        return int(really(name, flags, *mode))

    add(path, Token("alice", (value(1),)))
    monkeypatch.setattr(os, "open", refuse)
    add(path, Token("bob", (value(2),)))
    assert [token.name for token in load_tokens(path)] == ["alice", "bob"]
    with (
        locked(path),
        path.with_name("tokens.toml.lock").open() as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_missing_folder_is_a_fault_in_words(path: Path) -> None:
    with pytest.raises(TokensError, match="its folder does not exist; make that first"):
        add(path.parent / "no" / "tokens.toml", Token("alice", (value(),)))


def test_a_file_without_tokens_can_be_made_and_one_that_is_there_stays(path: Path) -> None:
    make_file(path)
    assert path.read_text() == HEADER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(BOTH)
    make_file(path)
    assert path.read_text() == BOTH


@pytest.mark.parametrize(
    "hinder",
    [
        lambda path: path.parent.rmdir(),
        lambda path: path.parent.chmod(0o500),
        lambda path: path.parent.chmod(0o600),
        lambda path: path.with_name("tokens.toml.lock").touch(mode=0o400),
    ],
    ids=["no folder", "folder to read", "folder closed", "lock to read"],
)
def test_a_change_that_cannot_be_made_is_told_before_in_the_same_words(
    tmp_path: Path, hinder: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "tokens.toml"
    path.parent.mkdir()
    expect_to_change(path)
    assert not list(path.parent.iterdir()), "nothing is made by asking"
    hinder(path)
    told: list[str] = []
    met: list[str] = []
    for function, faults in ((expect_to_change, told), (make_file, met)):
        try:
            function(path)
        except TokensError as error:
            faults += error.faults
    assert told == met
    assert told or os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_change_that_another_user_cannot_make_is_told_before() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tokens.toml"
        path.write_text(BOTH)
        path.chmod(0o644)
        path.parent.chmod(0o755)
        told, met = as_somebody_else(path)
        assert told == f"{path}: cannot be changed (Permission denied: {name}); " + REMEDY
        assert met == told.replace(name + ")", f"{path}.lock)")
        path.parent.chmod(0o777)
        os.chown(path, 54321, 54321)
        told, met = as_somebody_else(path)
        assert told == met
        assert told == f"{path}: cannot be changed (Operation not permitted); {REMEDY}"
        assert path.read_text() == BOTH


REMEDY = "let UID 12345 write to the folder"


def as_somebody_else(path: Path) -> list[str]:
    """The faults of asking for a change, and of making one, as another user."""
    script = f"""
import os
from pathlib import Path
from gatehouse.tokens.editor import TokensError, expect_to_change, make_file
os.setgroups([]); os.setgid(12345); os.setuid(12345)
for function in (expect_to_change, make_file):
    try:
        function(Path({str(path)!r}))
    except TokensError as error:
        print(*error.faults)
"""
    run = [sys.executable, "-c", script]
    return subprocess.run(
        run, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True
    ).stdout.splitlines()


def test_what_the_disk_refuses_is_a_fault_in_words_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.write_text(BOTH)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(TokensError, match=r"cannot be changed \(No space left on device\)"):
        revoke(path, "bob")
    assert path.read_text() == BOTH
    assert not path.with_name("tokens.toml.new").exists()
