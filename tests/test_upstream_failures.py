"""When the upstream fails: a clear 502 before the answer began, a cut one after."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio

from tests.conftest import House
from tests.wire import Head, Peer, answer


def assert_bad_gateway(head: Head, body: bytes) -> None:
    assert head.status == 502
    assert head.get(b"Content-Type") == b"application/json"
    assert json.loads(body)["error"]["code"] == -32012


async def test_an_upstream_that_refuses_is_502_and_serves_again_once_it_is_back(
    house: House, nursery: trio.Nursery
) -> None:
    await house.upstream.stop()
    with trio.fail_after(2):
        head, body = await house.request(method=b"POST", body=b"{}")
    assert_bad_gateway(head, body)
    assert head.get(b"Retry-After") is not None
    await nursery.start(house.upstream.serve)
    head, _ = await house.request(method=b"POST", body=b"{}")
    assert head.status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"HTTP/1.1 2",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"\x00" * 300,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 30_000,
    ],
)
async def test_an_upstream_that_dies_or_babbles_before_its_head_is_502(
    house: House, garbage: bytes
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(garbage)
        await peer.stream.aclose()

    house.upstream.script = script
    for _ in range(2):
        assert_bad_gateway(*await house.request(method=b"POST", body=b"{}"))
    house.upstream.script = answer()
    assert (await house.request())[0].status == 200


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfxx",
    ],
)
async def test_an_answer_that_breaks_off_is_cut_for_the_client_too(
    house: House, cut: bytes
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(cut)
        await peer.stream.aclose()

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(house.raw())
    head = await peer.head()
    assert head.status == 200
    with pytest.raises((EOFError, trio.BrokenResourceError)):
        await peer.body(head)
    await peer.stream.aclose()
    house.upstream.script = answer()
    assert (await house.request())[0].status == 200


@pytest.mark.parametrize(
    "status",
    [b"301 Moved", b"302 Found", b"303 See", b"307 Temporary", b"308 Permanent", b"300 Choices"],
)
async def test_a_redirect_is_never_relayed_and_the_log_names_the_setting(
    house: House, status: bytes, access_log: pytest.LogCaptureFixture
) -> None:
    location = b"Location: http://127.0.0.1:7870/secret-place/?a=1"
    house.upstream.script = answer(b"moved", location, status=status)
    head, body = await house.request(method=b"POST", body=b"{}")
    assert_bad_gateway(head, body)
    assert b"secret-place" not in head.raw + body
    assert head.get(b"Location") is None
    assert any("UPSTREAM_PATH" in record.getMessage() for record in access_log.records)


async def test_a_switch_of_protocols_is_not_relayed(house: House) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        await trio.sleep_forever()

    house.upstream.script = script
    assert_bad_gateway(*await house.request())


async def test_what_the_upstream_sends_too_much_never_reaches_the_next_request(
    house: House,
) -> None:
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    async def script(peer: Peer, head: Head) -> None:
        await peer.body(head)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" + poison)

    house.upstream.script = script
    for _ in range(3):
        head, body = await house.request(method=b"POST", body=b"{}")
        assert (head.status, body) == (200, b"{}")


async def test_an_upstream_that_answers_an_upload_early_is_heard(
    house: House,
) -> None:
    async def script(peer: Peer, head: Head) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nbig!")
        await peer.stream.aclose()

    house.upstream.script = script
    peer = await house.connect()
    await peer.send(house.raw(b"/mcp", b"Content-Length: 3000000", method=b"POST"))
    async with trio.open_nursery() as nursery:

        async def upload() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.stream.send_all(b"x" * 3_000_000)

        nursery.start_soon(upload)
        head = await peer.head()
        assert head.status in (413, 502)
        await peer.body(head)
        nursery.cancel_scope.cancel()
    await peer.stream.aclose()
