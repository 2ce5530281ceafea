"""The page of tokens before a real gate: a new token is good at once, and a revoked one is over at once."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import trio

from gatehouse.identity.subject import Subject
from gatehouse.tokens.value import VALUE_PATTERN
from tests.harness.dashboard import ORIGIN
from tests.harness.house import one_way, open_house
from tests.harness.leaks import pieces_in
from tests.harness.wire import Head, Peer, answer, until_gone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.harness.house import House

pytestmark = one_way

ISSUER = "https://id.example"
SETTINGS: dict[str, Any] = {
    "sign_in": ISSUER,
    "sign_in_client_id": "gate",
    "sign_in_client_secret": "a-secret-of-the-client-at-the-provider",
    "admins": "sub:1",
    "public_url": ORIGIN,
    "state_db": "",
}
OURS = (
    b"Origin: " + ORIGIN.encode(),
    b"Sec-Fetch-Site: same-origin",
    b"Content-Type: application/x-www-form-urlencoded",
)


class Admin:
    """The browser of somebody who is signed in at a gate with a dashboard."""

    def __init__(self, house: House) -> None:
        self.house = house
        assert house.parts.dashboard is not None
        assert house.parts.dashboard.sessions is not None
        admin = Subject("person", ISSUER, "1", shown="person:alice")
        _, cookie = house.parts.dashboard.sessions.begin(admin)
        self.cookie = b"Cookie: " + cookie.partition(b";")[0]

    async def page(self) -> str:
        head, body = await self.house.request(b"/dashboard/tokens", self.cookie, token=False)
        assert head.status == 200
        return body.decode()

    async def send(self, action: str, **fields: str) -> str:
        """Send a form of the page; the page that comes then."""
        mark = re.findall(r'name="form_token" value="([^"]+)"', await self.page())[0]
        body = urlencode({"form_token": mark, **fields}).encode()
        path = f"/dashboard/tokens/{action}".encode()
        head, page = await self.house.request(
            path, self.cookie, *OURS, method=b"POST", body=body, token=False
        )
        assert head.status in {200, 303}, page
        return page.decode()

    async def new_value(self, action: str, **fields: str) -> str:
        (value,) = set(VALUE_PATTERN.findall(await self.send(action, **fields)))
        return str(value)

    async def status_with(self, value: str) -> int:
        bearer = f"Authorization: Bearer {value}".encode()
        head, _ = await self.house.request(b"/mcp", bearer, method=b"POST", body=b"{}", token=False)
        return head.status

    async def until(self, value: str, status: int) -> None:
        """Wait until the endpoint answers that to the value."""
        with trio.fail_after(5):
            while await self.status_with(value) != status:
                await trio.sleep(0.02)


async def stream_events(peer: Peer, _: Head) -> None:
    await peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"9\r\ndata: 1\n\n\r\n"
    )
    await until_gone(peer)


async def test_a_token_is_made_used_rotated_and_revoked_and_its_stream_ends(
    way: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    async with open_house(**SETTINGS, **way, background=True) as house:
        admin = Admin(house)
        house.upstream.script = answer(b"{}")
        assert "which is still to be made" in await admin.page()
        first = await admin.new_value("make", name="laptop", note="hers")
        await admin.until(first, 200)
        page = await admin.page()
        assert re.search(r"\d+ seconds? ago", page)
        newest = re.findall(r'name="newest" value="(\w+)"', page)[0]
        second = await admin.new_value("rotate", name="laptop", overlap="0s", newest=newest)
        await admin.until(second, 200)
        await admin.until(first, 401)
        house.upstream.script = stream_events
        async with (await house.connect()).stream as stream:
            peer = Peer(stream)
            bearer = f"Authorization: Bearer {second}".encode()
            await peer.send(house.raw(b"/mcp", bearer, token=False))
            await peer.head()
            assert (await peer.chunk()).startswith(b"data: 1\n\n")
            await admin.send("revoke", name="laptop")
            await admin.until(second, 401)
            with trio.fail_after(10):
                while await peer.chunk():
                    pass
    kept = caplog.text + (tmp_path / "tokens.toml").read_text()
    for value in (first, second):
        assert not pieces_in(kept, value.removeprefix("mcpgate_"))
    for line in (
        "person:alice made the token laptop",
        "person:alice rotated the token laptop",
        "person:alice revoked the token laptop",
    ):
        assert line in caplog.text
