"""An OpenID provider without a socket, by Trio's clock: it answers the gate's questions, and sends people back.

It can lie in any member (`changes`), and answer anything else at any of its places (`instead`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import trio

from gatehouse.http.asked import Asked
from tests.harness.identity.openid_provider import ALICE, challenge_of
from tests.harness.identity.questions import FakeAsk, Question
from tests.harness.jwts import Signer, jwks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ISSUER = "https://idp.example/realms/one"
METADATA = f"{ISSUER}/.well-known/openid-configuration"
AUTHORIZE, TOKEN, USERINFO, KEYS = (
    f"{ISSUER}/{each}" for each in ("authorize", "token", "userinfo", "keys")
)
CLIENT_ID, CLIENT_SECRET = "gate: sign-in", "s3cret/of+sign-in%1"
ORIGIN = "https://gate.example"
CALLBACK = f"{ORIGIN}/dashboard/callback"
ACCESS = "access.token-of~the+tests/0123456789=="
CODE = "the code/of+this sign-in"

NOON = 1_700_000_000.0
"""The Unix time at which each test begins."""

PROPER = {
    "issuer": ISSUER,
    "authorization_endpoint": AUTHORIZE,
    "token_endpoint": TOKEN,
    "userinfo_endpoint": USERINFO,
    "jwks_uri": KEYS,
    "code_challenge_methods_supported": ["S256"],
}


def unix_time() -> float:
    """The time for the gate's parts."""
    return NOON + trio.current_time()


@dataclass
class PaperProvider:
    """The provider. A person who comes to its page says yes."""

    signer: Signer = field(default_factory=Signer)
    listed: list[Signer] | None = None
    """Those whose keys are listed; None is the one who signs."""
    person: Mapping[str, Any] = field(default_factory=lambda: dict(ALICE))
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Members of `metadata`, `token`, `header`, `id_token`, `userinfo` and `answer` that are told otherwise, or left out if
    they are None."""
    instead: dict[str, Asked | Callable[[Question], Asked | Mapping[str, Any]]] = field(
        default_factory=dict
    )
    """Other answers, by the URL."""
    seen: dict[str, str] = field(default_factory=dict)
    """The parameters with which the browser came last."""

    def __post_init__(self) -> None:
        self.ask = FakeAsk(self._answer)

    def asked(self, url: str) -> int:
        """How often that was asked."""
        return sum(question.url == url for question in self.ask.questions)

    def sends_back(self, location: str) -> bytes:
        """The query with which a browser that went there comes back."""
        self.seen = dict(parse_qsl(urlsplit(location).query))
        return urlencode(
            self._changed("answer", {"code": CODE, "state": self.seen["state"]})
        ).encode()

    def id_token(self) -> str:
        """An ID token for that browser."""
        now = int(unix_time())
        claims = {
            "iss": ISSUER,
            "aud": CLIENT_ID,
            "sub": self.person["sub"],
            "nonce": self.seen.get("nonce", "n"),
            "iat": now,
            "exp": now + 300,
        }
        header = self.changes.get("header", {})
        return self.signer.sign(self._changed("id_token", claims), **header).decode()

    def _changed(self, what: str, members: Mapping[str, Any]) -> dict[str, Any]:
        whole = {**members, **self.changes.get(what, {})}
        return {name: value for name, value in whole.items() if value is not None}

    def _answer(self, question: Question) -> Asked | Mapping[str, Any]:
        if (other := self.instead.get(question.url)) is not None:
            return other if isinstance(other, Asked) else other(question)
        if question.url == METADATA:
            return self._changed("metadata", PROPER)
        if question.url == KEYS:
            return jwks(*(self.listed or [self.signer]))
        if question.url == USERINFO:
            return self._changed("userinfo", self.person)
        if question.url == TOKEN:
            good = challenge_of(question.form["code_verifier"]) == self.seen["code_challenge"]
            if not good or question.form["code"] != CODE:
                return Asked(400, [], {})
            told = {"access_token": ACCESS, "token_type": "Bearer", "id_token": self.id_token()}
            return self._changed("token", told)
        return Asked(404, [], {})
