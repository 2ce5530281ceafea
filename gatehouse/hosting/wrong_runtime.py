"""Notices that a hosted server on Trio needs asyncio, and names the setting that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastmcp.server.middleware import Middleware

from gatehouse.errors import exceptions_in, text_of
from gatehouse.http.mcp import printable
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from fastmcp.server.middleware import CallNext, MiddlewareContext

logger = logger_of("gate.upstream")

ADVICE = "this server runs on Trio, where asyncio does not: set UPSTREAM_RUNTIME=asyncio"

WORDS = (
    "no running event loop",
    "There is no current event loop",
    "library written for some other framework like asyncio",
    "unknown async library, or not in async context",
)
"""The texts of Python's, Trio's and sniffio's errors where code needs asyncio's loop and finds Trio."""

MAX_CAUSES = 10
"""How many causes of an error are looked at."""

MAX_TEXT = 1000
"""How many characters of a tool's text are looked at: some tools catch their errors, and answer with these."""

MAX_NAMES = 100
"""How many tools and the like are named in the log."""


class WrongRuntime(Middleware):
    """FastMCP's middleware, innermost, for a server on Trio: logs ADVICE once for each thing that fails for lack of asyncio."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        try:
            result = await call_next(context)
        except Exception as error:
            if needs_asyncio(error):
                self._tell(context)
            raise
        content = getattr(result, "content", None)
        if content and isinstance(content, list):
            text = getattr(content[0], "text", "")
            if isinstance(text, str) and speaks_of_asyncio(text[:MAX_TEXT]):
                self._tell(context)
        return result

    def _tell(self, context: MiddlewareContext[Any]) -> None:
        message = context.message
        name = str(getattr(message, "name", None) or getattr(message, "uri", ""))
        called = printable(f"{context.method} {name}")
        if called not in self._told and len(self._told) < MAX_NAMES:
            self._told.add(called)
            logger.error("%s failed for lack of asyncio: %s", called, ADVICE)


def speaks_of_asyncio(text: str) -> bool:
    """True if a text holds one of WORDS."""
    return any(words in text for words in WORDS)


def needs_asyncio(error: BaseException) -> bool:
    """True if an error, or one of its causes, comes from code that needs asyncio's loop."""
    pending: list[BaseException] = [error]
    for _ in range(MAX_CAUSES):
        if not pending:
            break
        one = pending.pop(0)
        if speaks_of_asyncio(text_of(one)):
            return True
        if isinstance(one, BaseExceptionGroup):
            pending += exceptions_in(one)[:MAX_CAUSES]
        pending += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
    return False
