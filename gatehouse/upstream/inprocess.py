"""The hosted server without a port: its ASGI app is called directly, with the promises of a connection.

An httpx transport hands a request to the app and takes its answer back, chunk by chunk, so that the gate cannot
tell it from one over the network (httpx's own ASGITransport collects whole answers). The faster side waits: 64
KiB are on their way at a time, or one larger chunk. A client that leaves is `http.disconnect` to the app, which
may go on, as it may under uvicorn; the rest of its answer goes nowhere. An incomplete answer breaks off: the
app's failure never looks like the end of a body.

The app's tasks may run in another runtime of the same thread (`hosting/runtimes`). The two sides of a `Handover` may
therefore wait in different ways; setting an event of either kind is an ordinary call.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import unquote

import httpx
import trio

from gatehouse.errors import without_message
from gatehouse.http.reply import http_date
from gatehouse.records.loggers import logger_of
from gatehouse.upstream.base import BODILESS
from gatehouse.upstream.handover import Handover
from gatehouse.upstream.reached import Reached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from gatehouse.upstream.handover import Event

    App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

logger = logger_of("gate.upstream")


REQUEST_ID = "gate.request_id"
"""The place of the request's id in the ASGI scope that the hosted server gets, for the log."""


class AnswerCutError(Exception):
    """The app has failed in the middle of its answer, so the connection breaks off without an end of the body."""


class Runtime(Protocol):
    """Runs the tasks of an app: Trio, or asyncio in the same thread."""

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task of the app's."""

    def event(self) -> Event:
        """An event for the app's side to wait on."""


class Calls:
    """Takes the place of `Transports` and of the hosted server's port: it calls the app, once there is one."""

    keep_alive = True
    runtime: Runtime
    """Where the app runs. Only an app that has been imported tells."""

    def __init__(self, authority: str) -> None:
        self.authority = authority
        """The value of the Host field that the app gets, as it would over the network."""
        self.app: App | None = None
        self.reached = Reached()

    @contextmanager
    def reach(self, app: App, runtime: Runtime) -> Iterator[None]:
        """Until the block ends, call this app."""
        self.app, self.runtime = app, runtime
        self.reached.note(succeeded=True)
        try:
            yield
        finally:
            self.app = None
            self.reached.note(succeeded=False)

    async def is_reachable(self) -> bool:
        """True if the app can be called."""
        return self.app is not None

    async def take(self) -> Call:
        """A transport for one exchange."""
        return Call(self)

    async def sweep(self) -> None:
        """Do nothing: no connection is kept."""

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""


class Call(httpx.AsyncBaseTransport):
    """One exchange with the app: a transport that is used once.

    Raises httpx's exceptions: ConnectError if there is no app, TransportError if its answer breaks off.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._request = Handover(trio.Event, self._event)
        self._response = Handover(self._event, trio.Event)
        self._started = trio.Event()
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._bodiless = False
        self._request_whole = False
        self._response_whole = False
        self._left = False
        self._leaving: Event | None = None  # the app waits for it

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Start the app, feed it the body, and wait for the head of its answer."""
        app = self._calls.app
        if app is None:
            raise httpx.ConnectError("the server is not up")
        scope = scope_of(request)
        self._bodiless = request.method == "HEAD"
        self._calls.runtime.start(lambda: self._run(app, scope))
        async for chunk in cast("httpx.AsyncByteStream", request.stream):
            await self._request.give(chunk)
            if self._request.closed:  # the app is over, and has read enough
                break
        else:
            self._request_whole = True
            self._request.close()
        await self._started.wait()
        if self._head is None:
            raise httpx.TransportError("the app ended without an answer")
        status, headers = self._head
        return httpx.Response(status, headers=headers, stream=AnswerBody(self))

    @property
    def unread(self) -> bytes:
        """The bytes of the body that the app has sent and nobody has taken yet."""
        return self._response.held

    async def next_chunk(self) -> bytes | None:
        """The next chunk of the answer, or None at its end."""
        chunk = await self._response.take()
        if chunk is None and not self._response_whole:
            raise httpx.TransportError("the app ended in the middle of its answer")
        return chunk

    async def release(self, *, whole: bool) -> None:  # noqa: ARG002 - nothing is kept
        """Leave: the app is told, and the rest of its answer goes nowhere."""
        self._left = True
        self._request.close()
        self._response.close()
        if self._leaving is not None:
            self._leaving.set()

    # The app's side, in the app's own runtime.

    def _event(self) -> Event:
        return self._calls.runtime.event()

    async def _run(self, app: App, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - what fails is this exchange, not the server
            if not isinstance(error, AnswerCutError):  # which has been told
                logger.error("the server failed on %s: %s", scope["method"], without_message(error))
        finally:
            self._started.set()
            self._request.close()
            self._response.close()

    async def _receive(self) -> dict[str, Any]:
        chunk = await self._request.take()
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        if self._request_whole:
            self._request_whole = False  # told once; the next message says that the client has left
            return {"type": "http.request", "body": b"", "more_body": False}
        while not self._left:
            self._leaving = self._leaving or self._event()
            await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self._head is None:
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            if not any(name.lower() == b"date" for name, _ in headers):
                headers.append((b"date", http_date()))  # as uvicorn does: RFC 9110 section 6.6.1
            self._head = (message["status"], headers)
            self._bodiless = self._bodiless or message["status"] in BODILESS
            self._started.set()
        elif message["type"] == "http.response.body" and self._head and not self._response_whole:
            body = bytes(message.get("body", b""))
            if body and not self._bodiless:
                await self._response.give(body)
            if not message.get("more_body", False):
                self._response_whole = True
                self._response.close()
        else:
            raise RuntimeError(f"{message['type']} comes at the wrong time")


class AnswerBody(httpx.AsyncByteStream):
    """The chunks of the app's answer as it sends them."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._call.next_chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


@lru_cache(maxsize=16)
def server_at(host: bytes, scheme: str) -> tuple[str, int]:
    """The address that a hosted server is called by, as it stands in an ASGI scope: FastMCP's own check of Host, if
    it is switched on, lets that host in.
    """
    name, colon, port = host.decode("ascii").rpartition(":")
    if not colon or not port.isdecimal():  # `[::1]` holds colons, too
        name, port = host.decode("ascii"), "443" if scheme == "https" else "80"
    return name.removeprefix("[").removesuffix("]"), int(port)


def scope_of(request: httpx.Request) -> dict[str, Any]:
    """The ASGI scope for a request that the gate has made: ASGI specification, «HTTP connection scope»."""
    path, _, query = request.extensions["target"].partition(b"?")
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    fields = dict(headers)
    scheme = fields[b"x-forwarded-proto"].decode("ascii")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": (fields[b"x-forwarded-for"].decode("ascii"), 0),
        "server": server_at(fields[b"host"], scheme),
        "state": {},
        REQUEST_ID: request.extensions.get("id", ""),
        "extensions": {},
    }
