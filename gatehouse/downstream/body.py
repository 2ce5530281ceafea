"""The client's body on its way in."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import trio

from gatehouse.downstream.bodies import SMALL_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hypercorn.typing import ASGIReceiveCallable

    from gatehouse.downstream.bodies import Bodies
    from gatehouse.http.calls import Kept
    from gatehouse.http.limits import Limits

LINGER_BYTES = 1024 * 1024
"""How many bytes of a refused body are still read, so that the client reads the refusal instead of a reset
connection (RFC 9112 section 9.6)."""

HEAD_SECONDS = 5.0
"""How long the head of an answer may take to come after the client has left, if it must be seen."""

MIN_BYTES_PER_SECOND = 1024
"""A body that comes faster than this, and is never silent for BODY_SECONDS, may take as long as it is large."""


class ClientLeftError(Exception):
    """The client went away before its request was complete."""


class BodyTooLargeError(Exception):
    """The request's body is larger than MAX_BODY_BYTES."""


class RequestBody(httpx.AsyncByteStream):
    """The client's body as httpx asks for it: one chunk at a time, so the upstream sets the pace.

    Written as an iterator, not as a generator, so that a transport may stop asking half-way. Raises
    ClientLeftError, BodyTooLargeError or BodiesFullError. Only the time that we wait for the client
    counts against it.
    """

    def __init__(self, receive: ASGIReceiveCallable, length: int | None, limits: Limits) -> None:
        self._receive = receive
        self._length = length
        self._limits = limits
        self._bodies: Bodies | None = None
        self._owner = ""
        self._counted = 0
        self._waited = 0.0
        self.patience = trio.CancelScope()
        """Around the wait for the response's head. Its deadline is the client's while we wait for a
        chunk (`awaited`), and the upstream's otherwise."""
        self.awaited = False
        self.size = 0
        self.released = trio.Event()
        """Set when `receive` is free for another caller."""
        self.ended = trio.Event()
        """Set when the body has been read to its end, or the client has left before."""
        self.kept: Kept | None = None
        """Gets the chunks as the upstream does, if somebody wants to read them later."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self.ended.is_set() and self.size != self._length:
            began = trio.current_time()
            silence = self._limits.body_seconds
            credit = self.size / MIN_BYTES_PER_SECOND - self._waited
            self.patience.deadline = began + silence + min(credit, 0.0)
            self.awaited = True
            chunk = await self._next()
            self.awaited = self.patience.cancel_called  # then the chunk came too late, if only just
            self._waited += trio.current_time() - began
            if self.size > self._limits.body_bytes:
                raise BodyTooLargeError
            self._count(self.size)
            if chunk:
                if self.kept is not None:
                    self.kept.feed(chunk)
                self._give_the_word()
                return chunk
        self._give_the_word()
        self.released.set()
        raise StopAsyncIteration

    def admit(self, bodies: Bodies, name: str) -> None:
        """Count the body among `bodies` for that name, until `give_back`. Raises BodiesFullError before a byte of it is read."""
        self._bodies, self._owner = bodies, name
        self._count(self._length or 0)

    def give_back(self) -> None:
        """Give the body's room back."""
        if self._counted and self._bodies is not None:
            self._bodies.give_back(self._owner, self._counted)
        self._counted, self._bodies = 0, None

    def hurry(self, needs: Callable[[float], object]) -> None:
        """The client has left: wait for the response's head for HEAD_SECONDS more at the most, and tell `needs` so."""
        needs(HEAD_SECONDS)
        self.patience.deadline = min(self.patience.deadline, trio.current_time() + HEAD_SECONDS)

    def _count(self, size: int) -> None:
        if size > SMALL_BYTES and size > self._counted and self._bodies is not None:
            self._bodies.take(self._owner, size - self._counted)
            self._counted = size

    def _give_the_word(self) -> None:
        self.patience.deadline = trio.current_time() + self._limits.upstream_seconds

    async def read_out(self) -> None:
        """Read on to the end and drop the chunks, unless there are too many; `ended` tells which."""
        enough = self.size + LINGER_BYTES
        with suppress(ClientLeftError):
            while not self.ended.is_set() and self.size < enough:
                await self._next()

    async def discard(self) -> None:
        """Drop all input, and return when the client has left."""
        with suppress(ClientLeftError):
            while True:
                await self._next()

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            # A disconnect may come in place of the last chunk, so it is never the end of a body.
            self.ended.set()
            raise ClientLeftError
        self.size += len(message["body"])
        if not message["more_body"]:
            self.ended.set()
        return message["body"]
