"""The owners of background tasks: tools that go on after their answer, and that clients ask about by id.

FastMCP keeps the tasks of callers apart, and so may other libraries. The lock (`tool_lock`) does not rely on that:
a token with lists may follow only tasks that this ledger knows as its own, and nobody may follow another's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.http.mcp import TASK_METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gatehouse.http.mcp import Kind

MAX_TASKS_PER_CALLER = 1000
"""With one more, the caller loses its oldest."""

MAX_TASK_CHARACTERS = 2048
"""How many characters a task's id and the name of its thing may have together: a caller chooses a resource's
URI, which may have megabytes. A longer one is not kept, so that no caller can fill the memory."""


class Task(NamedTuple):
    """The one who began a task, and the thing that the task is of."""

    owner: str
    """The caller's id."""
    kind: Kind
    thing: str


class Tasks:
    """The tasks, each with its owner. `lives` is True for the id of a caller who would still be let in."""

    def __init__(
        self, lives: Callable[[str], bool], max_per_caller: int = MAX_TASKS_PER_CALLER
    ) -> None:
        self._lives = lives
        self._max_per_caller = max_per_caller
        self._tasks: dict[str, Task] = {}
        self._of: dict[str, deque[str]] = {}

    def get(self, task_id: object) -> Task | None:
        """The task of that id; None if the id is unknown, or no id."""
        return self._tasks.get(task_id) if isinstance(task_id, str) else None

    def begun(self, task_id: str, task: Task) -> None:
        """The server has begun a task. A known id stays with its first owner."""
        if task_id in self._tasks or len(task_id) + len(task.thing) > MAX_TASK_CHARACTERS:
            return
        if task.owner not in self._of:
            self._forget_the_gone()
            self._of[task.owner] = deque()
        own = self._of[task.owner]
        if len(own) >= self._max_per_caller:
            del self._tasks[own.popleft()]
        own.append(task_id)
        self._tasks[task_id] = task

    def _forget_the_gone(self) -> None:
        """Before a new owner is kept: there are never more owners than there were callers at one time."""
        for owner in [owner for owner in self._of if not self._lives(owner)]:
            for task_id in self._of.pop(owner):
                del self._tasks[task_id]


def ids_in(method: str, params: Mapping[str, Any]) -> Sequence[Any]:
    """The ids of all tasks that a message names, of whatever type; None for a missing one."""
    if method in TASK_METHODS:
        return (params.get("taskId"),)
    if method != "subscriptions/listen":
        return ()
    notifications = params.get("notifications")
    ids = notifications.get("taskIds") if isinstance(notifications, dict) else None
    if ids is None:
        return ()
    return ids if isinstance(ids, list) else (None,)


def task_id_in(result: Any) -> str | None:
    """The id of the task in an answer: its `taskId`, or that of its `task`; None if it has none."""
    for place in (result, _member(result, "task")):
        for name in ("taskId", "task_id"):
            if isinstance(found := _member(place, name), str):
                return found
    return None


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
