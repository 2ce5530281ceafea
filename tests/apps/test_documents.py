"""Documents that describe clients: fetched as from an enemy, kept within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gatehouse.apps.documents import (
    BAD_SECONDS,
    MAX_FRESH_SECONDS,
    MAX_KEPT,
    MIN_FRESH_SECONDS,
    OF_HOST,
    OF_ONE,
    STALE_SECONDS,
    DocumentError,
    Documents,
    is_document_url,
)
from gatehouse.http.asked import Asked, AskError

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers

URL = "https://claude.ai/oauth/claude-code-client-metadata"
CALLBACK = "http://localhost/callback"
ADDRESS = "192.0.2.1"


def about(url: str = URL, **more: Any) -> dict[str, Any]:
    return {"client_id": url, "client_name": "Claude Code", "redirect_uris": [CALLBACK], **more}


class Web:
    """Servers of documents, as a test likes them."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: Headers = []
        self.documents: dict[str, dict[str, Any]] = {URL: about()}
        self.asked: list[str] = []
        self.is_down = False
        self.why = "it does not answer"

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:  # noqa: ARG002
        self.asked.append(url)
        if self.is_down:
            raise AskError(self.why)
        return Asked(self.status, self.headers, self.documents.get(url, {}))


class Gate:
    """Documents with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.web = Web()
        self.documents = Documents(self.web, clock=lambda: self.now)

    async def why_not(self, url: str = URL, address: str = ADDRESS) -> tuple[int, str]:
        with pytest.raises(DocumentError) as caught:
            await self.documents.find(url, address)
        return caught.value.status, caught.value.words


async def test_a_client_is_as_its_document_says_and_is_fetched_once() -> None:
    gate = Gate()
    for _ in range(3):
        client = await gate.documents.find(URL, ADDRESS)
        assert (client.id, client.name, client.redirect_uris) == (URL, "Claude Code", (CALLBACK,))
        assert client.document_host == "claude.ai"
    assert gate.web.asked == [URL]


@pytest.mark.parametrize(
    "document",
    [
        {},
        about("https://claude.ai/other"),
        about(redirect_uris=[]),
        about(redirect_uris=["javascript:alert(1)"]),
        about(redirect_uris=["http://evil.example/"]),
        about(client_name=1),
        about(token_endpoint_auth_method="client_secret_post"),
        about(token_endpoint_auth_method=None),
        about(client_secret="s3cret"),
    ],
)
async def test_a_document_that_is_no_good_lets_nobody_ask_and_is_not_repeated(
    document: dict[str, Any],
) -> None:
    gate = Gate()
    gate.web.documents[URL] = document
    status, words = await gate.why_not()
    assert status == 400
    assert "evil" not in words
    assert "s3cret" not in words
    assert (await gate.why_not())[0] == 400
    assert len(gate.web.asked) == 1, "it is not asked for again at once"
    gate.web.documents[URL] = about()
    gate.now += BAD_SECONDS
    assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"


async def test_a_client_with_a_key_of_its_own_is_taken_without() -> None:
    gate = Gate()
    gate.web.documents[URL] = about(
        token_endpoint_auth_method="private_key_jwt", jwks_uri="https://a.example/"
    )
    assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"


@pytest.mark.parametrize("status", [201, 204, 404, 500])
async def test_no_other_answer_is_a_document(status: int) -> None:
    gate = Gate()
    gate.web.status = status
    assert str(status) in (await gate.why_not())[1]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (b"", 3600),
        (b"max-age=0", MIN_FRESH_SECONDS),
        (b"no-store", 3600),
        (b"public, max-age=7200", 7200),
        (b"max-age=999999999", MAX_FRESH_SECONDS),
        (b"x-max-age=5", 3600),
    ],
)
async def test_it_is_kept_as_long_as_it_says_within_bounds(told: bytes, seconds: float) -> None:
    gate = Gate()
    gate.web.headers = [(b"Cache-Control", told)] if told else []
    await gate.documents.find(URL, ADDRESS)
    gate.now = seconds - 1
    await gate.documents.find(URL, ADDRESS)
    assert len(gate.web.asked) == 1
    gate.now = seconds
    gate.web.documents[URL] = about(client_name="Another")
    assert (await gate.documents.find(URL, ADDRESS)).name == "Another"


@pytest.mark.parametrize("why", ["it does not answer", "is its name right?"])
async def test_the_person_reads_why_a_document_cannot_be_had(why: str) -> None:
    gate = Gate()
    gate.web.is_down, gate.web.why = True, why
    words = (await gate.why_not())[1]
    assert words.endswith(f": {why.rstrip('?')}{'?' if why.endswith('?') else '.'}")


async def test_a_known_client_stays_known_while_its_server_is_away_but_not_for_ever() -> None:
    gate = Gate()
    await gate.documents.find(URL, ADDRESS)
    gate.web.is_down = True
    gate.now = 3600.0
    for _ in range(50):
        assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"
    assert len(gate.web.asked) == 2
    gate.now += STALE_SECONDS
    assert (await gate.why_not())[0] == 400


async def test_an_address_has_so_many_fetched_and_known_clients_need_none() -> None:
    gate = Gate()
    await gate.documents.find(URL, ADDRESS)
    statuses = [
        (await gate.why_not(f"https://junk.example/{number}"))[0]
        for number in range(OF_ONE.burst + 5)
    ]
    assert statuses.count(429) == 6
    assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"
    other = "https://client.example/id"
    gate.web.documents[other] = about(other)
    assert (await gate.documents.find(other, "198.51.100.7")).name == "Claude Code"


async def use_up(gate: Gate) -> None:
    """Strangers at three addresses have one host asked as often as it may be."""
    for number in range(OF_HOST.burst):
        await gate.why_not(f"https://claude.ai/junk/{number}", f"192.0.2.{100 + number % 3}")


async def test_a_known_client_stays_known_while_strangers_use_up_what_its_host_may_be_asked() -> (
    None
):
    gate = Gate()
    await gate.documents.find(URL, ADDRESS)
    gate.now = 3600.0
    await use_up(gate)
    assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"


async def test_whoever_is_signed_in_waits_for_no_stranger_also_of_the_same_address() -> None:
    gate = Gate()
    await use_up(gate)
    assert (await gate.why_not(URL))[0] == 429
    assert (await gate.documents.find(URL, "192.0.2.100", "person:alice")).name == "Claude Code"
    junk = [f"https://junk-{number}.example/id" for number in range(OF_ONE.burst)]
    for url in junk:
        with pytest.raises(DocumentError):
            await gate.documents.find(url, "192.0.2.100", "person:bob")
    other = "https://client.example/id"
    gate.web.documents[other] = about(other)
    assert (await gate.documents.find(other, "192.0.2.100", "person:alice")).id == other


async def test_what_is_no_good_pushes_no_good_one_out() -> None:
    gate = Gate()
    await gate.documents.find(URL, ADDRESS)
    for number in range(2 * MAX_KEPT):
        await gate.why_not(
            f"https://junk-{number}.example/id", f"10.{number >> 8}.{number & 255}.1"
        )
    asked = len(gate.web.asked)
    assert (await gate.documents.find(URL, ADDRESS)).name == "Claude Code"
    assert len(gate.web.asked) == asked


def test_only_a_plain_https_url_with_a_path_is_one() -> None:
    assert is_document_url(URL)
    assert is_document_url("https://chatgpt.com/oauth/kDmjx77UnKOM/client.json")
    assert is_document_url("https://client.example/id?version=2")
    for other in (
        "http://claude.ai/oauth/id",
        "https://claude.ai",
        "https://claude.ai/",
        "https://claude.ai:8443/id",
        "https://Claude.ai/id",
        "https://me@claude.ai/id",
        "https://claude.ai/id#part",
        "https://claude.ai/../id",
        "https://claude.ai/a/./id",
        "https://claude.ai/a/%2e%2e/id",
        "https://claude.ai/a b",
        "https://[::1]/id",
        "https://claude.ai/" + "a" * 600,
        "claude",
        "",
    ):
        assert not is_document_url(other), other
