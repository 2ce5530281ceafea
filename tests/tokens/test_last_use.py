"""The record of last uses."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gatehouse.identity.state_file import OPEN_MODE
from gatehouse.tokens.last_use import MAX_OTHERS, LastUse, read_last_use, write_last_use
from gatehouse.tokens.value import TokenValue, digest_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_was_taken_away_is_made_anew_for_whom_it_was_before(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_last_use(tmp_path / "state", {b"digest": 1.0})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == OPEN_MODE
    assert read_last_use(tmp_path / "state").times == {b"digest": 1.0}


def test_of_people_and_apps_those_who_came_last_are_kept(tmp_path: Path) -> None:
    file, tokens = tmp_path / "state", {b"t" * 32: 1.0}
    people = {b"oauth:%032x" % number: 2.0 + number for number in range(MAX_OTHERS + 3)}
    write_last_use(file, {**tokens, **people})
    kept = dict(list(people.items())[3:])
    assert read_last_use(file).times == {**tokens, **kept}
    assert read_last_use(file).others == (MAX_OTHERS, MAX_OTHERS + 4.0)


def test_uses_of_this_run_count_beside_the_record_and_the_newer_one_is_told() -> None:
    one, two, three = (TokenValue(digest_of(f"value {number}")) for number in range(3))
    record = LastUse(
        {one.digest: 50.0, two.digest: 70.0}, began=40.0, wrong=frozenset({three.digest})
    )
    merged = record.with_uses({one.digest: 60.0, two.digest: 60.0, three.digest: 60.0}, began=55.0)
    assert [merged.of(value) for value in (one, two, three)] == [60.0, 70.0, 60.0]
    assert (merged.began, merged.wrong) == (40.0, frozenset())
    old = TokenValue(digest_of("old"), created=datetime.fromtimestamp(56, UTC))
    assert LastUse().with_uses({}, began=55.0).knows(old)
    assert not LastUse().with_uses({}, began=57.0).knows(old)
