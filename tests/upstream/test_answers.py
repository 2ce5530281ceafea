"""Answers of the upstream, as they are read."""

from __future__ import annotations

import random
import runpy
from typing import TYPE_CHECKING, Any

import h11
import httpcore
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.scheduling.turns import Turns
from gatehouse.upstream import answers
from gatehouse.upstream.answers import Connection
from tests.harness.wire import Head, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Script = Callable[[Peer, Head], Awaitable[None]]


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (httpcore.AsyncHTTP11Connection, "_receive_event READ_NUM_BYTES"),
        (h11.Connection, "next_event receive_data trailing_data their_state"),
        (h11, "SEND_BODY SEND_RESPONSE NEED_DATA Data Response InformationalResponse"),
    ],
)
def test_without_a_name_that_it_needs_nothing_starts(
    owner: Any, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runpy.run_path(answers.__file__)
    for name in names.split():
        with monkeypatch.context() as without:
            without.delattr(owner, name)
            with pytest.raises(AttributeError, match=name):
                runpy.run_path(answers.__file__)


class Cut(httpcore.AsyncNetworkStream):
    """Hands out an answer in the pieces into which it has been cut."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None: ...

    async def aclose(self) -> None: ...

    def get_extra_info(self, info: str) -> Any: ...


@settings(max_examples=60)
@given(
    chunks=st.lists(
        st.one_of(st.binary(min_size=1, max_size=9), st.just(b"\n" * 300), st.just(bytes(70_000))),
        max_size=40,
    ),
    interim=st.integers(0, 5),
    trailers=st.integers(0, 100),
    cuts=st.integers(0, 200),
    seed=st.integers(0, 2**32),
)
def test_however_an_answer_is_chunked_and_cut_its_body_is_the_same(
    chunks: list[bytes], interim: int, trailers: int, cuts: int, seed: int
) -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + CHUNKED
    whole += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    whole += b"0\r\n" + b"A: b\r\n" * trailers + b"\r\n"
    chance = random.Random(seed)  # noqa: S311
    ends = [*sorted(chance.randrange(1, len(whole)) for _ in range(cuts)), len(whole)]
    pieces = [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    body, left, idle = trio.run(received, [piece for piece in pieces if piece])
    assert (body, left, idle) == (b"".join(chunks), b"", True)


async def received(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    """The body of an answer in these pieces, what is left of them, and whether the connection is free."""
    origin = httpcore.Origin(b"http", b"upstream", 80)
    connection = Connection(origin, Cut(pieces), Turns())
    response = await connection.handle_async_request(
        httpcore.Request("POST", "http://upstream", headers=[("Host", "upstream")])
    )
    body = await response.aread()
    await response.aclose()
    return body, connection.unread, connection.is_idle()
