"""A FastMCP server for the tests that keeps its callers apart with stock means: `MCP_APP=callers_server:mcp`."""

from __future__ import annotations

from itertools import count
from threading import Event
from typing import TYPE_CHECKING, Any

from anyio import sleep
from fastmcp import Context, FastMCP
from fastmcp.server.auth import require_scopes
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.dependencies import get_access_token, get_http_request, get_session
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from fastmcp.server.sessions import SessionId, SessionProvider, UserSession
from mcp.server.auth.middleware.auth_context import get_access_token as sdk_access_token
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request

mcp: FastMCP[Any] = FastMCP("Callers")
mcp.add_middleware(ResponseCachingMiddleware(call_tool_settings={"included_tools": ["cached"]}))
mcp.add_provider(SessionProvider())

calls = count()


@mcp.custom_route("/webhook", methods=["GET", "POST", "PUT"])
@mcp.custom_route("/status", methods=["GET", "POST", "PUT"])
async def status(request: Request) -> JSONResponse:
    """The caller of a route outside the endpoint, and all that came with the request."""
    return JSONResponse(
        {
            "client_id": client_id(),
            "method": request.method,
            "query": request.url.query,
            "fields": dict(request.headers),
            "body": (await request.body()).decode(),
        }
    )


@mcp.tool
def cached() -> str:
    """An answer that the stock cache keeps."""
    return f"made for {client_id()}, {next(calls)}"


@mcp.resource("callers://me")
def me() -> str:
    """The same as a resource."""
    return f"read by {client_id()}, {next(calls)}"


@mcp.prompt
def greet() -> str:
    """The same as a prompt."""
    return f"greets {client_id()}, {next(calls)}"


def client_id() -> str | None:
    token = get_access_token()
    return token.client_id if token else None


@mcp.tool
def whoami() -> dict[str, Any]:
    """The caller, by every way in which a server may ask."""
    token, sdk, request = get_access_token(), sdk_access_token(), get_http_request()
    assert token is not None
    assert sdk is not None
    token.scopes.append("admin")  # of this call alone
    return {
        "client_id": token.client_id,
        "subject": token.subject,
        "claims": token.claims,
        "sdk": sdk.client_id,
        "user": request.user.display_name,
        "authenticated": request.user.is_authenticated,
        "scopes": request.auth.scopes,
        "token": token.token,
    }


@mcp.tool(auth=require_scopes("admin"))
def guarded() -> str:
    """For a scope that no token of the gate has."""
    return "opened"


@mcp.tool(auth=require_scopes())
def for_anybody_known() -> str:
    """For whoever is authenticated."""
    return "opened"


@mcp.tool
async def remember(note: str, session: UserSession) -> str:
    """Keep a note for the user."""
    await session.set("note", note)
    return "kept"


@mcp.tool
async def recall(session: UserSession) -> str:
    """The user's note."""
    return str(await session.get("note"))


@mcp.tool
async def put(session_id: SessionId, note: str) -> str:
    """Keep a note in a session."""
    await (await get_session(session_id)).set("note", note)
    return "kept"


@mcp.tool
async def look(session_id: SessionId) -> str:
    """The note in a session."""
    return str(await (await get_session(session_id)).get("note"))


@mcp.tool
async def in_two_rounds(ctx: Context) -> str | InputRequiredResult:
    """Ask the user something; the state in between is sealed."""
    if ctx.request_state is None:
        schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}}
        form = ElicitRequestFormParams(message="Sure?", requested_schema=schema)
        return InputRequiredResult(
            input_requests={"sure": ElicitRequest(params=form)},
            request_state=f"asked by {client_id()}",
        )
    return ctx.request_state


tasks: list[str] = []
TASKS = {"tasks/get", "tasks/cancel", "tasks/update", "tasks/result"}


@mcp.tool
def slow() -> str:
    """Runs as a background task."""
    raise NotImplementedError


async def in_background(ctx: Any, call_next: Any) -> Any:
    """Background tasks as an extension makes them, in the form of each era; it asks nobody who he is."""
    params = ctx.params or {}
    if ctx.method == "tools/call" and params.get("name") == "slow":
        tasks.append(f"task {next(calls)}")
        task = {"taskId": tasks[-1], "status": "working"}
        modern = ctx.protocol_version == "2026-07-28"
        return {"resultType": "task", **task} if modern else {"task": task}
    if ctx.method in TASKS and params["taskId"] in tasks:
        return {"taskId": params["taskId"], "status": "completed"}
    if ctx.method == "tasks/list":
        return {"tasks": [{"taskId": task_id} for task_id in tasks]}
    return await call_next(ctx)


mcp._mcp_server.middleware.append(in_background)  # noqa: SLF001 - as the extension for tasks does

waiting: list[Event] = []


@mcp.tool
def wait() -> str:
    """Wait for `release`."""
    waiting.append(Event())
    return "released" if waiting[-1].wait(10) else "never"


@mcp.tool
async def release() -> str:
    """Release whoever waits."""
    waiting.pop().set()
    return "done"


@mcp.tool
async def until_waiting() -> str:
    """Answer once somebody waits."""
    while not waiting:
        await sleep(0.01)
    return "waits"


with_auth: FastMCP[Any] = FastMCP("Own", auth=StaticTokenVerifier({"t": {"client_id": "c"}}))


class OwnWay(StaticTokenVerifier):
    """Finds out in a way of its own who calls."""

    def get_middleware(self) -> list[Any]:
        return []


with_auth_of_another_kind: FastMCP[Any] = FastMCP("Own", auth=OwnWay({"t": {"client_id": "c"}}))
