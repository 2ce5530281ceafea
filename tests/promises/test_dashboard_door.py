"""The door of the dashboard on real sockets: a session opens the dashboard and nothing else, a token opens all but the
dashboard, and no browser can make the gate hang, fail loudly or do what its page did not ask for.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from gatehouse.http import refusals
from gatehouse.http.paths import ExposedPaths
from gatehouse.identity.who_signs_in import PeopleWhoSignIn
from gatehouse.pages.dashboard.dashboard import Dashboard
from gatehouse.pages.dashboard.door import Door
from gatehouse.pages.dashboard.entry import Entry
from gatehouse.pages.dashboard.forms import MAX_FORM_BYTES
from gatehouse.pages.dashboard.shell import Shell
from gatehouse.pages.table import Pages
from gatehouse.policy.failures import Failures
from gatehouse.policy.origins import Origins
from gatehouse.signin.cookies import Jar
from gatehouse.signin.ended import Ended
from gatehouse.signin.provider import Provider
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sessions import BrowserSessions
from gatehouse.signin.sign_in import SignIn
from gatehouse.signin.visitors import Visitors
from tests.harness.dashboard import ORIGIN
from tests.harness.house import one_way, open_house
from tests.harness.identity.paper_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    PaperProvider,
    unix_time,
)
from tests.harness.program import TOKEN
from tests.harness.wire import Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Visit
    from tests.harness.house import House

pytestmark = one_way

SECRET = b"a secret of the tests, long enough"
ALICE = "alice-0001"
FORM = b"Content-Type: application/x-www-form-urlencoded"
OURS = (b"Origin: " + ORIGIN.encode(), b"Sec-Fetch-Site: same-origin", FORM)
MAKE = b"/dashboard/tokens/make"
SIGNS_IN: dict[str, Any] = {
    "sign_in": ISSUER,
    "sign_in_client_id": "gate",
    "sign_in_client_secret": "a-secret-of-the-client-at-the-provider",
    "admins": f"sub:{ALICE}",
    "public_url": ORIGIN,
    "state_db": "",
}
"""The house knows that it has a dashboard, and keeps the cookies of one to itself."""


class Office:
    """The dashboard of a house, with a provider that needs no socket."""

    def __init__(self, house: House, admins: list[str]) -> None:
        self.house = house
        self.made: list[str] = []
        self.paper = PaperProvider()
        jar = Jar(secure=True)
        sessions = BrowserSessions(
            Sealer(SECRET, "session", clock=unix_time),
            jar,
            Ended(None, clock=unix_time),
            issuer=ISSUER,
            clock=unix_time,
        )
        visitors = Visitors(
            PeopleWhoSignIn(admins), sessions, None, front_required=False, secret=SECRET
        )
        provider = Provider(self.paper.ask, ISSUER, CLIENT_ID, CLIENT_SECRET, clock=unix_time)
        sealer = Sealer(SECRET, "login", clock=unix_time)
        views = {
            b"/dashboard": self.page,
            b"/dashboard/tokens": self.page,
            b"/dashboard/check": self.fail,
        }
        shell = Shell(views, name=lambda: "FoodWise", provider="Example", front="")
        door = Door(
            origin=ORIGIN,
            origins=Origins([], [], loopback=False, public=ORIGIN),
            visitors=visitors,
            notices=shell.notices,
        )
        entry = Entry(
            sign_in=SignIn(provider, sealer, jar, origin=ORIGIN, clock=unix_time),
            sessions=sessions,
            visitors=visitors,
            door=door,
            notices=shell.notices,
            failures=Failures(None),
        )
        dashboard = Dashboard(
            door,
            views,
            {MAKE: self.make},
            open_views=entry.views,
            open_actions=entry.actions,
            shell=shell,
        )
        table = dict.fromkeys(dashboard.paths, dashboard)
        house.gate.pages = Pages(table, ExposedPaths([]), judge_methods=dashboard.paths)

    async def page(self, visit: Visit) -> Reply:
        title = f"mark {visit.form_token}"
        return await visit.page("notice.html", title=title, words="x", link=("y", "/dashboard"))

    async def make(self, visit: Visit, form: Form) -> Reply:
        self.made.append(form.text("name"))
        return visit.see("/dashboard/tokens")

    async def fail(self, visit: Visit) -> Reply:
        raise RuntimeError(visit.form_token)

    async def get(self, path: bytes, *fields: bytes, method: bytes = b"GET") -> tuple[Head, bytes]:
        return await self.house.request(path, *fields, method=method, token=False)

    async def sign_in(self) -> bytes:
        """The session's cookie as the browser sends it."""
        head, _ = await self.get(b"/dashboard/sign-in")
        query = self.paper.sends_back((head.get(b"location") or b"").decode())
        login = b"Cookie: " + (head.get(b"set-cookie") or b"").partition(b";")[0]
        head, _ = await self.get(b"/dashboard/callback?" + query, login)
        (session,) = [each for each in head.all(b"set-cookie") if b"Max-Age=0" not in each]
        return b"Cookie: " + session.partition(b";")[0]

    async def mark(self, session: bytes) -> bytes:
        """The mark of the forms of that session."""
        _, body = await self.get(b"/dashboard", session)
        return body.partition(b"<h1>mark ")[2].partition(b"</h1>")[0]


@asynccontextmanager
async def open_office(
    way: dict[str, Any], admins: list[str] | None = None, **settings: Any
) -> AsyncIterator[Office]:
    async with open_house(**SIGNS_IN, **way, **settings) as house:
        yield Office(house, [f"sub:{ALICE}"] if admins is None else admins)


async def test_a_session_opens_the_dashboard_and_nothing_else(way: dict[str, Any]) -> None:
    async with open_office(way) as office:
        session = await office.sign_in()
        head, body = await office.get(b"/dashboard", session)
        assert head.status == 200
        assert b"<h1>mark " in body
        head, body = await office.get(b"/mcp", session)
        assert (head.status, body) == (401, refusals.CHALLENGE.body)
        value = session.partition(b"=")[2]
        for carrier in (b"Authorization: Bearer ", b"X-API-Key: "):
            assert (await office.get(b"/mcp", carrier + value))[0].status == 401
        assert office.house.upstream.heads == []
        await office.house.request(b"/mcp", session + b"; theme=dark", method=b"POST", body=b"{}")
        assert office.house.upstream.head.all(b"cookie") == [b"theme=dark"]


async def test_a_token_opens_all_but_the_dashboard(way: dict[str, Any]) -> None:
    token = TOKEN.encode()
    async with open_office(way) as office:
        _, nobody = await office.get(b"/dashboard")
        for fields in (
            [b"Authorization: Bearer " + token],
            [b"X-API-Key: " + token],
            [b"Cookie: __Host-gate-session=" + token],
            [b"X-HF-Authorization: Bearer " + token],
            [b"Authorization: Bearer " + token] * 2,
        ):
            for path in (b"/dashboard", b"/dashboard/tokens", b"/dashboard/check"):
                head, body = await office.get(path, *fields)
                assert head.status == 401
                assert len(body) - len(nobody) in range(20)  # but for the way back and the nonce
            body = b"name=x&form_token="
            head, _ = await office.house.request(
                MAKE, *OURS, *fields, method=b"POST", body=body, token=False
            )
            assert head.status == 401
        head, _ = await office.get(b"/dashboard?key=" + token)
        assert head.status == 401
        assert office.made == []


async def test_who_signs_out_is_out_whatever_the_browser_has_kept(way: dict[str, Any]) -> None:
    async with open_office(way) as office:
        first, second = await office.sign_in(), await office.sign_in()
        mark = await office.mark(first)
        form = b"form_token=" + mark

        async def post(path: bytes, session: bytes) -> Head:
            head, _ = await office.house.request(
                path, *OURS, session, method=b"POST", body=form, token=False
            )
            return head

        assert (await post(b"/dashboard/sign-out", second)).status == 403  # the mark of another
        assert (await post(b"/dashboard/sign-out", first)).status == 303
        assert (await office.get(b"/dashboard", first))[0].status == 401
        assert (await post(MAKE, first)).status == 401
        assert (await office.get(b"/dashboard", second))[0].status == 200
        form = b"form_token=" + await office.mark(second)
        third = await office.sign_in()
        assert (await post(b"/dashboard/sign-out-everywhere", second)).status == 303
        for session in (second, third):
            assert (await office.get(b"/dashboard", session))[0].status == 401
        assert (await office.get(b"/dashboard", await office.sign_in()))[0].status == 200


async def test_somebody_off_the_list_gets_no_session_at_all(way: dict[str, Any]) -> None:
    async with open_office(way, ["sub:somebody-else"]) as office:
        head, _ = await office.get(b"/dashboard/sign-in")
        query = office.paper.sends_back((head.get(b"location") or b"").decode())
        login = b"Cookie: " + (head.get(b"set-cookie") or b"").partition(b";")[0]
        head, body = await office.get(b"/dashboard/callback?" + query, login)
        assert head.status == 403
        assert b"not on their list" in body
        assert all(b"=; Max-Age=0;" in each for each in head.all(b"set-cookie"))


async def test_a_form_comes_whole_in_pieces_and_the_connection_goes_on(
    way: dict[str, Any],
) -> None:
    async with open_office(way) as office:
        session = await office.sign_in()
        body = b"name=laptop&form_token=" + await office.mark(session)
        peer = await office.house.connect()
        async with peer.stream:
            head = office.house.raw(MAKE, *OURS, session, method=b"POST", body=body, token=False)
            await peer.send(head[: -len(body)])
            for place in range(0, len(body), 20):
                await trio.sleep(0.002)
                await peer.send(body[place : place + 20])
            assert (await peer.head()).status == 303
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
            fields = (*OURS, session, b"Transfer-Encoding: chunked")
            raw = office.house.raw(MAKE, *fields, method=b"POST", token=False)
            await peer.send(raw + chunks)
            assert (await peer.head()).status == 303
            await peer.send(office.house.raw(b"/dashboard", session, method=b"HEAD", token=False))
            head_alone = await peer.head()
            await peer.send(office.house.raw(b"/dashboard", session, token=False))
            whole = await peer.head()
            assert head_alone.status == whole.status == 200
            assert head_alone.get(b"content-length") == whole.get(b"content-length")
            await peer.body(whole)
        assert office.made == ["laptop", "laptop"]


async def test_a_form_that_is_too_large_too_slow_or_broken_off_ends_soon_and_does_nothing(
    way: dict[str, Any],
) -> None:
    async with open_office(way, body_seconds=0.2) as office:
        session = await office.sign_in()
        beginning = b"name=laptop&form_token=" + await office.mark(session)
        large = b"Content-Length: %d" % (MAX_FORM_BYTES + 1)
        for framing, body, status in (
            (large, b"", 413),
            (b"Transfer-Encoding: chunked", b"10001\r\n" + b"x" * (MAX_FORM_BYTES + 1), 413),
            (b"Content-Length: 5000", beginning, 408),
            (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(beginning), beginning), 408),
        ):
            peer = await office.house.connect()
            async with peer.stream:
                raw = office.house.raw(MAKE, *OURS, session, framing, method=b"POST", token=False)
                await peer.send(raw + body)
                with trio.fail_after(5):
                    head = await peer.head()
                    assert head.status == status
                    assert head.get(b"connection") == b"close"
                    assert b"Back to the page" in await peer.body(head)
        peer = await office.house.connect()
        raw = office.house.raw(
            MAKE, *OURS, session, b"Content-Length: 5000", method=b"POST", token=False
        )
        await peer.send(raw + beginning)
        await peer.reset()
        with trio.fail_after(5):
            while office.house.connections.open:
                await trio.sleep(0.005)
        assert office.made == []
        assert (await office.get(b"/dashboard", session))[0].status == 200


async def test_a_page_that_fails_ends_as_a_calm_page_and_one_line_without_its_words(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_office(way) as office:
        session = await office.sign_in()
        mark = await office.mark(session)
        caplog.clear()
        head, body = await office.get(b"/dashboard/check", session)
        assert head.status == 500
        assert b"Something failed" in body
        assert b"Traceback" not in body
        assert mark not in body
        assert head.get(b"x-frame-options") == b"DENY"
        assert b"default-src 'none'" in (head.get(b"content-security-policy") or b"")
    lines = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(lines) == 1
    assert lines[0].getMessage().startswith("failed on GET /dashboard/check: RuntimeError")
    assert mark.decode() not in caplog.text


async def test_paths_below_the_dashboard_that_are_none_say_no_more_than_any_other(
    way: dict[str, Any],
) -> None:
    async with open_office(way) as office:
        session = await office.sign_in()
        for path in (
            b"x",
            b"tokens/",
            b"assets/",
            b"assets/../door.py",
            b"assets/base.html",
            b"%2e",
        ):
            for fields in ((), (session,)):
                head, body = await office.get(b"/dashboard/" + path, *fields)
                assert (head.status, body) == (404, refusals.NOT_FOUND.body)


async def test_the_log_tells_who_asked_and_holds_neither_session_nor_mark(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with open_office(way) as office:
        session = await office.sign_in()
        mark = await office.mark(session)
        await office.get(b"/dashboard/tokens", session)
    assert "signed in" in caplog.text
    line = next(e.getMessage() for e in caplog.records if "/dashboard/tokens" in e.getMessage())
    assert "person:" in line
    assert session.partition(b"=")[2].decode() not in caplog.text
    assert mark.decode() not in caplog.text
