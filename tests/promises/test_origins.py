"""From where a request may come, and to what: Host, Origin, CORS, and targets that lead elsewhere."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gate import Gate
from gatehouse.policy.origins import Origins, cors_headers, hostname, preflight
from gatehouse.settings.environment import Settings
from gatehouse.tokens.keyring import Keyring
from tests.harness.answers import answers, assert_no_banner, assert_rpc_error, said
from tests.harness.house import BEARER, House
from tests.harness.levels import unharmed
from tests.harness.paths import ODD
from tests.harness.program import TOKEN
from tests.harness.wire import Head, Peer, answer

Log = pytest.LogCaptureFixture

LOOPBACK = {"host": "127.0.0.1"}
LOOPBACK_V6 = {"host": "::1"}
PUBLIC = {"host": "0.0.0.0"}
SPACE = {"host": "0.0.0.0", "space_id": "u/s", "space_host": "u-s.hf.space,mcp.example"}
NAMED = {"host": "0.0.0.0", "allowed_hosts": "gate.example, [::2], OTHER.example"}
PAGES = {"host": "0.0.0.0", "allowed_origins": "https://app.example, http://dev.example:3000"}


def judged(given_settings: dict[str, str], host: bytes, origin: bytes | None = None) -> int:
    """The status of the refusal; 0 if there is none."""
    given = Settings(_env_file=None, **given_settings)  # type: ignore[arg-type]
    origins = Origins(given.hosts_allowed, given.allowed_origins, loopback=given.on_loopback)
    refusal = origins.refusal(host, origin)
    return refusal.status if refusal else 0


# Host (DNS rebinding: CVE-2025-66416).


@pytest.mark.parametrize("bind", [LOOPBACK, LOOPBACK_V6, {"host": "localhost"}])
@pytest.mark.parametrize(
    "host",
    [b"127.0.0.1", b"127.0.0.1:7860", b"localhost", b"LocalHost:1", b"127.9.9.9", b"[::1]:80"],
)
def test_a_loopback_bind_answers_to_every_loopback_name(bind: dict[str, str], host: bytes) -> None:
    assert judged(bind, host) == 0


@pytest.mark.parametrize(
    "host",
    [
        *(b"evil.example", b"evil.example:7860", b"127.0.0.1.evil.example", b"localhost.evil"),
        *(b"evil.localhost", b"localhost.", b"127.0.0.1.", b"127.1", b"2130706433", b"0x7f.1"),
        *(b"0.0.0.0", b"[::]", b"[::2]", b"192.168.0.1", b"127.0.0.1@evil.example", b"localhosts"),
        *(b"evil.example@127.0.0.1x", b"", b":80", b"[::1", b"::1", b"gate.example", b"\xff"),
        *(b"127.0.0.1,evil.example", b"127.0.0.\xb9", b"127.0.0.01", b"[g]"),
    ],
)
def test_a_loopback_bind_answers_to_no_other_name(host: bytes) -> None:
    assert judged(LOOPBACK, host) == 421


@pytest.mark.parametrize(
    ("bind", "host", "status"),
    [
        (SPACE, b"u-s.hf.space", 0),
        (SPACE, b"U-S.HF.Space:443", 0),
        (SPACE, b"mcp.example", 0),
        (SPACE, b"evil.hf.space", 421),
        (SPACE, b"u-s.hf.space.", 421),
        (SPACE, b"u-s.hf.space.evil.example", 421),
        (SPACE, b"127.0.0.1", 421),
        (SPACE, b"localhost", 421),
        (SPACE, b"", 421),
        ({**SPACE, "allowed_hosts": "only.example"}, b"only.example", 0),
        ({**SPACE, "allowed_hosts": "only.example"}, b"u-s.hf.space", 421),
        ({"host": "127.0.0.1", "space_host": "u-s.hf.space"}, b"u-s.hf.space", 421),
        (PUBLIC, b"whatever.example:99", 0),
        (PUBLIC, b"127.0.0.1", 0),
        (PUBLIC, b"[2001:db8::1]:80", 0),
        (NAMED, b"gate.example", 0),
        (NAMED, b"GATE.example:8443", 0),
        (NAMED, b"other.example", 0),
        (NAMED, b"[::2]:8443", 0),
        (NAMED, b"gate.example.", 421),
        (NAMED, b"a.gate.example", 421),
        (NAMED, b"gate.example.evil", 421),
        (NAMED, b"127.0.0.1", 421),
        ({**LOOPBACK, "allowed_hosts": "gate.example"}, b"gate.example", 0),
        ({**LOOPBACK, "allowed_hosts": "gate.example"}, b"localhost", 421),
    ],
)
def test_in_a_space_its_names_pass_elsewhere_any_unless_allowed_hosts_says_which(
    bind: dict[str, str], host: bytes, status: int
) -> None:
    assert judged(bind, host) == status


# Origin.


@pytest.mark.parametrize(
    ("bind", "host", "origin"),
    [
        (LOOPBACK, b"127.0.0.1:7860", None),
        (LOOPBACK, b"127.0.0.1:7860", b"http://127.0.0.1:7860"),
        (LOOPBACK, b"127.0.0.1:7860", b"http://localhost:6274"),
        (LOOPBACK, b"localhost", b"https://[::1]:3000"),
        (LOOPBACK, b"[::1]:7860", b"HTTP://LOCALHOST"),
        (PUBLIC, b"gate.example", None),
        (PUBLIC, b"gate.example", b"https://gate.example"),
        (PUBLIC, b"gate.example:443", b"https://gate.example"),
        (PUBLIC, b"gate.example", b"https://gate.example:443"),
        (PUBLIC, b"Gate.Example:80", b"http://gate.example"),
        (PUBLIC, b"gate.example:8080", b"http://gate.example:8080"),
        (PUBLIC, b"[2001:db8::1]:8080", b"http://[2001:db8::1]:8080"),
        (SPACE, b"u-s.hf.space", b"https://u-s.hf.space"),
        (PAGES, b"gate.example", b"https://app.example"),
        (PAGES, b"gate.example", b"HTTPS://App.Example"),
        (PAGES, b"gate.example", b"http://dev.example:3000"),
        ({**PUBLIC, "allowed_origins": "vscode-webview://x1"}, b"a", b"vscode-webview://x1"),
    ],
)
def test_no_origin_the_same_host_loopback_pages_and_allowed_origins_pass(
    bind: dict[str, str], host: bytes, origin: bytes | None
) -> None:
    assert judged(bind, host, origin) == 0


TRICKS = [
    *(b"null", b"", b"*", b"http://", b"://", b"https://evil.example", b"http://evil.example:80"),
    *(
        b"http://127.0.0.1@evil.example",
        b"http://127.0.0.1:80@evil.example",
        b"http://127.0.0.1:80:80",
    ),
    *(
        b"http://localhost.evil",
        b"http://127.0.0.1.evil",
        b"http://localhost.",
        b"http://evil.localhost",
    ),
    *(b"http://127.0.0.1\\@evil.example", b"http://127.0.0.1\\.evil", b"http://127.0.0.1%2eevil"),
    *(
        b"http://127.0.0.1#@evil.example",
        b"http://127.0.0.1?.evil.example",
        b"http://127.0.0.1/evil",
    ),
    *(
        b"http://evil.example#127.0.0.1",
        b"http://evil@127.0.0.1",
        b"http://127.0.0.1:",
        b"http://127.1",
    ),
    *(
        b"http://[::1].evil.example",
        b"http://[::1]evil",
        b"http://evil[::1]",
        b"http://[::1",
        b"http://::1",
    ),
    *(
        b"http://[::ffff:192.0.2.1]",
        b"http://[::1%25evil]",
        b"http://0.0.0.0",
        b"http://2130706433",
    ),
    *(
        b"//127.0.0.1",
        b"127.0.0.1",
        b"localhost",
        b"file://127.0.0.1",
        b"ftp://localhost",
        b"file://",
    ),
    *(b"javascript://localhost", b"http:/127.0.0.1", b"http:127.0.0.1", b"http ://127.0.0.1"),
    *(b"http://127.0.0.1 http://evil.example", b"http://evil.example http://127.0.0.1"),
    *(b"http://127.0.0.1, http://evil.example", b"http://127.0.0.1\t.evil", b"http://127.0.\t0.1"),
    *(
        b"http://127.0.0.1:99999999",
        b"http://127.0.0.1:-1",
        b"http://127.0.0.1:0x50",
        b"http:// 127.0.0.1",
    ),
    *(
        b"http://\xff",
        b"http://127.0.0.\xb9",
        b"http://gate.example.evil",
        b"http://evilgate.example",
    ),
    *(b"http://gate.example@evil.example", b"http://gate.example.", b"http://gate.example:81"),
    *(
        b"https://gate.example:80",
        b"https://app.example.evil",
        b"http://app.example",
        b"https://app.example/",
    ),
    *(b"https://app.example:443@evil", b"https://evil.app.example", b"https://app.example:444"),
    *(
        b"http://gate.example/",
        b"http://gate.example#",
        b"http://[2001:db8::1]",
        b"chrome-extension://x",
    ),
]
CONFIGURATIONS = {
    "loopback": (LOOPBACK, b"127.0.0.1:7860"),
    "public": (PUBLIC, b"gate.example"),
    "Space": (SPACE, b"u-s.hf.space"),
    "named": (NAMED, b"gate.example"),
    "pages": (PAGES, b"gate.example"),
    "all": ({**NAMED, **PAGES, "host": "127.0.0.1"}, b"gate.example"),
}


@pytest.mark.parametrize(("bind", "host"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_whatever_only_looks_like_an_allowed_origin_is_foreign(
    bind: dict[str, str], host: bytes
) -> None:
    assert [trick for trick in TRICKS if judged(bind, host, trick) != 403] == []


@pytest.mark.parametrize("origin", [b"http://127.0.0.1:7860", b"http://localhost"])
def test_loopback_pages_pass_on_a_loopback_bind_only(origin: bytes) -> None:
    assert judged(LOOPBACK, b"127.0.0.1", origin) == 0
    assert judged(PUBLIC, b"gate.example", origin) == 403
    assert judged(SPACE, b"u-s.hf.space", origin) == 403


bind_addresses = st.sampled_from(list(CONFIGURATIONS.values()))
lures = st.text("127.0.0.1localhost@:[]\\%_-.gate.example\t ,&;=\xff", max_size=30)


@given(bind_addresses, st.sampled_from([b"http://", b"https://", b"HTTP://"]), lures, lures)
def test_a_page_of_a_foreign_domain_is_never_allowed(
    configuration: tuple[dict[str, str], bytes], scheme: bytes, before: str, after: str
) -> None:
    bind, host = configuration
    for end in (b"", b".", b":80", b":443", b":7860", after.encode("latin-1")):
        origin = scheme + before.encode("latin-1") + b"attacker.test" + end
        assert judged(bind, host, origin) == 403


@given(
    bind_addresses,
    st.binary(max_size=40),
    st.none()
    | st.binary(max_size=60)
    | lures.map(lambda lure: b"http://" + lure.encode("latin-1")),
)
def test_any_bytes_as_host_or_origin_are_judged(
    configuration: tuple[dict[str, str], bytes], host: bytes, origin: bytes | None
) -> None:
    bind, good = configuration
    assert judged(bind, host, origin) in {0, 403, 421}
    if judged(bind, good, origin) == 0 and origin is not None:
        scheme, _, authority = origin.decode().lower().partition("://")
        assert scheme in {"http", "https"}
        assert not set(authority) & set("/?#@\\ \t,%")
        name = hostname(b"//" + authority.encode())
        allowed = {"gate.example", "u-s.hf.space", "app.example", "dev.example", "localhost", "::1"}
        assert name in allowed or name.startswith("127.")


@given(st.binary(max_size=200))
def test_any_bytes_can_be_asked_for_in_a_preflight(requested: bytes) -> None:
    reply = preflight(requested)
    assert reply.status == 204
    fields = dict(reply.headers)
    names = [name.strip() for name in fields[b"Access-Control-Allow-Headers"].split(b",")]
    assert b"Authorization" in names
    assert all(name.lower().startswith(b"mcp-param-") for name in names[9:])
    assert b"*" not in names


# Over sockets: what a browser, and a page behind it, gets to see.


async def one(house: House, request: bytes) -> tuple[Head, bytes]:
    (only,) = answers(await said(house, request))
    return only.head, only.body


def asked(host: bytes, *fields: bytes, method: bytes = b"POST", token: bool = True) -> bytes:
    lines = [method + b" /mcp HTTP/1.1", b"Host: " + host, *fields, b"Connection: close"]
    return b"\r\n".join([*lines, BEARER.rstrip()] if token else lines) + b"\r\n\r\n"


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "host", [b"evil.example", b"gate.example.", b"127.0.0.1.evil.example", b"[::2]", b"localhost:1"]
)
async def test_a_wrong_host_is_421_with_and_without_a_token(
    access_log: Log, host: bytes, token: bool
) -> None:
    async with unharmed(access_log) as house:
        head, body = await one(house, asked(host, token=token))
        assert head.status == 421
        assert "ALLOWED_HOSTS" in json.loads(body)["error"]["message"]
        assert house.upstream.heads == []


async def test_on_a_public_bind_any_name_passes_and_the_upstream_gets_its_own(
    access_log: Log,
) -> None:
    async with unharmed(access_log, allowed_hosts="", host="0.0.0.0") as house:
        assert (await one(house, asked(b"any.example:1")))[0].status == 200
        assert house.upstream.head.get(b"Host") == b"127.0.0.1:%d" % house.upstream.port
        assert house.upstream.head.get(b"X-Forwarded-Host") == b"any.example:1"


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize(
    "origin", [b"null", b"https://evil.example", b"http://127.0.0.1@evil", b""]
)
async def test_a_foreign_origin_is_403_with_and_without_a_token_and_gets_no_cors(
    access_log: Log, origin: bytes, token: bool
) -> None:
    async with unharmed(access_log) as house:
        for method in (b"POST", b"GET", b"DELETE", b"OPTIONS"):
            lines = [b"Origin: " + origin, b"Access-Control-Request-Method: POST"]
            head, body = await one(
                house, asked(b"gate.example", *lines, method=method, token=token)
            )
            assert head.status == 403
            assert b"ALLOWED_ORIGINS" in body
            assert not [name for name, _ in head.fields if name.lower().startswith(b"access-")]
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"http://gate.example", b"https://evil.example"), (b"null", b"http://gate.example")],
)
async def test_two_origins_are_refused(access_log: Log, first: bytes, second: bytes) -> None:
    """RFC 6454 section 7.3: never more than one; who reads the other one would be deceived."""
    async with unharmed(access_log) as house:
        head, _ = await one(
            house, asked(b"gate.example", b"Origin: " + first, b"origin: " + second)
        )
        assert head.status in {400, 403}
        assert house.upstream.heads == []


PREFLIGHT = [
    b"Access-Control-Request-Method: POST",
    b"Access-Control-Request-Headers: authorization,content-type,mcp-param-region,x-evil,Mcp-Param-B",
]


@pytest.mark.parametrize("origin", [b"http://gate.example", b"https://app.example"])
async def test_a_preflight_of_an_allowed_origin_is_answered_without_a_token(
    access_log: Log, origin: bytes
) -> None:
    """Fetch Standard, «CORS protocol»."""
    async with unharmed(access_log, allowed_origins="https://app.example") as house:
        request = asked(
            b"gate.example", b"Origin: " + origin, *PREFLIGHT, method=b"OPTIONS", token=False
        )
        head, body = await one(house, request)
        assert (head.status, body) == (204, b"")
        assert head.get(b"Content-Length") is None
        assert head.get(b"Access-Control-Allow-Origin") == origin
        assert head.get(b"Access-Control-Allow-Methods") == b"GET, POST, DELETE"
        assert head.get(b"Vary") == b"Origin"
        allowed = (head.get(b"Access-Control-Allow-Headers") or b"").lower().split(b", ")
        for (
            name
        ) in b"authorization x-api-key content-type accept last-event-id mcp-session-id".split():
            assert name in allowed
        for name in b"mcp-protocol-version mcp-param-region mcp-param-b".split():
            assert name in allowed
        assert b"x-evil" not in allowed
        assert head.get(b"Access-Control-Allow-Credentials") is None
        assert house.upstream.heads == []


async def test_a_preflight_leaves_the_connection_to_the_call_that_follows(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        origin = b"Origin: http://gate.example"
        before = house.raw(b"/mcp", origin, *PREFLIGHT, method=b"OPTIONS", token=False)
        call = house.raw(b"/mcp", origin, b"Connection: close", method=b"POST", body=b"{}")
        assert [each.status for each in answers(await said(house, before + call))] == [204, 200]
        assert len(house.upstream.heads) == 1


async def test_options_that_is_no_preflight_needs_a_token(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        for lines in ([b"Origin: http://gate.example"], [PREFLIGHT[0]], [PREFLIGHT[1]]):
            request = asked(b"gate.example", *lines, method=b"OPTIONS", token=False)
            assert (await one(house, request))[0].status == 401
        assert house.upstream.heads == []


async def hang_up(peer: Peer, head: Head) -> None:
    await peer.stream.aclose()


async def test_an_allowed_page_may_read_every_answer_and_the_session_id(access_log: Log) -> None:
    async with unharmed(access_log) as house:
        house.upstream.script = answer(
            b"{}",
            b"Mcp-Session-Id: 1868a90c",
            b"Access-Control-Allow-Origin: *",
            b"access-control-allow-credentials: true",
            b"Connection: Access-Control-Expose-Headers, Vary",
        )
        origin = b"Origin: http://gate.example"
        for token, status in ((True, 200), (False, 401)):
            head, _ = await one(house, asked(b"gate.example", origin, token=token))
            assert head.status == status
            assert head.get(b"Access-Control-Allow-Origin") == b"http://gate.example"
            assert b"Mcp-Session-Id" in (head.get(b"Access-Control-Expose-Headers") or b"")
            assert head.get(b"Access-Control-Allow-Credentials") is None
        house.upstream.script = hang_up
        head, _ = await one(house, asked(b"gate.example", origin))
        assert head.status == 502
        assert head.get(b"Access-Control-Allow-Origin") == b"http://gate.example"


# Targets: the tables are in http/test_paths.py; here they meet sockets, pages and redirects.


async def test_no_odd_path_passes_or_redirects(access_log: Log) -> None:
    """RFC 3986 section 6; CVE-2021-29492, CVE-2021-32779, CVE-2026-73511."""
    async with unharmed(access_log) as house:
        for path in [*ODD, "/mcp?#", "/mcp?a=b#c", "/mcp/%2e%2e/admin", "/mcp/../admin"]:
            for method in (b"GET", b"POST"):
                raw = await said(
                    house, house.raw(path.encode(), b"Connection: close", method=method)
                )
                (only,) = answers(raw)
                assert only.status in {400, 404}
                assert only.head.get(b"Location") is None
                assert_no_banner(only.head)
        assert house.upstream.heads == []


@pytest.mark.parametrize(
    "status",
    [
        *(b"101 Switching Protocols", b"300 Many", b"301 Moved", b"302 Found", b"303 Other"),
        *(b"305 Proxy", b"306 Unused", b"307 Temporary", b"308 Permanent", b"399 Own"),
    ],
)
async def test_a_redirect_of_the_upstream_is_a_502_and_its_location_stays_here(
    access_log: Log, status: bytes
) -> None:
    """CVE-2026-116685: clients follow, and take their token along."""
    async with unharmed(access_log) as house:
        house.upstream.script = answer(
            b"", b"Location: http://evil.example/mcp?key=stolen", status=status
        )
        target = b"/mcp?key=" + TOKEN.encode()
        raw = await said(house, house.raw(target, b"Connection: close", token=False))
        (only,) = answers(raw)
        assert only.status == 502
        assert only.head.get(b"Location") is None
        assert b"evil.example" not in raw
        assert_rpc_error(only)


# The whole of it, as ASGI: no bytes make the gate fail.

names = st.sampled_from(
    [b"host", b"origin", b"authorization", b"x-api-key", b"connection", b"upgrade", b"expect"]
) | st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^|~-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {b"content-length", b"transfer-encoding"}
)
headers = st.lists(
    st.tuples(names, st.binary(max_size=30) | st.just(b"Bearer " + TOKEN.encode())), max_size=6
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    bind=bind_addresses,
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "DELETE"]),
    path=st.sampled_from([b"/mcp", b"/mcp/", b"/mcp/a", b"/health"]) | st.binary(max_size=30),
    query=st.binary(max_size=30) | st.just(b"key=" + TOKEN.encode()),
    given_headers=headers,
    named=st.booleans(),
)
def test_no_bytes_in_target_or_fields_make_the_gate_fail(
    bind: tuple[dict[str, str], bytes],
    method: str,
    path: bytes,
    query: bytes,
    given_headers: list[tuple[bytes, bytes]],
    named: bool,
) -> None:
    limits = Settings(_env_file=None, mcp_app="", upstream_port=1, **bind[0])  # type: ignore[arg-type]
    gate = Gate(limits, Keyring(shared=TOKEN))
    sent: list[dict[str, Any]] = []
    asked_once: list[bool] = []

    async def receive() -> dict[str, Any]:
        if asked_once:
            await trio.sleep_forever()
        asked_once.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "raw_path": path,
        "query_string": query,
        "headers": [(b"host", bind[1]), *given_headers] if named else given_headers,
        "client": ("127.0.0.1", 1),
    }
    trio.run(cast("Any", gate), scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    assert starts[0]["status"] in {200, 204, 400, 401, 403, 404, 405, 417, 421, 502, 503}
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert TOKEN.encode() not in b"".join(value for _, value in starts[0]["headers"])


def test_cors_names_the_origin_itself_and_never_all() -> None:
    fields = dict(cors_headers(b"https://app.example"))
    assert fields[b"Access-Control-Allow-Origin"] == b"https://app.example"
    assert fields[b"Vary"] == b"Origin"
