"""The public address: the upstream sees the scheme and host that clients use, and nobody can forge them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.house import open_house
from tests.harness.program import TOKEN, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.program import Program


@pytest.mark.parametrize(
    ("given", "proto", "scheme", "host"),
    [
        ({}, [b"https"], b"http", b"gate.example"),
        ({"trusted_hops": 1}, [b"https"], b"https", b"gate.example"),
        ({"trusted_hops": 1}, [], b"http", b"gate.example"),
        ({"trusted_hops": 1}, [b"HTTPS"], b"https", b"gate.example"),
        ({"trusted_hops": 1}, [b"https, http"], b"http", b"gate.example"),
        ({"trusted_hops": 1}, [b"http", b"https"], b"https", b"gate.example"),
        ({"trusted_hops": 2}, [b"https, http"], b"https", b"gate.example"),
        ({"trusted_hops": 2}, [b"https"], b"https", b"gate.example"),
        ({"trusted_hops": 1}, [b"gopher"], b"http", b"gate.example"),
        ({"trusted_hops": 1}, [b"https\xff"], b"http", b"gate.example"),
        ({"trusted_hops": 1}, [b""], b"http", b"gate.example"),
        ({"public_url": "https://a.example:8443"}, [b"http"], b"https", b"a.example:8443"),
    ],
)
async def test_an_upstream_elsewhere_is_told_the_public_scheme_and_host(
    given: dict[str, Any], proto: list[bytes], scheme: bytes, host: bytes
) -> None:
    async with open_house(**given) as house:
        fields = [b"X-Forwarded-Proto: " + value for value in proto]
        answer, _ = await house.request(b"/mcp", b"X-Forwarded-Host: evil.example", *fields)
        assert answer.status == 200
        head = house.upstream.head
        assert head.get(b"Host") == b"127.0.0.1:%d" % house.upstream.port
        assert (head.get(b"X-Forwarded-Proto"), head.get(b"X-Forwarded-Host")) == (scheme, host)


async def test_with_a_loopback_host_the_names_of_this_machine_and_the_public_one_may_call() -> None:
    public = "https://gate.example:8443"
    async with open_house(allowed_hosts="", public_url=public) as house:
        for name in ("gate.example", f"127.0.0.1:{house.port}", "localhost", "evil.example"):
            async with house.client() as client:
                answer = await client.get("/mcp", headers={"Host": name})
                assert answer.status_code == (421 if name == "evil.example" else 200)
                page = await client.get("/", headers={"Host": name})
                assert f"{public}/mcp" in page.text
        # A front that does not pass Host on: the public origin is known all the same.
        for origin, status in ((public, 200), ("https://gate.example", 403)):
            async with house.client() as client:
                answer = await client.get("/mcp", headers={"Origin": origin})
                assert answer.status_code == status


@pytest.mark.parametrize(
    ("given", "public"),
    [
        (
            {
                "UPSTREAM_MODE": "network",
                "PUBLIC_URL": "https://gate.example:8443",
                "FORWARDED_ALLOW_IPS": "192.0.2.1",  # uvicorn reads it
            },
            "https://gate.example:8443",
        ),
        ({"ALLOWED_HOSTS": "gate.example", "TRUSTED_HOPS": "1"}, "https://gate.example"),
        ({"ALLOWED_HOSTS": "gate.example"}, "http://127.0.0.1"),
    ],
)
def test_a_hosted_server_makes_right_links_in_each_mode_even_if_it_checks_host_itself(
    tmp_path: Path, given: dict[str, str], public: str
) -> None:
    strict = {"FASTMCP_HTTP_HOST_ORIGIN_PROTECTION": "true", "FASTMCP_STATELESS_HTTP": "true"}
    with running(tmp_path, MCP_APP="probe_server:mcp", **strict, **given) as program:
        program.wait_for("/health")
        seen = links(program, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"})
        if public == "http://127.0.0.1":  # nobody has said what is public, and no client can
            public = f"{public}:{program.upstream_port}"
        assert seen["base_url"] == f"{public}/"
        assert seen["mcp"] == f"{public}/mcp"
        host, _, port = public.partition("://")[2].partition(":")
        assert seen["server"] == [host, int(port or 443)]


def links(program: Program, fields: dict[str, str]) -> dict[str, Any]:
    """The links that the hosted server makes, for a client that calls `gate.example`."""
    answer = httpx.post(
        program.endpoint,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "links"}},
        headers={
            "Host": "gate.example",
            "Authorization": f"Bearer {TOKEN}",
            "Accept": "application/json, text/event-stream",
            **fields,
        },
        trust_env=False,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    data = next(line for line in answer.text.splitlines() if line.startswith("data: {"))
    seen: dict[str, Any] = json.loads(data[6:])["result"]["structuredContent"]
    return seen
