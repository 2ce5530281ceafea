"""An authorization request: the URL by which an app sends the browser of a person here (RFC 6749 section 4.1.1).

Anybody can write such a URL, and send any browser there. First it is judged who asks, and where the answer goes: as long
as that is not sure, nothing is sent anywhere. All other faults are for the app to know, as its answer.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from gatehouse.apps.clients import ClientError
from gatehouse.apps.redirects import check_redirect_uri, matches
from gatehouse.identity.subject import MAX_SCOPES
from gatehouse.signin.sealing import MAX_CONTENT_BYTES, length_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gatehouse.apps.client import Client
    from gatehouse.apps.clients import Clients

MAX_QUERY_BYTES = 8192
"""How long the query may be. The largest good ones have a registered client's id, of some 2 KiB, and a state."""

MAX_PARAMETERS = 64
"""How many parameters there may be. Clients send nine, and some of their own."""

MAX_STATE_LENGTH = 1024
"""How long the state may be: a cookie holds it. A quote or a backslash counts twice. Most have fewer than 100 characters."""

MAX_SCOPE_LENGTH = 400
"""How long all scopes together may be: each token of the app holds them."""

_ROOM = MAX_CONTENT_BYTES - 100
"""How much a request may take in a seal, which holds for whom the page was made, too."""

_STATE = re.compile(rf"[ -~]{{1,{MAX_STATE_LENGTH}}}")  # RFC 6749 appendix A.5
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # of a SHA-256: RFC 7636 section 4.2

AGAIN = "Start again in the app."
NO_QUERY = f"This is no request of an app that can be read, or it is too long. {AGAIN}"
NO_CLIENT = "An app sent you here without saying which it is, or twice. If you started this, tell whoever makes the app."
NO_REDIRECT = (
    "The app wants its answer sent to an address that it has not registered, or does not say to which. Nothing was sent. "
    "If you started this, tell whoever makes the app."
)


class Refusal(NamedTuple):
    """The answer to an app whose request is not carried out (RFC 6749 section 4.1.2.1)."""

    redirect_uri: str
    state: str
    """Empty if the request has none that can be given back."""
    error: str
    words: str

    def __repr__(self) -> str:
        """No state."""
        return f"<a refusal: {self.error}>"


class AuthorizationRequest(NamedTuple):
    """A request that may be granted, if the person wants that."""

    id: str
    """Each is answered once."""
    key: str
    """The client's (`Client.key`)."""
    name: str
    """How the client calls itself; may be empty."""
    document_host: str
    """The host of the document that describes the client; empty for a registered one."""
    redirect_uri: str
    state: str
    challenge: str
    """The S256 challenge of PKCE."""
    resource: str
    """The URL of the endpoint, as the app wrote it."""
    scope: str
    """The names of the scopes, with a blank between; empty if there are none in force."""

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.scope.split())

    def refused(self, error: str, words: str) -> Refusal:
        """The answer that says no."""
        return Refusal(self.redirect_uri, self.state, error, words)

    def __repr__(self) -> str:
        """Neither state nor challenge."""
        return "<an authorization request>"


Asked = AuthorizationRequest | Refusal


class _FaultError(Exception):
    """The app hears the error, and words of ours."""

    def __init__(self, error: str, words: str) -> None:
        super().__init__(words)
        self.error, self.words = error, words


class AuthorizationRequests:
    """Reads requests. `resources` are the URLs of the endpoint, and `scopes` tells the names of those in force."""

    def __init__(
        self, clients: Clients, resources: Collection[str], scopes: Callable[[], Sequence[str]]
    ) -> None:
        self._clients = clients
        self._resources = frozenset(resources)
        self._scopes = scopes

    async def read(self, query: bytes, address: str, person: str = "") -> Asked:
        """The request in a query, which comes from that address, or what its app is to hear. If somebody is signed in,
        `person` is their id.

        Raises ClientError if it is not sure who asks, or where the answer goes: that is for the person alone. May ask for
        the document of a client, in bounded time.
        """
        given = _parameters(query)
        client_id = _one_of(given, "client_id", NO_CLIENT)
        client = await self._clients.find(client_id, address, person)
        redirect_uri = _redirect_uri(given, client)
        state = _state(given)
        try:
            return self._judged(given, client, redirect_uri, state)
        except _FaultError as fault:
            return Refusal(redirect_uri, state, fault.error, fault.words)

    def _judged(
        self, given: Mapping[str, list[str]], client: Client, redirect_uri: str, state: str
    ) -> AuthorizationRequest:
        _check_form(given)
        if not state:
            raise _FaultError(
                "invalid_request", f"state is needed: 1 to {MAX_STATE_LENGTH} ASCII characters"
            )
        if not set(given.get("resource", ())) <= self._resources or "resource" not in given:
            raise _FaultError("invalid_target", "resource must be the URL of the MCP endpoint")
        request = AuthorizationRequest(
            secrets.token_urlsafe(16),
            client.key,
            client.name,
            client.document_host,
            redirect_uri,
            state,
            _challenge(given),
            given["resource"][0],
            self._scope(given.get("scope", [""])[0]),
        )
        if length_of(content_of(request)) > _ROOM:
            raise _FaultError("invalid_request", "the request is too long")
        return request

    def _scope(self, asked: str) -> str:
        """Those of the scopes in force that are asked for; all, if none are (RFC 6749 section 3.3)."""
        known = self._scopes()
        wanted = asked.split(" ", MAX_SCOPES)[:MAX_SCOPES] if asked else known
        names = [name for name in dict.fromkeys(wanted) if name in known]
        if known and not names:
            raise _FaultError("invalid_scope", "none of these scopes is known here")
        scope = ""
        for name in names:
            longer = f"{scope} {name}" if scope else name
            scope = longer if len(longer) <= MAX_SCOPE_LENGTH else scope
        return scope


def answer_url(redirect_uri: str, parameters: Mapping[str, str]) -> str:
    """Where the answer goes: the redirect URI with its own query and the parameters that are not empty (RFC 6749 section 3.1.2).

    A space is written as %20, which all read alike: there are apps that show a plus as it stands.
    """
    sign = "?" if "?" not in redirect_uri else "" if redirect_uri.endswith(("?", "&")) else "&"
    told = {name: text for name, text in parameters.items() if text}
    return redirect_uri + sign + urlencode(told, quote_via=quote)


def content_of(asked: Asked) -> dict[str, Any]:
    """The request, or the refusal, for a seal."""
    return {"a": list(asked)}


def asked_in(content: Mapping[str, Any]) -> Asked | None:
    """The request, or the refusal, that a seal holds; None if it holds none, or one of another release."""
    values = content.get("a")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return None
    if len(values) == len(Refusal._fields):
        return Refusal(*values)
    return (
        AuthorizationRequest(*values) if len(values) == len(AuthorizationRequest._fields) else None
    )


def _parameters(query: bytes) -> dict[str, list[str]]:
    """The parameters with their values, in order. One without a value is as good as none (RFC 6749 section 3.1)."""
    try:
        if len(query) > MAX_QUERY_BYTES:
            raise ValueError
        pairs = parse_qsl(query.decode("ascii"), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ClientError(NO_QUERY, reason="app-unreadable") from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def _one_of(given: Mapping[str, list[str]], name: str, words: str) -> str:
    values = given.get(name, [])
    if len(values) != 1:
        raise ClientError(words, reason="app-unreadable")
    return values[0]


def _redirect_uri(given: Mapping[str, list[str]], client: Client) -> str:
    """Where the answer goes. It may be left out by a client that has one place only (RFC 6749 section 3.1.2.3)."""
    if "redirect_uri" not in given and len(client.redirect_uris) == 1:
        uri = client.redirect_uris[0]
    else:
        uri = _one_of(given, "redirect_uri", NO_REDIRECT)
    try:
        check_redirect_uri(uri)
    except ValueError:
        raise ClientError(NO_REDIRECT, reason="app-redirect") from None
    if not any(matches(registered, uri) for registered in client.redirect_uris):
        raise ClientError(NO_REDIRECT, reason="app-redirect")
    return uri


def _state(given: Mapping[str, list[str]]) -> str:
    """The state, which goes back as it came; empty if there is none that can."""
    values = given.get("state", [])
    text = values[0] if len(values) == 1 else ""
    fits = len(text) + text.count('"') + text.count("\\") <= MAX_STATE_LENGTH
    return text if fits and _STATE.fullmatch(text) else ""


def _check_form(given: Mapping[str, list[str]]) -> None:
    """Raise the fault of a request that asks for something else than a code, or in two ways."""
    if any(len(values) > 1 for name, values in given.items() if name != "resource"):
        raise _FaultError("invalid_request", "a parameter came twice")
    kind = given.get("response_type", [""])[0]
    if not kind:
        raise _FaultError("invalid_request", "response_type is needed")
    if kind != "code":
        raise _FaultError("unsupported_response_type", "response_type must be code")


def _challenge(given: Mapping[str, list[str]]) -> str:
    """The challenge of PKCE, whose method must be named: it would be another one (RFC 7636 section 4.3)."""
    challenge = given.get("code_challenge", [""])[0]
    if given.get("code_challenge_method") != ["S256"] or not _CHALLENGE.fullmatch(challenge):
        raise _FaultError(
            "invalid_request", "code_challenge is needed, with code_challenge_method S256"
        )
    return challenge
