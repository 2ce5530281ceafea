"""An OpenID provider that the tests steer: people sign in there at once, and it lies, hangs, dies and comes back.

It is the scripted authorization server with a page where people sign in, and with tokens that say who they are. It keeps
to OpenID Connect Core 1.0, and `changes` make it lie in any member of any answer.
"""

from __future__ import annotations

import time
from base64 import b64decode, urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote_plus, urlencode
from uuid import uuid4

from tests.harness.identity.authorization_server import OPENID, AuthorizationServer
from tests.harness.identity.scripts import document, page, redirect
from tests.harness.identity.signing import key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.identity.scripts import Asked, Script

CLIENT_ID, CLIENT_SECRET = "gate: sign-in", "s3cret/of+sign-in%1"
"""By these the gate signs people in: form-encoded they are something else (RFC 6749 section 2.3.1)."""

ALICE = {
    "sub": "alice-0001",
    "name": "Alice of the Tests",
    "preferred_username": "alice",
    "email": "alice@example.com",
    "email_verified": True,
}
BOB = {"sub": "bob-0002", "name": "Bob", "preferred_username": "bob"}


@dataclass(frozen=True)
class Grant:
    """The yes of a person who signed in."""

    person: Mapping[str, Any]
    redirect_uri: str
    challenge: str
    nonce: str
    scope: str


class OpenIDProvider(AuthorizationServer):
    """The server; it listens from the beginning."""

    authorize, token_path, userinfo, keys_path = "/authorize", "/token", "/userinfo", "/jwks"
    access_prefix = "access-"
    """How its access tokens begin."""

    def __init__(self, path: str = "", port: int = 0, *, alg: str = "RS256") -> None:
        """`path` is that of the issuer. ID tokens are signed with the algorithm `alg`."""
        self.client_id, self.client_secret = CLIENT_ID, CLIENT_SECRET
        self.people: dict[str, Mapping[str, Any]] = {"alice": ALICE, "bob": BOB}
        self.person = "alice"
        """The one who signs in."""
        self.denies = False
        """True if that person says no."""
        self.takes = ["client_secret_basic", "client_secret_post"]
        """How a client may prove itself."""
        self.id_claims: tuple[str, ...] = ("preferred_username",)
        """The claims about the person that stand in the ID token, too."""
        self.changes: dict[str, dict[str, Any]] = {}
        """Lies: what is said otherwise, or left out if it is None, in the `metadata`, in the `answer` to the browser, in the
        answer of the `token` endpoint, in the `header` and the claims of the `id_token`, and in `userinfo`."""
        self.codes: dict[str, Grant] = {}
        self.tokens: dict[str, Grant] = {}
        """Grants by the access token."""
        super().__init__(path, port)
        self.keys = [key(f"openid-{alg}", alg)]

    @property
    def metadata(self) -> dict[str, Any]:
        """The document of OpenID Connect Discovery 1.0."""
        base = self.issuer
        return {
            "issuer": self.issuer,
            "authorization_endpoint": base + self.authorize,
            "token_endpoint": base + self.token_path,
            "userinfo_endpoint": base + self.userinfo,
            "jwks_uri": base + self.keys_path,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "profile", "email"],
            "id_token_signing_alg_values_supported": [self.keys[0].alg],
            "token_endpoint_auth_methods_supported": self.takes,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def proper(self, asked: Asked) -> Script:
        """The answer that the question should get."""
        answers = {
            OPENID: lambda: document(self.changed("metadata", self.metadata)),
            self.keys_path: lambda: document({"keys": [each.jwk for each in self.keys]}),
            self.authorize: lambda: self.at_authorize(asked),
            self.token_path: lambda: self._at_token(asked),
            self.userinfo: lambda: self._at_userinfo(asked),
        }
        found = answers.get(asked.path.removeprefix(self.base_path))
        return found() if found else super().proper(asked)

    @property
    def base_path(self) -> str:
        """The path of the issuer."""
        return self.issuer.removeprefix(self.url)

    def changed(self, what: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members as they are told."""
        whole = {**members, **self.changes.get(what, {})}
        return {name: value for name, value in whole.items() if value is not None}

    # The page where people sign in.

    def at_authorize(self, asked: Asked) -> Script:
        """The person who is chosen answers at once."""
        query = form_in(asked.query)
        return self.wrong(query) or self.decided(query, self.person, denies=self.denies)

    def wrong(self, query: Mapping[str, str]) -> Script | None:
        """A page for somebody whom no proper client has sent; None if one has."""
        needed = {
            "response_type": "code",
            "client_id": self.client_id,
            "code_challenge_method": "S256",
        }
        faults = [name for name, value in needed.items() if query.get(name) != value]
        faults += [n for n in ("redirect_uri", "state", "nonce") if not query.get(n)]
        faults += [] if "openid" in query.get("scope", "").split() else ["scope"]
        faults += [] if len(query.get("code_challenge", "")) == 43 else ["code_challenge"]
        return page(f"<h1>Wrong: {', '.join(faults)}</h1>", 400) if faults else None

    def decided(self, query: Mapping[str, str], person: str, *, denies: bool) -> Script:
        """Send the browser back with the yes or the no of that person."""
        told = {"state": query["state"], "iss": self.issuer}
        if denies:
            told |= {"error": "access_denied", "error_description": "<b>The person</b> said no"}
        else:
            told["code"] = uuid4().hex
            self.codes[told["code"]] = Grant(
                self.people[person],
                query["redirect_uri"],
                query["code_challenge"],
                query["nonce"],
                query["scope"],
            )
        answer = urlencode(self.changed("answer", told), doseq=True)
        return redirect(f"{query['redirect_uri']}?{answer}")

    # The questions of the gate.

    def _at_token(self, asked: Asked) -> Script:
        form = form_in(asked.body.decode())
        if not self._is_client(asked, form):
            return document({"error": "invalid_client"}, 401, WWW_Authenticate="Basic")
        grant = self.codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        if (
            grant is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != grant.redirect_uri
            or challenge_of(verifier) != grant.challenge
        ):
            return document({"error": "invalid_grant"}, 400)
        access = f"{self.access_prefix}{uuid4().hex}"
        self.tokens[access] = grant
        answer = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": 28800,
            "scope": grant.scope,
            "id_token": self.id_token(grant),
        }
        return document(self.changed("token", answer))

    def id_token(self, grant: Grant) -> str:
        """The ID token for that grant."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client_id,
            "sub": grant.person["sub"],
            "nonce": grant.nonce,
            "iat": now,
            "exp": now + 3600,
            **{name: grant.person[name] for name in self.id_claims if name in grant.person},
        }
        header = self.changes.get("header", {})
        return self.keys[0].token(self.changed("id_token", claims), **header)

    def _is_client(self, asked: Asked, form: Mapping[str, str]) -> bool:
        way, _, value = asked.fields.get("authorization", "").partition(" ")
        if way == "Basic":
            given = b64decode(value).decode().split(":", 1)
            told = [unquote_plus(each) for each in given]
            method = "client_secret_basic"
        else:
            told = [form.get("client_id", ""), form.get("client_secret", "")]
            method = "client_secret_post"
        return method in self.takes and told == [self.client_id, self.client_secret]

    def _at_userinfo(self, asked: Asked) -> Script:
        way, _, token = asked.fields.get("authorization", "").partition(" ")
        grant = self.tokens.get(token)
        if way != "Bearer" or grant is None:
            return document({"error": "invalid_token"}, 401)
        hidden = set() if "email" in grant.scope.split() else {"email", "email_verified"}
        claims = {name: value for name, value in grant.person.items() if name not in hidden}
        return document(self.changed("userinfo", claims))


def form_in(text: str) -> dict[str, str]:
    """The first value of each name in a form, or a query."""
    return {name: values[0] for name, values in parse_qs(text).items()}


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@contextmanager
def openid_provider(path: str = "", **given: Any) -> Iterator[OpenIDProvider]:
    """The provider, until the block ends."""
    provider = OpenIDProvider(path, **given)
    try:
        yield provider
    finally:
        provider.stop()
