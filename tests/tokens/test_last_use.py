"""The record of last uses."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gatehouse.identity.state_file import OPEN_MODE
from gatehouse.tokens.last_use import MAX_OTHERS, read_last_use, write_last_use

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
