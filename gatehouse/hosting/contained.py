"""Keeps a request's errors within that request: the server goes on, and the log names the request.

Python lets everything but an `Exception` fall through: SystemExit, KeyboardInterrupt, a CancelledError that
nobody sent, a class that a library derives from BaseException itself, as Rust extensions do for a panic. In
a program of one command that is right. In a server that many share, it ends the task group above, and with
it the server.

Each of them therefore becomes an ordinary error at two places: outermost in the MCP SDK's middleware,
where the request has a name and its client gets a JSON-RPC error, and around the ASGI app, for code
outside the SDK (custom routes, the server's own ASGI middleware). Only a cancellation that somebody asked
for passes on: the client has left, or the server is being stopped. The third layer is the loop itself
(`asyncio_loop`).

The SDK answers errors that are an `Exception`, as it does without the gate. The gate's own questions to
the server, outside of any request, may raise anything, and cost only their answer: `Containment.ask`.
"""

from __future__ import annotations

import math
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
from sniffio import current_async_library

from gatehouse.errors import (
    exceptions_in,
    tells_of_a_client_that_left,
    traceback_of,
    type_name,
    without_message,
)
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of
from gatehouse.upstream.inprocess import AnswerCutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.server.context import HandlerResult, ServerRequestContext

    from gatehouse.upstream.inprocess import App

T = TypeVar("T")

logger = logger_of("gate.upstream")

INTERNAL_ERROR = -32603
"""JSON-RPC 2.0, section 5.1."""

MAX_CLASSES = 5
"""How many classes are named of a group of errors."""

MESSAGES_PER_TURN = 64
"""After so many messages, an app gives way to others: 2 ms of computing if each holds a byte."""

FAILED = b"Internal Server Error"


class Containment:
    """Keeps the errors of one hosted server's requests within them."""

    def __init__(self) -> None:
        self.ending = False
        """True once the server is being stopped, or has died: its tasks are then rightly cancelled."""

    async def on_message_in(
        self,
        ctx: ServerRequestContext[Any, Any],
        call_next: Callable[[ServerRequestContext[Any, Any]], Awaitable[HandlerResult]],
    ) -> HandlerResult:
        """The SDK's middleware, outermost. Raises MCPError in place of an error that is no Exception.

        The watchdog finds the request on the thread's stack by this method's name and `ctx`: both keep their names.
        """
        called = f"{ctx.method} {(ctx.params or {}).get('name', '')}"
        try:
            result = await call_next(ctx)
        except Exception:
            await self._settle()
            raise
        except BaseException as error:  # noqa: BLE001 - all that is not asked for stays here
            self._keep(error, shown(called))
            await self._settle()
            if ctx.request_id is None:
                return None
            # Imported by now: this is the SDK that is calling us.
            from mcp.shared.exceptions import MCPError

            text = f"{shown(called)} failed with {classes_in(error)}; the server's log says where"
            raise MCPError(INTERNAL_ERROR, text) from None
        await self._settle()
        return result

    def asgi(self, app: App) -> App:
        """`app` as ASGI middleware wraps it: it raises nothing but AnswerCutError, and cancellation.

        Others get their turn, however the app sends and receives: by itself, an app does not wait when
        it sends to a client that has left, sends an empty piece, or receives no body.
        """

        async def contained(scope: Any, receive: Any, send: Any) -> None:
            called = f"{scope.get('method', scope['type'])} {scope.get('path', '')}"
            try:
                await app(scope, in_turns(receive), in_turns(send))
            except Exception as error:  # noqa: BLE001 - logged as all our errors are
                if not tells_of_a_client_that_left(type(error)):
                    described = without_message(error)
                    logger.error("the server failed on %s: %s", shown(called), described)
                await fail(send)
            except BaseException as error:  # noqa: BLE001
                self._keep(error, shown(called))
                await fail(send)

        return contained

    async def ask(self, called: str, question: Callable[[], Awaitable[T]]) -> T | None:
        """The server's answer to the gate's own question; None if the server failed, which is logged."""
        answer = None
        try:
            answer = await question()
        except BaseException as error:  # noqa: BLE001
            self._keep(error, called)
        await self._settle()
        return answer

    def _keep(self, error: BaseException, called: str) -> None:
        """Log the request's own errors in `error`; raise the rest of it."""
        cancellation, own = self._parted(error)
        if own is not None:
            logger.error("%s raised %s%s", called, classes_in(own), place_of(own))
        if cancellation is not None:
            raise cancellation

    def _parted(self, error: BaseException) -> tuple[BaseException | None, BaseException | None]:
        """Split an error into requested cancellations and the request's own errors."""
        if not self._is_cancelled():
            return None, error
        kind = anyio.get_cancelled_exc_class()
        if isinstance(error, BaseExceptionGroup):
            with suppress(BaseException):  # a group may split in a way of its own
                return error.split(kind)
        return (error, None) if isinstance(error, kind) else (None, error)

    def _is_cancelled(self) -> bool:
        return self.ending or anyio.current_effective_deadline() == -math.inf

    async def _settle(self) -> None:
        """Take back an asyncio task's cancelling of itself, which would hit its next await."""
        if "asyncio" not in sys.modules or current_async_library() != "asyncio":
            return
        import asyncio

        task = asyncio.current_task()
        if task is None or not task.cancelling() or self._is_cancelled():
            return
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # where a cancellation arrives that has not yet
        while task.cancelling():
            task.uncancel()


def in_turns(step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`step`, which may be called for ever without waiting, with a turn for others after each MESSAGES_PER_TURN calls."""
    steps = 0

    async def turn(*message: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps % MESSAGES_PER_TURN == 0:
            await anyio.lowlevel.checkpoint()
        return await step(*message)

    return turn


async def fail(send: Any) -> None:
    """Answer 500 if nothing has been sent yet, else raise AnswerCutError."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(FAILED))]
    try:
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": FAILED})
    except RuntimeError:  # uvicorn and we raise it for a message out of order
        raise AnswerCutError("the answer had begun") from None


def shown(called: str) -> str:
    """The name of a request, fit for a line of log and for a message."""
    return printable(called.rstrip())


def classes_in(error: BaseException) -> str:
    """The class of an error, or the classes of those in a group."""
    found: list[str] = []
    pending = [error]
    while pending and len(found) < MAX_CLASSES:
        one = pending.pop()
        if isinstance(one, BaseExceptionGroup):
            pending += exceptions_in(one)
        elif (name := type_name(type(one))) not in found:
            found.append(name)
    return printable(", ".join(found))


def place_of(error: BaseException) -> str:
    """The origin of an error: the innermost line outside of installed libraries, else the innermost."""
    while isinstance(error, BaseExceptionGroup) and (held := exceptions_in(error)):
        error = held[0]
    frames = traceback.extract_tb(traceback_of(error))
    if not frames:
        return ""
    own = [frame for frame in frames[1:] if "site-packages" not in frame.filename]
    frame = (own or frames)[-1]
    return f" ({frame.filename}, line {frame.lineno}, in {frame.name})"


def log_failed_callback(context: Mapping[str, Any]) -> None:
    """Log the error of an asyncio callback, or of a task that nobody awaits, as the loop tells it."""
    error = context.get("exception")
    message = context.get("message") or "an asyncio background task failed"
    told = in_short(error) if isinstance(error, BaseException) else "no exception"
    logger.error("%s: %s", printable(message), told)


def place_of_caller() -> str:
    """The line that has called into asyncio, or into the gate: the innermost one that is not theirs."""
    frames = [
        frame
        for frame in traceback.extract_stack()
        if not any(part in frame.filename for part in ("site-packages", "gatehouse", "asyncio"))
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def in_short(error: BaseException) -> str:
    """An error as its class and its place, in a line."""
    return f"{classes_in(error)}{place_of(error)}"
