"""Strangers before a gate that lets apps in: nothing is left of their requests, and nobody's secret is seen anywhere."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.upstream import addresses
from tests.harness.identity.app import App, aside
from tests.harness.identity.app_gates import signs_in_at
from tests.harness.identity.app_person import AppPerson, is_question
from tests.harness.identity.app_stage import Stage, stage
from tests.harness.identity.openid_provider import OpenIDProvider, openid_provider
from tests.harness.leaks import pieces_in
from tests.harness.program import Program, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "MarkOfTheStranger"
PAGES = ("", "/apps", "/people", "/tokens", "/connect", "/settings", "/now.json")
HEADER = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.."
"""How all seals begin."""


@pytest.fixture
def cast() -> Iterator[Stage]:
    with stage() as cast:
        yield cast


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIDProvider]:
    with openid_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gate(provider: OpenIDProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The whole program, which tells all that it ever tells."""
    settings = signs_in_at(
        provider,
        SIGN_IN_SECRET=token_urlsafe(32),
        STATE_DB="state.sqlite3",
        LOG_LEVEL="debug",
        FAILURE_RATE="off",
        TRUSTED_HOPS="1",
    )
    with running(tmp_path_factory.mktemp("gate"), **settings) as program:
        program.wait_for()
        yield program


@pytest.fixture(scope="module")
def app(gate: Program) -> Iterator[App]:
    with App(gate.endpoint) as app:
        app.discover()
        app.register()
        yield app


def test_no_code_token_state_or_cookie_is_left_anywhere(
    gate: Program, app: App, provider: OpenIDProvider
) -> None:
    with AppPerson() as person:
        url = app.authorization_url()
        asks = person.get(url)
        while asks.is_redirect and "callback?" not in asks.headers["Location"]:
            asks = person.get(asks.headers["Location"])
        theirs = parse_qs(urlsplit(asks.headers["Location"]).query)["code"][0]
        waits = dict(person.http.cookies)
        question = person.open(asks.headers["Location"], until=app.redirect_uri)
        assert is_question(question)
        there = person.decide(question).headers["Location"]
        assert app.redeem(there).status_code == 200
        first = app.tokens
        assert app.ask("tools/list").status_code == 200
        assert app.refresh().status_code == 200
        assert app.ask("tools/list").status_code == 200
        refused = [app.redeem(there), app.refresh(), app.ask(), person.get(url)]
        pages = [person.get(f"{gate.url}/dashboard{page}") for page in PAGES]
        secrets = {
            "state": app.state,
            "verifier": app.verifier,
            "code": app.code_in(there),
            "code of the provider": theirs,
            "token of the provider": list(provider.tokens)[-1].removeprefix("access-"),
            "first": first["access_token"],
            "first refresh": first["refresh_token"],
            "last": app.tokens["access_token"],
            "last refresh": app.tokens["refresh_token"],
            **waits,
            **person.http.cookies,
        }
    assert {page.status_code for page in pages} == {200}
    assert [answer.status_code for answer in refused[:3]] == [400, 400, 401]
    told = "\n".join(page.text for page in (question, *refused, *pages))
    kept = "".join(
        path.read_bytes().decode("latin-1") for path in gate.folder.glob("state.sqlite3*")
    )
    assert "oauth:alice@example.com" in gate.output
    assert pieces_in(kept, app.name)
    for name, secret in secrets.items():
        body = secret.removeprefix(HEADER)[:60]
        assert len(body) > 20, name
        for where, text in {"log": gate.output, "pages": told, "file": kept}.items():
            assert not pieces_in(text, body), f"{name} in the {where}"


parameters = st.dictionaries(
    st.sampled_from(
        [
            *("client_id", "redirect_uri", "response_type", "state", "scope", "resource"),
            *("code_challenge", "code_challenge_method", "prompt", "request", "to"),
        ]
    ),
    st.none() | st.text(max_size=60).map(lambda text: f"{text}{MARK}{text}") | st.just(""),
    max_size=5,
)


@given(parameters, st.integers(1, 254))
def test_no_request_of_an_app_makes_the_page_fail_leads_elsewhere_or_is_repeated(
    gate: Program, app: App, provider: OpenIDProvider, changes: dict[str, str | None], last: int
) -> None:
    query = urlsplit(app.authorization_url()).query
    given = {name: values[0] for name, values in parse_qs(query).items()} | changes
    whole = urlencode({name: value for name, value in given.items() if value is not None})
    answer = httpx.get(
        f"{gate.url}/authorize?{whole}",
        headers={"X-Forwarded-For": f"192.0.2.{last}"},
        trust_env=False,
    )
    if answer.status_code in {302, 303}:
        there = answer.headers["Location"]
        ours = there.startswith(f"{app.redirect_uri}?")
        assert ours or there.startswith(f"{provider.issuer}/authorize?")
        brought = parse_qs(urlsplit(there).query)
        assert "code" not in brought
        assert set(brought.get("state", [])) <= {given.get("state")} or not ours
        assert MARK not in "".join(brought.get("error_description", []))
    else:
        assert answer.status_code in {400, 429}
    assert MARK not in answer.text


documents = st.dictionaries(
    st.sampled_from(["redirect_uris", "client_name", "grant_types", "scope", MARK]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.just(MARK) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=8,
    ),
)


@given(documents | st.lists(documents, max_size=1), st.integers(1, 254))
def test_no_registration_makes_the_endpoint_fail_or_is_repeated(
    gate: Program, document: Any, last: int
) -> None:
    answer = httpx.post(
        f"{gate.url}/register",
        content=json.dumps(document),
        headers={"Content-Type": "application/json", "X-Forwarded-For": f"198.51.100.{last}"},
        trust_env=False,
    )
    assert answer.status_code in {201, 400, 429}
    if answer.status_code != 201:
        assert MARK not in answer.text
        assert answer.json()["error"]


async def test_whoever_registers_without_end_waits_and_leaves_nothing(
    cast: Stage, tmp_path: Path
) -> None:
    file = tmp_path / "state.sqlite3"
    async with cast.gate(state_db=file, trusted_hops=1):
        await aside(cast.app.sign_in, cast.person)
        flood = cast.another_app()
        await aside(flood.discover)
        flood.http.headers["X-Forwarded-For"] = "192.0.2.7"
        for _ in range(60):
            assert (await aside(flood.register)).status_code == 201
        late = await aside(flood.register)
        assert (late.status_code, late.json()["error"]) == (429, "temporarily_unavailable")
        assert int(late.headers["Retry-After"]) in range(1, 61)
        # Everybody else registers, and those who have a token go on, from there, too.
        other = cast.another_app()
        other.http.headers["X-Forwarded-For"] = "192.0.2.8"
        await aside(other.discover)
        assert (await aside(other.register)).status_code == 201
        cast.app.http.headers["X-Forwarded-For"] = "192.0.2.7"
        assert (await aside(cast.app.refresh)).status_code == 200
        assert (await aside(cast.app.ask)).status_code == 200
        # A stranger who opens one authorization after another waits; whoever is signed in there does not.
        crowd = cast.another_browser()
        for browser in (crowd, cast.person):
            browser.http.headers["X-Forwarded-For"] = "192.0.2.7"
        url = flood.authorization_url()
        statuses = [(await aside(crowd.get, url)).status_code for _ in range(62)]
        assert statuses[:60] == [303] * 60
        assert statuses[-1] == 429
        assert is_question(await aside(cast.person.open, url))
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM app_grants").fetchone() == (1,)


@pytest.mark.parametrize(
    "client_id",
    [
        "https://localhost/client.json",
        "https://127.0.0.1/client.json",
        "https://169.254.169.254/latest/meta-data",
        "https://0x7f.1/client.json",
        "https://2130706433/client.json",
        "https://no-such-name.invalid/client.json",
    ],
)
async def test_a_client_that_is_described_at_a_place_of_ours_is_none_and_is_not_asked(
    cast: Stage, monkeypatch: pytest.MonkeyPatch, client_id: str
) -> None:
    tried: list[Any] = []

    async def attempt(_: int, address: Any) -> Any:
        tried.append(address)
        raise ConnectionRefusedError

    async with cast.gate():
        await aside(cast.app.discover)
        monkeypatch.setattr(addresses, "attempt", attempt)
        page = await aside(
            cast.another_browser().get, cast.app.authorization_url(client_id=client_id)
        )
        assert page.status_code == 400
        assert "Location" not in page.headers
        assert "cannot be used" in page.text or "not known here" in page.text
        assert urlsplit(client_id).path not in page.text
    assert tried == []


async def test_a_client_is_asked_at_a_public_address(
    cast: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    async def attempt(_: int, address: Any) -> Any:
        tried.append(address)
        raise ConnectionRefusedError

    async with cast.gate():
        await aside(cast.app.discover)
        monkeypatch.setattr(addresses, "attempt", attempt)
        url = cast.app.authorization_url(client_id="https://1.1.1.1/client.json")
        assert (await aside(cast.another_browser().get, url)).status_code == 400
    assert tried == [("1.1.1.1", 443)]
