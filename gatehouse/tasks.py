"""Whose a background task is: a tool that goes on after its answer, and is asked about by its id.

FastMCP keeps the tasks of callers apart, and so may other libraries. The lock (`tool_lock`) does not rely on it: a
token with lists may follow only what this ledger knows as its own, and nobody what it knows as another's.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gatehouse.grants import Kind

TASK_METHODS = frozenset({"tasks/cancel", "tasks/get", "tasks/result", "tasks/update"})
"""What names a task. `tasks/cancel` and `tasks/get` are in every version that has tasks, the others in one each."""

TASK_LIST = "tasks/list"
"""MCP 2025-11-25 has it: all tasks of the caller."""

MAX_TASKS_PER_NAME = 1000
"""One more, and the name loses the one that it has begun first."""

MAX_ID_LENGTH = 512
"""Ids that servers make are a tenth of it. A longer one is not kept, so that no name can fill the memory."""


class Task(NamedTuple):
    """Who began a task, and of what."""

    name: str
    kind: Kind
    thing: str


class Tasks:
    """Which task belongs to which token, by its name."""

    def __init__(self, most_per_name: int = MAX_TASKS_PER_NAME) -> None:
        self._most_per_name = most_per_name
        self._tasks: dict[str, Task] = {}
        self._of: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)

    def get(self, task_id: object) -> Task | None:
        """The task of that id; None if it is not known, or no id."""
        return self._tasks.get(task_id) if isinstance(task_id, str) else None

    def begun(self, task_id: str, task: Task) -> None:
        """The server has begun a task. An id that is known stays with whoever had it first."""
        if len(task_id) > MAX_ID_LENGTH or task_id in self._tasks:
            return
        own = self._of[task.name]
        if len(own) >= self._most_per_name:
            oldest, _ = own.popitem(last=False)
            del self._tasks[oldest]
        own[task_id] = None
        self._tasks[task_id] = task


def task_id_in(result: Any) -> str | None:
    """The id of the task that an answer tells of: its `taskId`, or that of its `task`; None if it has none."""
    for place in (result, _member(result, "task")):
        for name in ("taskId", "task_id"):
            if isinstance(found := _member(place, name), str):
                return found
    return None


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
