"""The input of one connection: reads the socket when somebody asks, and in turns with everybody else.

A client that sends far more pieces than its bytes need works in a share of the loop that all such
clients have together. Clients without a good token wait for each other when thousands of them come at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from gatehouse.downstream.client_socket import ClientGoneError
from gatehouse.downstream.http1 import BadRequestError
from gatehouse.scheduling.turns import SLICE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.downstream.client_socket import ClientSocket
    from gatehouse.downstream.http1 import Http1, RequestHead
    from gatehouse.scheduling.turns import Crowd, LoopShare

MAX_PIECE_BYTES = 64 * 1024
"""The application gets all of a body that has arrived as one piece, up to about this size."""

MAX_AHEAD_BYTES = 64 * 1024
"""How many bytes behind an unanswered request are read ahead."""


class Incoming:
    """The requests of one connection, and their bodies. For one task at a time."""

    def __init__(
        self, http: Http1, socket: ClientSocket, *, share: LoopShare, crowd: Crowd
    ) -> None:
        self.requests = 0
        """How many requests have come."""
        self.proven = False
        """True if the last request has shown a good token: such connections go before all others."""
        self._http = http
        self._socket = socket
        self._share = share
        self._crowd = crowd
        self._turn_began = time.perf_counter()  # the last time that others had their turn

    async def request(self, begins: Callable[[], None]) -> RequestHead:
        """The head of the next request; `begins` is called each time that bytes of it have come.

        Raises BadRequestError or ClientGoneError.
        """
        while True:
            if self._turn_is_over:
                await self._pause()
            if head := self._http.request():
                break
            self._http.add(await self._read())
            if self._http.begun:
                begins()
        self.requests += 1
        if self.proven:
            self._http.count_anew()
        self.proven = False
        return head

    async def body(self) -> bytes:
        """The next part of the body: all pieces that have arrived, as one. Empty at the end.

        Raises BadRequestError or ClientGoneError.
        """
        while True:
            if self._turn_is_over:
                await self._pause()
            if (piece := self._http.data()) is not None:
                break
            self._http.add(await self._read())
        pieces = []
        size = 0
        while piece:
            pieces.append(piece)
            size += len(piece)
            if size >= MAX_PIECE_BYTES or self._turn_is_over:
                break
            piece = self._http.data()
        return b"".join(pieces)

    async def recycled(self) -> bool:
        """After an exchange, get ready for the next request. False if there can be none."""
        if not self._http.answered:
            return False
        try:
            while not self._http.request_read:  # the rest may have arrived; it is dropped
                if self._turn_is_over:
                    await self._pause()
                if self._http.data() is None:
                    return False
        except BadRequestError:
            return False
        return self._http.recycle()

    async def wait_for_end(self) -> None:
        """Raise ClientGoneError when the client leaves, and keep the bytes that it sends before."""
        while True:
            if self._http.unread >= MAX_AHEAD_BYTES:
                await self._socket.leave_unread()
            data = await self._read()
            if not self._http.client_has_finished:
                self._http.add(data)

    async def drop(self) -> None:
        """Drop whatever else comes. Raises ClientGoneError at the end of it."""
        self._http.close()
        while True:
            self._http.add(await self._read())

    async def _read(self) -> bytes:
        if self._http.costly:  # then more of it is there at the next turn
            await self._pause()
        data = await self._socket.read()
        if not self.proven:  # thousands may come at once, or leave
            newcomer = not self.requests and not self._http.unread
            try:
                await self._crowd.turn(newcomer=newcomer)
            except trio.Cancelled:
                self._http.add(data)
                raise
        if not data:
            raise ClientGoneError
        self._turn_began = time.perf_counter()
        return data

    @property
    def _turn_is_over(self) -> bool:
        """True if others must have their turn before the next piece of work."""
        return time.perf_counter() - self._turn_began > SLICE_SECONDS

    async def _pause(self) -> None:
        """Let others have their turn; a costly request waits for its own."""
        if self._http.costly:
            await self._share.turn()
        else:
            await trio.lowlevel.checkpoint()
        self._turn_began = time.perf_counter()
