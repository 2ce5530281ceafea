"""The ledger of background tasks: bounded for each name, and no id changes hands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gatehouse.hosting.tasks import MAX_TASK_CHARACTERS, Task, Tasks, task_id_in

ALICE, BOB = Task("alice", "tools", "slow"), Task("bob", "tools", "slow")


def test_a_name_keeps_its_last_tasks_and_pushes_out_nobody_elses() -> None:
    tasks = Tasks(lambda _: True, max_per_caller=3)
    tasks.begun("bob's", BOB)
    for number in range(5):
        tasks.begun(f"{number}", ALICE)
    assert [tasks.get(f"{number}") for number in range(5)] == [None, None, ALICE, ALICE, ALICE]
    assert tasks.get("bob's") == BOB


def test_an_id_stays_with_whoever_had_it_first_and_a_huge_one_is_not_kept() -> None:
    tasks = Tasks(lambda _: True)
    tasks.begun("one", ALICE)
    tasks.begun("one", BOB)
    assert tasks.get("one") == ALICE
    huge = "x" * (MAX_TASK_CHARACTERS + 1)
    tasks.begun(huge, ALICE)
    assert tasks.get(huge) is None
    tasks.begun("two", Task("alice", "resources", "x://" + huge))
    assert tasks.get("two") is None
    assert tasks.get(["one"]) is None


def test_names_whose_tokens_are_gone_take_no_room() -> None:
    there = {"alice"}
    tasks = Tasks(there.__contains__)
    tasks.begun("hers", ALICE)
    for number in range(50):
        name = f"guest{number}"
        there.add(name)
        tasks.begun(f"{number}", Task(name, "tools", "slow"))
        there.remove(name)
    assert [tasks.get(f"{number}") for number in range(49)] == [None] * 49
    assert tasks.get("hers") == ALICE


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ({"taskId": "7"}, "7"),
        ({"task": {"taskId": "7", "status": "working"}}, "7"),
        (SimpleNamespace(task_id="7"), "7"),
        (SimpleNamespace(task=SimpleNamespace(task_id="7")), "7"),
        ({"task": {"taskId": 7}}, None),
        ({"content": []}, None),
        (SimpleNamespace(task=None), None),
        (None, None),
    ],
)
def test_an_answer_tells_of_a_task_in_two_places(result: Any, found: str | None) -> None:
    assert task_id_in(result) == found
