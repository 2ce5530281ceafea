"""An app: an OAuth client in few lines, which finds out by itself where to sign in, as clients of MCP do.

Each step is a method, and each takes changes: a parameter that is replaced, or left out if it is None. All of them wait
for their answers; in Trio, call them by `aside`.
"""

from __future__ import annotations

import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import trio

from tests.harness.identity.openid_provider import challenge_of
from tests.harness.identity.roads import SECONDS, Roads
from tests.harness.tools import JSON_AND_SSE, rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.harness.identity.app_person import AppPerson

CALLBACK = "http://127.0.0.1:7/callback"
"""Nobody listens there: the person stops before it."""
MODERN = "2026-07-28"
Result = TypeVar("Result")


async def aside(call: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """The result of the call, which waits in a thread meanwhile."""
    return await trio.to_thread.run_sync(partial(call, *arguments, **named))


class App:
    """The app of somebody who has pasted the URL `endpoint`. `roads` tell where origins are really served."""

    def __init__(
        self,
        endpoint: str,
        *,
        redirect_uri: str = CALLBACK,
        name: str = "app of the tests",
        client_id: str = "",
        roads: Mapping[str, str] | None = None,
    ) -> None:
        self.endpoint, self.redirect_uri, self.name = endpoint, redirect_uri, name
        self.client_id = client_id
        self.resource = endpoint
        self.server: dict[str, Any] = {}
        """The metadata of the authorization server (RFC 8414), once it is known."""
        self.tokens: dict[str, Any] = {}
        """The last good answer of its token endpoint."""
        self.state = self.verifier = ""
        self.http = httpx.Client(transport=Roads(roads or {}), timeout=SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    # The way in.

    def sign_in(self, person: AppPerson) -> None:
        """All the way, from the URL to tokens."""
        self.discover()
        if not self.client_id:
            self.register()
        answer = self.redeem(person.go(self.authorization_url()))
        assert answer.status_code == 200, answer.text

    def discover(self) -> None:
        """Find out where to sign in, from the refusal of the endpoint (RFC 9728 section 5, RFC 8414 section 3)."""
        refusal = self.ask()
        assert refusal.status_code == 401, refusal.text
        pointer = re.search(r'resource_metadata="([^"]+)"', refusal.headers["WWW-Authenticate"])
        assert pointer, refusal.headers
        document = self.http.get(pointer[1]).json()
        self.resource = document["resource"]
        issuer = urlsplit(document["authorization_servers"][0])
        path = issuer.path.rstrip("/")
        known = "/.well-known/oauth-authorization-server"
        found = self.http.get(f"{issuer.scheme}://{issuer.netloc}{known}{path}")
        assert found.status_code == 200, found.text
        self.server = found.json()
        assert self.server["issuer"] == document["authorization_servers"][0]
        assert "S256" in self.server["code_challenge_methods_supported"]

    def register(self, **changes: Any) -> httpx.Response:
        """Become a client (RFC 7591)."""
        metadata = {
            "client_name": self.name,
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        answer = self.http.post(
            self.server["registration_endpoint"], json=changed(metadata, changes)
        )
        if answer.status_code == 201:
            self.client_id = answer.json()["client_id"]
        return answer

    def authorization_url(self, **changes: str | None) -> str:
        """The URL to send a person to (RFC 6749 section 4.1.1, RFC 7636, RFC 8707)."""
        self.state, self.verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            "state": self.state,
            "resource": self.resource,
        }
        return f"{self.server['authorization_endpoint']}?{urlencode(changed(query, changes))}"

    def code_in(self, url: str) -> str:
        """The code in the URL to which the person came back; state and issuer are looked at (RFC 9207)."""
        brought = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert "error" not in brought, brought
        assert brought["state"] == self.state
        assert brought["iss"] == self.server["issuer"]
        return brought["code"]

    # Tokens.

    def redeem(self, url: str, **changes: str | None) -> httpx.Response:
        """Tokens for the code in that URL (RFC 6749 section 4.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "code": self.code_in(url),
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return self._token(form, changes)

    def refresh(self, **changes: str | None) -> httpx.Response:
        """New tokens for the old refresh token (RFC 6749 section 6)."""
        form = {"grant_type": "refresh_token", "refresh_token": self.tokens["refresh_token"]}
        return self._token(form, changes)

    def revoke(self, token: str | None = None) -> httpx.Response:
        """Give back a token: the refresh token, unless another is given (RFC 7009)."""
        form = {"token": token or self.tokens["refresh_token"], "client_id": self.client_id}
        return self.http.post(self.server["revocation_endpoint"], data=form)

    def _token(self, form: dict[str, Any], changes: Mapping[str, str | None]) -> httpx.Response:
        whole = {**form, "client_id": self.client_id, "resource": self.resource}
        answer = self.http.post(self.server["token_endpoint"], data=changed(whole, changes))
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    # The server behind the gate.

    def ask(self, method: str = "ping", token: str | None = None, **params: Any) -> httpx.Response:
        """The answer to a message of MCP 2026-07-28, with the access token unless another is given."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers = {**JSON_AND_SSE, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = params["name"]
        if token := self.tokens.get("access_token", "") if token is None else token:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.post(
            self.endpoint, json=rpc(method, **params, _meta=meta), headers=headers
        )

    def add(self, a: int = 2, b: int = 3) -> int:
        """The sum, as the probe server has it."""
        answer = self.ask("tools/call", name="add", arguments={"a": a, "b": b})
        assert answer.status_code == 200, answer.text
        (sum_,) = re.findall(r'"result": ?(-?\d+)', answer.text)
        return int(sum_)


def changed(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The whole with these changes; a None takes out."""
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}
