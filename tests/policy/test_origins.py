"""Hosts, origins and CORS, judged without a connection."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.assembly import location
from gatehouse.policy.origins import cors_fields, hostname, preflight
from gatehouse.settings.environment import Settings
from tests.harness.hosts import (
    CONFIGURATIONS,
    LOOPBACK,
    NAMED,
    PAGES,
    PUBLIC,
    SPACE,
    bind_addresses,
)
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply
    from gatehouse.policy.origins import Origins

LOOPBACK_V6 = {"host": "::1"}


@cache
def origins_of(*given_settings: tuple[str, str]) -> Origins:
    return location.origins_of(Settings(_env_file=None, **dict(given_settings)))  # type: ignore[arg-type]


def judged(given_settings: dict[str, str], host: bytes, origin: bytes | None = None) -> int:
    """The status of the refusal; 0 if there is none."""
    origins = origins_of(*given_settings.items())
    fields = [(b"Host", host), *([(b"Origin", origin)] if origin is not None else [])]
    refusal = origins.refusal(request_of(fields))
    return refusal.status if refusal else 0


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
        (SPACE, b"u-s.hf.space.", 0),
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
        (NAMED, b"gate.example.", 0),
        (NAMED, b"gate.example..", 421),
        (NAMED, b"a.gate.example", 421),
        (NAMED, b"gate.example.evil", 421),
        (NAMED, b"127.0.0.1", 421),
        ({**LOOPBACK, "allowed_hosts": "gate.example"}, b"gate.example", 0),
        ({**LOOPBACK, "allowed_hosts": "gate.example"}, b"localhost", 421),
        ({**LOOPBACK, "public_url": "https://gate.example:8443"}, b"Gate.Example.", 0),
        ({**LOOPBACK, "public_url": "https://gate.example:8443"}, b"localhost", 0),
        ({**LOOPBACK, "public_url": "https://gate.example:8443"}, b"a.gate.example", 421),
        ({**NAMED, "public_url": "https://[2001:db8::1]"}, b"[2001:DB8::1]:443", 0),
        ({**NAMED, "public_url": "https://[2001:db8::1]"}, b"[2001:db8::2]", 421),
        ({**SPACE, "public_url": "https://gate.example"}, b"u-s.hf.space", 0),
        ({**SPACE, "public_url": "https://gate.example"}, b"gate.example", 0),
    ],
)
def test_in_a_space_its_names_pass_elsewhere_any_unless_allowed_hosts_says_which(
    bind: dict[str, str], host: bytes, status: int
) -> None:
    assert judged(bind, host) == status


BELOW = {**LOOPBACK, "allowed_hosts": "*.gate.example, one.example:443, two.example., [0:0::2]:80"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(b"a.gate.example", 0), (b"A.b.Gate.example.:8443", 0), (b"one.example", 0)],
        *[(b"two.example", 0), (b"two.example.:1", 0), (b"[::2]:5", 0), (b"gate.example", 421)],
        *[(b"agate.example", 421), (b".gate.example", 421), (b"a..gate.example", 421)],
        *[
            (b"a.gate.example.evil", 421),
            (b"evil:1/.gate.example", 421),
            (b"\xe4.gate.example", 421),
        ],
        *[(b"evil\\.gate.example", 421), (b"evil%2f.gate.example", 421), (b"*.gate.example", 421)],
    ],
)
def test_names_below_one_a_final_dot_and_the_default_port_in_allowed_hosts(
    host: bytes, status: int
) -> None:
    assert judged(BELOW, host) == status


APPS = {
    **PUBLIC,
    "allowed_origins": "https://*.app.example, http://*.dev.example:3000, HTTPS://One.example.:443, http://[0:0::2]:080",
}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        *[(b"https://a.app.example", 0), (b"HTTPS://a.b.App.example.", 0), (b"http://[::2]", 0)],
        *[(b"http://x.dev.example:3000", 0), (b"http://x.dev.example.:3000", 0)],
        *[(b"https://one.example", 0), (b"https://one.example.", 0), (b"https://app.example", 403)],
        *[(b"http://a.app.example", 403), (b"https://a.app.example:444", 403)],
        *[(b"http://x.dev.example", 403), (b"https://evil.test/.app.example", 403)],
        *[(b"https://evil.test#.app.example", 403), (b"https://evil.test:1.app.example", 403)],
        *[(b"https://evil@a.app.example", 403), (b"https://.app.example", 403), (b"null", 403)],
        *[(b"https://a.app.example.evil.test", 403), (b"https://https://a.app.example", 403)],
        *[(b"https://evil.test\\.app.example", 403), (b"https://a.app.example..", 403)],
    ],
)
def test_names_below_one_a_final_dot_and_the_default_port_in_allowed_origins(
    origin: bytes, status: int
) -> None:
    assert judged(APPS, b"gate.test", origin) == status


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


def allowed_names(reply: Reply | None) -> list[bytes]:
    """The header fields that the answer to a preflight lets a page send."""
    assert reply is not None
    names = dict(reply.headers)[b"Access-Control-Allow-Headers"].split(b",")
    return [name.strip() for name in names]


@given(st.binary(max_size=200))
def test_any_bytes_can_be_asked_for_in_a_preflight(requested: bytes) -> None:
    fields = [
        (b"Origin", b"https://app.example"),
        (b"Access-Control-Request-Method", b"POST"),
        (b"Access-Control-Request-Headers", requested),
    ]
    reply = preflight(request_of(fields, method="OPTIONS"))
    assert reply is not None
    assert reply.status == 204
    names = allowed_names(reply)
    always = allowed_names(preflight(request_of(fields[:2], method="OPTIONS")))
    assert b"Authorization" in always
    assert names[: len(always)] == always
    assert all(name.lower().startswith(b"mcp-param-") for name in names[len(always) :])
    assert b"*" not in names


def test_cors_names_the_origin_itself_and_never_all() -> None:
    fields = dict(cors_fields(request_of([(b"Origin", b"https://app.example")])))
    assert fields[b"Access-Control-Allow-Origin"] == b"https://app.example"
    assert fields[b"Vary"] == b"Origin"
