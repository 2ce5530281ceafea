"""An upstream over TLS: only the right one is asked, and the promises of plain HTTP hold."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from gatehouse.upstream.wire import Wire
from tests.harness.certificates import authority
from tests.harness.house import open_house
from tests.harness.program import TOKEN, Program, running
from tests.harness.wire import Head, Peer, Upstream, answer, until_gone

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Behave = Callable[[Peer], Awaitable[None]]

HUGGING_FACE = "Bearer hf_OnlyForTests0123456789"
CALL: dict[str, Any] = {"method": b"POST", "body": b"{}"}


async def hang_up(peer: Peer) -> None:
    await peer.stream.aclose()


async def babble(peer: Peer) -> None:
    await peer.receive()
    await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await until_gone(peer)


TROUBLES: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "expired": (lambda: authority().server(expired=True), "its certificate has expired"),
    "another name": (lambda: authority().server("10.9.8.7"), "its certificate is not for this"),
    "unknown authority": (
        lambda: authority("somebody").server(),
        "nobody whom this machine trusts has signed its certificate; if your own certificate",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_log_says_what_is_wrong_with_tls_and_nothing_is_sent(
    trouble: str, access_log: pytest.LogCaptureFixture
) -> None:
    make, words = TROUBLES[trouble]
    async with open_house(tls=True, upstream_authorization=HUGGING_FACE) as house:
        house.upstream.tls = make()
        head, body = await house.request(**CALL)
        assert head.status == 502
        assert b"UPSTREAM" not in body
        (line,) = [entry.message for entry in access_log.records if entry.name == "gate"]
        assert f"asked POST /mcp, failed: {words}" in line
        assert house.upstream.heads == []
        ready, _ = await house.request(b"/ready", token=False)
        assert ready.status == 503
    assert "hf_Only" not in access_log.text


async def test_an_upstream_that_hangs_up_or_speaks_http_without_tls_is_502(
    access_log: pytest.LogCaptureFixture,
) -> None:
    for behave in (hang_up, babble):

        async def serve(stream: trio.SocketStream, behave: Behave = behave) -> None:
            async with stream:
                with suppress(EOFError):
                    await behave(Peer(stream))

        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
            async with open_house(tls=True, upstream_url=url) as house:
                assert (await house.request(**CALL))[0].status == 502
            nursery.cancel_scope.cancel()
    assert access_log.text.count("it does not speak TLS at that port") == 2


async def test_the_name_is_told_in_the_handshake_and_in_host_and_the_credential_only_there() -> (
    None
):
    asked: list[str | None] = []
    context = authority().server("localhost")
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with open_house(tls=True, upstream_authorization=HUGGING_FACE) as other:
        port = other.upstream.port
        other.upstream.tls = context
        async with open_house(
            tls=True,
            upstream_url=f"https://localhost:{port}/api",
            upstream_authorization=HUGGING_FACE,
        ) as house:
            assert (await house.request(b"/mcp?x=1", b"X-HF-Authorization: Bearer hf_client"))[
                0
            ].status == 200
        head = other.upstream.head
        assert asked == ["localhost"]
        assert head.start_line == b"GET /api?x=1 HTTP/1.1"
        assert head.get(b"Host") == b"localhost:%d" % port
        assert head.get(b"Authorization") == HUGGING_FACE.encode()
        assert head.get(b"X-HF-Authorization") is None


async def test_a_request_that_crosses_the_upstreams_end_goes_out_once_more_only_if_the_upstream_has_said_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Wire, "is_spent", False)  # the look comes a moment before the end
    for says, status, heads in ((True, 200, 2), (False, 502, 1)):
        over = trio.Event()

        async def script(
            peer: Peer, head: Head, over: trio.Event = over, says: bool = says
        ) -> None:
            await answer()(peer, head)
            if house.upstream.connections == 1:
                await (peer.stream.aclose() if says else transport_of(peer).aclose())
                over.set()

        async with open_house(tls=True) as house:
            house.upstream.script = script
            assert (await house.request(**CALL))[0].status == 200
            await over.wait()
            assert (await house.request(**CALL))[0].status == status
            assert len(house.upstream.heads) == heads


async def test_a_request_that_the_upstream_may_have_read_is_never_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Wire, "is_spent", False)

    async def script(peer: Peer, head: Head) -> None:
        await (answer()(peer, head) if len(house.upstream.heads) == 1 else peer.body(head))
        if len(house.upstream.heads) > 1:
            await peer.stream.aclose()

    async with open_house(tls=True) as house:
        house.upstream.script = script
        assert (await house.request(**CALL))[0].status == 200
        assert (await house.request(**CALL))[0].status == 502
        assert len(house.upstream.heads) == 2
        assert house.upstream.connections == 1


RECORD = 16_384


async def test_no_answer_begins_with_what_another_left_over_in_a_record_that_nobody_had_opened() -> (
    None
):
    top = b"HTTP/1.1 200 OK\r\nContent-Length: "
    whole = top + b"%d\r\n\r\n" % (RECORD - len(top) - 9)
    first = whole + b"a" * (RECORD - len(whole))  # fills one record

    async def script(peer: Peer, head: Head) -> None:
        if len(house.upstream.heads) == 1:
            await peer.body(head)
            await peer.send(first + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
            await until_gone(peer)
        else:
            await answer(b"good")(peer, head)

    async with open_house(tls=True) as house:
        house.upstream.script = script
        assert (await house.request(**CALL))[0].status == 200
        assert (await house.request(**CALL))[1] == b"good"
        assert house.upstream.connections == 2


@pytest.mark.parametrize("says", [True, False])
async def test_an_answer_that_ends_with_its_connection_is_whole_only_if_the_upstream_has_said_so(
    says: bool,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it?")
        await (peer.stream.aclose() if says else transport_of(peer).aclose())

    async with open_house(tls=True) as house:
        house.upstream.script = script
        if says:
            assert (await house.request(**CALL))[1] == b"all of it?"
        else:
            with pytest.raises(EOFError):
                await house.request(**CALL)


def test_a_person_sets_one_url_and_the_credential_is_in_no_output(tmp_path: Path) -> None:
    trio.run(whole_program, tmp_path)


async def whole_program(folder: Path) -> None:
    upstream = Upstream(tls=authority().server())
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.serve)
        with running(
            folder,
            UPSTREAM_URL=f"https://127.0.0.1:{upstream.port}/mcp/",
            UPSTREAM_CA=str(authority().file),
            UPSTREAM_AUTHORIZATION=HUGGING_FACE,
            UPSTREAM_PORT="",
            EXPOSE_PATHS="/hook without token",
        ) as program:
            await trio.to_thread.run_sync(program.wait_for)
            assert (await trio.to_thread.run_sync(called, program)) == 200
            assert program.stop() == 0
        assert f"forwards to https://127.0.0.1:{upstream.port}/mcp/" in program.output
        assert "OnlyForTests" not in program.output
        assert "/hook; the server takes each such request as the gate's own" in program.output
        assert upstream.head.get(b"Authorization") == HUGGING_FACE.encode()
        nursery.cancel_scope.cancel()


def called(program: Program) -> int:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    return httpx.post(program.endpoint, headers=bearer, json={}, trust_env=False).status_code


def transport_of(peer: Peer) -> trio.SocketStream:
    """The connection under TLS."""
    assert isinstance(peer.stream, trio.SSLStream)
    return peer.stream.transport_stream
