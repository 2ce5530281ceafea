"""The lock in the hosted server: which tools, resources and prompts the token of a request may use.

It has the last word, since it sees each message as the server does. `lock` puts it in at two places:

-   Outermost in the MCP SDK's middleware, where every message comes by that any client sends, before
    anything else of the server sees it: `ToolLock.on_message_in`. Whose it is, the HTTP request tells that
    carried this very message, not the one that opened the session.
-   Outermost in FastMCP's middleware, where calls come by that tools make through the server: what a
    client can talk a tool into calling is judged as if the client had called it. Calls that the program
    makes of its own accord, in no request's course, pass.

A background task belongs to whoever began it: a token with lists may follow its own, as long as it may use
what the task is of, and nobody follows one that is known to be another's.

But for that, a token without lists passes everywhere. What a tool of a mounted or proxied server calls within
that server comes by at neither place: who is granted a tool that calls whatever it is told to is granted what
it can call.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from fastmcp.server.dependencies import get_http_headers, get_http_request
from fastmcp.server.middleware import Middleware
from mcp.shared.exceptions import MCPError

from gatehouse.hosting.caller import PRINCIPAL, name_in
from gatehouse.hosting.tasks import Task, Tasks, ids_in, task_id_in
from gatehouse.http.mcp import KINDS, TASK_LIST, TASK_METHODS, printable
from gatehouse.http.refusals import FORBIDDEN
from gatehouse.policy.tools import (
    HARMLESS_METHODS,
    granted,
    words_for,
    words_for_method,
)
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastmcp import FastMCP
    from fastmcp.server.middleware import CallNext, MiddlewareContext
    from mcp.server.context import HandlerResult, ServerRequestContext

    from gatehouse.http.mcp import Kind
    from gatehouse.identity.grants import Grants

    GrantsOf = Callable[[str], Grants | None]

logger = logger_of("gate.policy")

INVALID_PARAMS = -32602
"""JSON-RPC 2.0, section 5.1."""

STRANGER = "Forbidden: this request does not tell which token it came with, or there is no such token any more."


class List(NamedTuple):
    """Where in a list's answer the things are, and what tells their names: in JSON, and in FastMCP."""

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

LISTENED = frozenset({"promptsListChanged", "resourcesListChanged", "toolsListChanged"})
"""What anybody may listen for: news that name nothing."""


class Caller(NamedTuple):
    """The token that a message comes with."""

    name: str
    grants: Grants

    def check(self, method: str, params: Mapping[str, Any]) -> None:
        """Raises MCPError if the token may not send this message."""
        if not self.grants.restricted or method in HARMLESS_METHODS or method == TASK_LIST:
            return
        things = things_in(method, params)
        if things is None:
            logger.info("the token %s was refused %s", self.name, printable(method))
            raise MCPError(FORBIDDEN, words_for_method(self.name, method))
        for kind, thing in things:
            self.check_thing(method, kind, thing)

    def check_thing(self, method: str, kind: Kind, thing: str) -> None:
        """Raises MCPError if the token may not use what a message, or the task that it names, is about."""
        if not granted(self.grants, kind, thing):
            shown = "" if kind == "resources" else f" {printable(thing)}"
            logger.info("the token %s was refused %s%s", self.name, printable(method), shown)
            raise MCPError(FORBIDDEN, words_for(self.name, kind, thing))

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
    """Both of the lock's places. `grants_of` tells what a token may use by its name, None if there is none.

    What is refused is a JSON-RPC error. Its HTTP status is 200, which only the SDK chooses, and before
    2026-07-28 was sent before the message was looked at.
    """

    def __init__(self, grants_of: GrantsOf) -> None:
        self._grants_of = grants_of
        self._tasks = Tasks(lambda name: grants_of(name) is not None)

    async def on_message_in(
        self,
        ctx: ServerRequestContext[Any, Any],
        call_next: Callable[[ServerRequestContext[Any, Any]], Awaitable[HandlerResult]],
    ) -> HandlerResult:
        """The SDK's middleware. Raises MCPError for a request that may not be; drops a notification."""
        try:
            # What comes by no request has been sent by a tool, which has one, if by anybody known.
            name = name_in(ctx.request.scope) if ctx.request is not None else current_name()
            caller = self._caller(name or "")
            self._check(caller, ctx.method, ctx.params or {})
        except MCPError:
            if ctx.request_id is None:
                return None
            raise
        result = caller.shown(ctx.method, await call_next(ctx))
        result = self._note_tasks(caller, ctx.method, ctx.params or {}, result)
        if isinstance(result, dict) and result.get("cacheScope") == "public":
            # What is listed and read differs by token now, so none of it may be kept for others (SEP-2549).
            return {**result, "cacheScope": "private"}
        return cast("HandlerResult", result)

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """FastMCP's middleware. Raises MCPError for a call that may not be."""
        name = current_name()
        if name is None:
            return await call_next(context)
        caller = self._caller(name)
        if not caller.grants.restricted:
            return await call_next(context)
        method, message = context.method or "", context.message
        if method in TASK_METHODS or method == TASK_LIST:  # judged in the other place alone
            return await call_next(context)
        caller.check(method, message if isinstance(message, Mapping) else fields_of(message))
        return caller.shown(method, await call_next(context))

    def _check(self, caller: Caller, method: str, params: Mapping[str, Any]) -> None:
        """Raises MCPError if the token may not send this message, be it about a task or not."""
        for task_id in ids_in(method, params):
            self._check_task(caller, method, task_id)
        if method not in TASK_METHODS:
            caller.check(method, params)

    def _check_task(self, caller: Caller, method: str, task_id: Any) -> None:
        task = self._tasks.get(task_id)
        strange = caller.grants.restricted if task is None else task.name != caller.name
        if strange or not isinstance(task_id, str):  # how a server reads another id, nobody knows
            logger.info("the token %s was refused %s of a task not its own", caller.name, method)
            # FastMCP says the same of a task that there is not.
            which = f"Task {printable(task_id)}" if isinstance(task_id, str) else "Task"
            raise MCPError(INVALID_PARAMS, f"{which} not found")
        if task is not None:
            caller.check_thing(method, task.kind, task.thing)

    def _note_tasks(
        self, caller: Caller, method: str, params: Mapping[str, Any], result: Any
    ) -> Any:
        """Keep the ledger in step with an answer; the answer, without the tasks of others."""
        if method in KINDS and (task_id := task_id_in(result)):
            for kind, thing in things_in(method, params) or ():
                self._tasks.begun(task_id, Task(caller.name, kind, thing))
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
        return task.name == caller.name and granted(caller.grants, task.kind, task.thing)

    def _caller(self, name: str) -> Caller:
        grants = self._grants_of(name) if name else None
        if grants is None:
            raise MCPError(FORBIDDEN, STRANGER)
        return Caller(name, grants)


def lock(server: FastMCP[Any], grants_of: GrantsOf) -> None:
    """Lock the server, before it serves: no middleware of its own sees what is refused."""
    tool_lock = ToolLock(grants_of)
    server.middleware.insert(0, tool_lock)
    server._mcp_server.middleware.insert(0, tool_lock.on_message_in)  # noqa: SLF001 - nothing public has it


def current_name() -> str | None:
    """The name in the request in whose course this runs; None if the program runs it by itself."""
    try:
        return name_in(get_http_request().scope)
    except RuntimeError:
        # A background task of FastMCP's keeps the fields of the request that has begun it.
        return get_http_headers().get(PRINCIPAL.decode("ascii"))


def fields_of(message: object) -> Mapping[str, Any]:
    """The fields of a message that FastMCP has made an object of; none of one that it could not."""
    return getattr(message, "__dict__", {})


def things_in(method: str, params: Mapping[str, Any]) -> Sequence[tuple[Kind, str]] | None:
    """All that a message names, by kind; None if that cannot be told, or its method is not known."""
    named: list[tuple[Kind, Any]]
    if method in {"resources/read", "resources/subscribe", "resources/unsubscribe"}:
        named = [("resources", params.get("uri"))]
    elif kind := KINDS.get(method):
        named = [(kind, params.get("name"))]
    elif method == "completion/complete":
        named = [completed(params.get("ref"))]
    elif method == "subscriptions/listen":
        named = listened(params.get("notifications"))
    else:
        return None
    things = [(kind, thing) for kind, thing in named if isinstance(thing, str)]
    return things if len(things) == len(named) else None


def completed(ref: Any) -> tuple[Kind, Any]:
    """What an argument is completed for."""
    match ref:
        case {"type": "ref/prompt", "name": name}:
            return "prompts", name
        case {"type": "ref/resource", "uri": uri}:
            return "resources", uri
    return "prompts", None


def listened(notifications: Any) -> list[tuple[Kind, Any]]:
    """What a client wants to hear of."""
    if not isinstance(notifications, Mapping):
        return [("resources", None)]
    asked = {key: value for key, value in notifications.items() if key not in LISTENED}
    asked.pop("taskIds", None)  # judged by who has begun them
    uris = asked.pop("resourceSubscriptions", None) or []
    if asked or not isinstance(uris, list):  # extensions may add anything
        return [("resources", None)]
    return [("resources", uri) for uri in uris]


async def unknown_names(server: FastMCP[Any], grants_by_name: Mapping[str, Grants]) -> list[str]:
    """Sentences for those names in tokens' lists that nothing of the server has.

    To be called where the server runs, by nobody's request. Raises whatever the server's lists do.
    """
    has = await matchers_of(server)
    return [
        f"token {name}: its {kind} name `{glob}`, which no {kind[:-1]} of {server.name} is called"
        for name, grants in grants_by_name.items()
        for kind, matches in has.items()
        for glob in getattr(grants, kind) or ()
        if not matches(glob)
    ]


async def matchers_of(server: FastMCP[Any]) -> dict[Kind, Callable[[str], bool]]:
    """For each kind, what tells whether a glob means anything that the server has."""
    for provider in server.providers:  # the server's own lists leave out, quietly, who fails here
        await provider.list_tools()
    tools = {tool.name for tool in await server.list_tools(run_middleware=False)}
    prompts = {prompt.name for prompt in await server.list_prompts(run_middleware=False)}
    resources = await server.list_resources(run_middleware=False)
    templates = await server.list_resource_templates(run_middleware=False)
    uris = {str(resource.uri) for resource in resources}
    uris |= {template.uri_template for template in templates}

    def any_of(names: set[str], glob: str) -> bool:
        return any(fnmatchcase(name, glob) for name in names)

    def any_uri(glob: str) -> bool:
        return any_of(uris, glob) or any(made.matches(glob) is not None for made in templates)

    return {
        "tools": partial(any_of, tools),
        "resources": any_uri,
        "prompts": partial(any_of, prompts),
    }
