"""Closes holes in the libraries beneath, through which errors escape from where they are raised.

-   A GeneratorExit that comes from a thread into a coroutine closes it, as Python has it: none of its `except`
    helps, and what awaits it is closed, too, up to the task. It takes an older client's session with it.
-   Trio puts the `repr` of an error that a task ends with into words, in the middle of its scheduler. An error
    that has no `repr`, or is nested too deep for one, ends Trio, and the program.

The names are looked up before the server serves: if one is missing, the program does not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class GeneratorExitInThreadError(BaseException):
    """Takes the place of a GeneratorExit that a function has raised in a thread."""


class UntellableError(BaseException):
    """Takes the place of an error whose `repr` raises another."""


def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call the function. Raises GeneratorExitInThreadError in place of a GeneratorExit."""
    try:
        return function(*args)
    except GeneratorExit as error:
        raise GeneratorExitInThreadError().with_traceback(error.__traceback__) from None


def close_threads() -> None:
    """Let no GeneratorExit out of AnyIO's threads; tools that are not `async` run in these."""
    from anyio._backends import _asyncio as backend

    report = backend.WorkerThread._report_result  # noqa: SLF001 - there is no public way

    def report_result(self: Any, future: Any, result: Any, exc: BaseException | None) -> None:
        if isinstance(exc, GeneratorExit):
            exc = GeneratorExitInThreadError().with_traceback(exc.__traceback__)
        report(self, future, result, exc)

    setattr(backend.WorkerThread, "_report_result", report_result)  # noqa: B010


def close_nurseries() -> None:
    """Let no error end Trio because it has no `repr`."""
    nursery = trio.Nursery
    child_finished, body_finished = nursery._child_finished, nursery._nested_child_finished  # noqa: SLF001

    def finish_child(self: Any, task: Any, result: outcome.Outcome[object]) -> None:
        if isinstance(result, outcome.Error):
            result = outcome.Error(tellable(result.error))
        child_finished(self, task, result)

    async def finish_body(self: Any, error: BaseException | None) -> BaseException | None:
        return await body_finished(self, None if error is None else tellable(error))

    setattr(nursery, "_child_finished", finish_child)  # noqa: B010
    setattr(nursery, "_nested_child_finished", finish_body)  # noqa: B010


def tellable(error: BaseException) -> BaseException:
    """The error, or another with the same traceback if its `repr` raises."""
    if isinstance(error, trio.Cancelled):
        return error
    try:
        repr(error)
    except BaseException:  # noqa: BLE001 - whatever `repr` raises
        return UntellableError().with_traceback(error.__traceback__)
    return error
