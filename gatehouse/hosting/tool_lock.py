"""The lock in the hosted server: it lets a request use only the tools, resources and prompts of its token.

It has the last word, since it sees each message as the server does. `lock` puts it in at two places:

-   Outermost in the MCP SDK's middleware, which every message of a client passes before the rest of the
    server sees it: `ToolLock.on_message_in`. The caller is taken from the HTTP request that carried this
    message, not from the one that opened the session.
-   Outermost in FastMCP's middleware, which the calls of tools through the server pass: a call that a client
    can talk a tool into is judged as if the client had made it. Calls that the program makes by itself,
    outside of any request, pass.

A background task belongs to the one who began it, by its id: a token with lists may follow its own tasks, as long
as it may use their things, and nobody may follow a task that is known to be another's.

Otherwise, a token without lists passes everywhere. Calls that a tool of a mounted or proxied server makes
within that server pass neither place: a grant of a tool that calls whatever it is told to is a grant of all
that it can call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from fastmcp.server.dependencies import get_http_headers, get_http_request
from fastmcp.server.middleware import Middleware
from mcp.shared.exceptions import MCPError

from gatehouse.hosting.caller import FIELDS, told_in
from gatehouse.hosting.tasks import Task, Tasks, ids_in, task_id_in
from gatehouse.hosting.things import things_in
from gatehouse.http.mcp import KINDS, TASK_LIST, TASK_METHODS, printable
from gatehouse.http.reply import FORBIDDEN
from gatehouse.identity.principal import is_token
from gatehouse.policy.tools import (
    HARMLESS_METHODS,
    granted,
    words_for,
    words_for_method,
)
from gatehouse.records.loggers import logger_of
from gatehouse.records.record import as_word
from gatehouse.upstream.inprocess import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastmcp import FastMCP
    from fastmcp.server.middleware import CallNext, MiddlewareContext
    from mcp.server.context import HandlerResult, ServerRequestContext

    from gatehouse.http.mcp import Kind
    from gatehouse.identity.callers import Callers
    from gatehouse.identity.grants import Grants

logger = logger_of("gate.policy")

INVALID_PARAMS = -32602
"""JSON-RPC 2.0, section 5.1."""

NOBODY: Mapping[str, Any] = {"headers": ()}

STRANGER = "Forbidden: this request does not tell which token it came with, or there is no such token any more."


GONE = "Forbidden: the one who sent this request is not let in any more."


class List(NamedTuple):
    """The place of the things in a list's answer, and of their names: in JSON, and in FastMCP."""

    kind: Kind
    member: str
    key: str
    attribute: str


LISTS = {
    "prompts/list": List("prompts", "prompts", "name", "name"),
    "resources/list": List("resources", "resources", "uri", "uri"),
    "resources/templates/list": List(
        "resources", "resourceTemplates", "uriTemplate", "uri_template"
    ),
    "tools/list": List("tools", "tools", "name", "name"),
}


class Caller(NamedTuple):
    """The one that a message comes from."""

    id: str
    """Tasks belong to it; a static token's is its name."""
    name: str
    grants: Grants
    request_id: str
    """The id of the HTTP request; empty if it is not known."""

    def check(self, method: str, params: Mapping[str, Any]) -> None:
        """Raise MCPError if the token may not send this message."""
        if not self.grants.restricted or method in HARMLESS_METHODS or method == TASK_LIST:
            return
        things = things_in(method, params)
        if things is None:
            self.log_refusal(shown_in_log(method))
            raise MCPError(FORBIDDEN, words_for_method(self.name, method))
        for kind, thing in things:
            self.check_thing(method, kind, thing)

    def check_thing(self, method: str, kind: Kind, thing: str) -> None:
        """Raise MCPError if the token may not use the thing of a message, or of the task that it names."""
        if not granted(self.grants, kind, thing):
            shown = "" if kind == "resources" else f" {shown_in_log(thing)}"
            self.log_refusal(f"{shown_in_log(method)}{shown}")
            raise MCPError(FORBIDDEN, words_for(self.name, kind, thing))

    def log_refusal(self, refused: str) -> None:
        """Log it, with the id by which the request's own line is found."""
        end = f", id {self.request_id}" if self.request_id else ""
        who = f"the token {self.name}" if is_token(self.id) else self.name
        logger.info("%s was refused %s%s", who, refused, end)

    def shown(self, method: str, result: Any) -> Any:
        """An answer without the things that the token may not use: an answer's JSON, or FastMCP's list."""
        if not self.grants.restricted or method not in LISTS:
            return result
        kind, member, key, attribute = LISTS[method]
        if isinstance(result, dict):
            things = [thing for thing in result[member] if granted(self.grants, kind, thing[key])]
            return {**result, member: things}
        return [
            thing for thing in result if granted(self.grants, kind, str(getattr(thing, attribute)))
        ]


class ToolLock(Middleware):
    """The lock at both places. `callers` knows who is let in, and what each may do.

    A refusal is a JSON-RPC error. Its HTTP status is 200: only the SDK chooses that, and before
    2026-07-28 sends it before it looks at the message.
    """

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._tasks = Tasks(callers.lives)

    async def on_message_in(
        self,
        ctx: ServerRequestContext[Any, Any],
        call_next: Callable[[ServerRequestContext[Any, Any]], Awaitable[HandlerResult]],
    ) -> HandlerResult:
        """The SDK's middleware. Raises MCPError for a refused request; drops a refused notification."""
        try:
            # A message without an HTTP request comes from a tool, whose own request tells the
            # caller, if any.
            scope = ctx.request.scope if ctx.request is not None else current_scope()
            caller = self._caller(scope or NOBODY)
            self._check(caller, ctx.method, ctx.params or {})
        except MCPError:
            if ctx.request_id is None:
                return None
            raise
        result = caller.shown(ctx.method, await call_next(ctx))
        result = self._note_tasks(caller, ctx.method, ctx.params or {}, result)
        if isinstance(result, dict) and result.get("cacheScope") == "public":
            # Lists and contents now differ by token, so no cache may keep them for others (SEP-2549).
            return {**result, "cacheScope": "private"}
        return cast("HandlerResult", result)

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """FastMCP's middleware. Raises MCPError for a refused call."""
        scope = current_scope()
        if scope is None:
            return await call_next(context)
        caller = self._caller(scope)
        if not caller.grants.restricted:
            return await call_next(context)
        method, message = context.method or "", context.message
        if method in TASK_METHODS or method == TASK_LIST:  # judged only at the other place
            return await call_next(context)
        caller.check(method, message if isinstance(message, Mapping) else fields_of(message))
        return caller.shown(method, await call_next(context))

    def _check(self, caller: Caller, method: str, params: Mapping[str, Any]) -> None:
        """Raise MCPError if the token may not send this message, whether about a task or not."""
        for task_id in ids_in(method, params):
            self._check_task(caller, method, task_id)
        if method not in TASK_METHODS:
            caller.check(method, params)

    def _check_task(self, caller: Caller, method: str, task_id: Any) -> None:
        task = self._tasks.get(task_id)
        strange = caller.grants.restricted if task is None else task.owner != caller.id
        if strange or not isinstance(task_id, str):  # nobody knows how a server reads another id
            caller.log_refusal(f"{shown_in_log(method)} of a task not its own")
            # FastMCP says the same of an unknown task.
            which = f"Task {printable(task_id)}" if isinstance(task_id, str) else "Task"
            raise MCPError(INVALID_PARAMS, f"{which} not found")
        if task is not None:
            caller.check_thing(method, task.kind, task.thing)

    def _note_tasks(
        self, caller: Caller, method: str, params: Mapping[str, Any], result: Any
    ) -> Any:
        """Keep the ledger in step with an answer; return the answer without the tasks of others."""
        if method in KINDS and (task_id := task_id_in(result)):
            for kind, thing in things_in(method, params) or ():
                self._tasks.begun(task_id, Task(caller.id, kind, thing))
        elif method == TASK_LIST:
            if not isinstance(result, dict):
                result = result.model_dump(by_alias=True, mode="json", exclude_none=True)
            shown = [task for task in result["tasks"] if self._may_see(caller, task)]
            return {**result, "tasks": shown}
        return result

    def _may_see(self, caller: Caller, listed: Any) -> bool:
        task = self._tasks.get(task_id_in(listed))
        if task is None:
            return not caller.grants.restricted
        return task.owner == caller.id and granted(caller.grants, task.kind, task.thing)

    def _caller(self, scope: Mapping[str, Any]) -> Caller:
        told = told_in(scope)
        grants = self._callers.grants_of(told.reference) if told else None
        if told is None or grants is None:
            raise MCPError(FORBIDDEN, STRANGER if told is None or is_token(told.id) else GONE)
        return Caller(told.id, told.name, grants, scope.get(REQUEST_ID, ""))


def lock(server: FastMCP[Any], callers: Callers) -> None:
    """Lock the server before it serves: its own middleware sees no refused message."""
    tool_lock = ToolLock(callers)
    server.middleware.insert(0, tool_lock)
    server._mcp_server.middleware.insert(0, tool_lock.on_message_in)  # noqa: SLF001 - nothing public has it


def current_scope() -> Mapping[str, Any] | None:
    """The scope of the request during which this runs; None if the program runs this by itself."""
    try:
        return get_http_request().scope
    except RuntimeError:
        # FastMCP's background tasks keep the fields of the request that began them.
        fields = get_http_headers()
        kept = {name: fields.get(name.decode("ascii")) for name in FIELDS}
        told = [
            (name, value.encode("latin-1")) for name, value in kept.items() if value is not None
        ]
        return {"headers": told} if told else None


def shown_in_log(chosen: str) -> str:
    """A client's word, fit for a line: nothing in it passes for the rest of that, such as another request's id."""
    return as_word(printable(chosen))


def fields_of(message: object) -> Mapping[str, Any]:
    """The fields of a message that FastMCP has parsed; none if it could not."""
    return getattr(message, "__dict__", {})
