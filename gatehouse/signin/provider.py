"""The OpenID provider where people sign in (OpenID Connect Core 1.0, the code flow with PKCE).

It is asked over the gate's own bounded questions (`http/asked.py`), and believed for what it has signed. Its
tokens are used once, to learn who signed in, and then forgotten: neither they nor the client's secret are in any word.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import trio

from gatehouse.http.asked import AskError
from gatehouse.identity.clock import clock as unix_time
from gatehouse.identity.discovery import fetched
from gatehouse.identity.introspection import basic
from gatehouse.identity.jwt import MAX_TOKEN_BYTES, Bad, Jwts, Rules
from gatehouse.identity.jwt_uses import ID
from gatehouse.identity.public_keys import ALGORITHMS
from gatehouse.records.loggers import logger_of
from gatehouse.signin.claims import MAX_CLAIM_LENGTH, person_of
from gatehouse.signin.metadata import MetadataError, fetched_metadata
from gatehouse.signin.on_demand import OnDemand
from gatehouse.signin.provider_keys import ProviderKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gatehouse.http.asked import Ask, Asked
    from gatehouse.identity.keys import FetchedKeys
    from gatehouse.identity.subject import Subject
    from gatehouse.signin.metadata import ProviderMetadata

logger = logger_of("gate.sign_in")

KEEP_SECONDS = 600.0
"""How long the provider's description of itself counts. Providers change theirs once in years."""

MAX_SECONDS = 15.0
"""How long all the questions of one sign-in may take together: four at most, of which each takes 5 s at most."""

TELL_SECONDS = 60.0
"""How long after a trouble was logged another of that kind is not: strangers can cause some kinds."""

WORDS = {
    "provider-away": "The provider where people sign in does not answer. Wait a minute, and sign in again.",
    "provider-metadata": "The provider where people sign in says of itself what this gate cannot take. "
    "The log of the gate says more to whoever runs it.",
    "provider-refused": "The provider where people sign in does not know this gate. Whoever runs the gate must see "
    "that its client id and its secret are those that the provider has.",
    "code-refused": "The provider did not confirm this sign-in: it took too long, or it was used before. Sign in again.",
    "token-answer": "The provider confirmed this sign-in in a way that this gate cannot take. Sign in again; if that is of no "
    "help, the log of the gate says more to whoever runs it.",
    "id-token": "The provider said who you are, but that did not hold. Sign in again; if that is of no help, the log "
    "of the gate says more to whoever runs it.",
    "nonce": "The provider answered for another sign-in than this one. Sign in again.",
    "userinfo": "The provider did not say enough about you. Sign in again; if that is of no help, the log of the gate says "
    "more to whoever runs it.",
}
"""For the person, by the reason."""

_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1


class ProviderError(Exception):
    """Nobody has signed in. `words` tell the person what to do, and `reason` is one word for records."""

    def __init__(self, words: str, reason: str) -> None:
        super().__init__(words)
        self.words = words
        self.reason = reason


class _Tokens(NamedTuple):
    """The answer of the token endpoint."""

    access_token: str
    id_token: str

    def __repr__(self) -> str:
        """No token."""
        return "<tokens>"


class Provider:
    """The provider of that issuer, where the gate is the client `client_id`."""

    def __init__(
        self,
        ask: Ask,
        issuer: str,
        client_id: str,
        client_secret: str,
        *,
        scopes: Iterable[str] = ("openid", "profile"),
        leeway: float = 60.0,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._ask = ask
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = " ".join(dict.fromkeys(("openid", *scopes)))
        self._metadata = OnDemand(self._fetched_metadata)
        self._keys = ProviderKeys(self._fetched_keys)
        rules = Rules(issuer, (client_id,), tuple(ALGORITHMS), leeway=leeway, use=ID)
        self._jwts = Jwts(rules, self._keys, clock=clock)
        self._told_at: dict[str, float] = {}

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, challenge: str
    ) -> str:
        """The URL at which a person signs in. Raises ProviderError."""
        endpoint = (await self.metadata()).authorization_endpoint
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": self._scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in endpoint else "?"
        return f"{endpoint}{joint}{urlencode(query, quote_via=quote)}"

    async def subject(self, *, code: str, redirect_uri: str, verifier: str, nonce: str) -> Subject:
        """The person for whom the provider gave the code. Raises ProviderError; takes MAX_SECONDS at most."""
        with trio.move_on_after(MAX_SECONDS):
            metadata = await self.metadata()
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
            tokens = await self._tokens(metadata, form)
            claims = await self._identity(tokens.id_token, nonce)
            told = await self._userinfo(metadata, tokens.access_token, claims["sub"])
            return person_of(claims, told, self.issuer)
        raise self._failure("provider-away", f"its answers took more than {MAX_SECONDS:g} s in all")

    async def is_sender(self, told: str | None) -> bool:
        """True if an answer that names that issuer, or none, is this provider's (RFC 9207). Raises ProviderError."""
        if told is not None:
            return told == self.issuer
        return not (await self.metadata()).tells_issuer

    async def metadata(self) -> ProviderMetadata:
        """The provider's description of itself. Raises ProviderError."""
        try:
            return await self._metadata.get()
        except MetadataError as error:
            raise self._failure("provider-metadata", error.words) from None
        except AskError as error:
            raise self._failure("provider-away", error.words) from None

    async def _tokens(self, metadata: ProviderMetadata, form: Mapping[str, str]) -> _Tokens:
        """The tokens for a code. Raises ProviderError."""
        client = {"client_id": self._client_id, "client_secret": self._client_secret}
        try:
            if metadata.posts_secret:
                asked = await self._ask.post_form(metadata.token_endpoint, {**form, **client}, [])
            else:
                proof = (b"Authorization", basic(self._client_id, self._client_secret))
                asked = await self._ask.post_form(metadata.token_endpoint, form, [proof])
        except AskError as error:
            raise self._failure("provider-away", f"its token endpoint: {error.words}") from None
        if asked.status != 200:
            raise self._refused(asked)
        access, identity = asked.document.get("access_token"), asked.document.get("id_token")
        if not isinstance(identity, str):
            raise self._failure("token-answer", "its token endpoint gives no ID token")
        if metadata.userinfo_endpoint and not self._is_bearer(asked.document):
            raise self._failure("token-answer", "its token endpoint gives no bearer token")
        return _Tokens(str(access), identity)

    def _refused(self, asked: Asked) -> ProviderError:
        """Why there are no tokens. The body is not read: the status tells whose fault it is."""
        told = f"its token endpoint answers {asked.status}"
        if asked.status in {401, 403, 404, 405}:
            return self._failure("provider-refused", told)
        if asked.status >= 500 or asked.status == 429:
            return self._failure("provider-away", told)
        return self._failure("code-refused", told)

    @staticmethod
    def _is_bearer(document: Mapping[str, Any]) -> bool:
        token, kind = document.get("access_token"), document.get("token_type")
        if not isinstance(token, str) or not isinstance(kind, str) or kind.lower() != "bearer":
            return False
        return len(token) <= MAX_TOKEN_BYTES and _ACCESS_TOKEN.fullmatch(token) is not None

    async def _identity(self, token: str, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that was made for this very sign-in. Raises ProviderError."""
        verdict = await self._jwts.verify(token.encode("utf-8", "replace"))
        if isinstance(verdict, Bad):
            if verdict.retry_after is not None:
                raise self._failure("provider-away", f"its keys: {self._keys.trouble}")
            raise self._failure("id-token", f"its ID token is no good: {verdict.reason}")
        told = verdict.claims.get("nonce")
        if not isinstance(told, str) or not hmac.compare_digest(told.encode(), nonce.encode()):
            raise self._failure("nonce", "its ID token has another nonce than the sign-in, or none")
        if len(verdict.claims["sub"]) > MAX_CLAIM_LENGTH:
            raise self._failure("id-token", f"its sub is longer than {MAX_CLAIM_LENGTH} characters")
        return verdict.claims

    async def _userinfo(
        self, metadata: ProviderMetadata, access_token: str, sub: str
    ) -> Mapping[str, Any]:
        """The claims that the provider tells about the person; none if it has no place for that. Raises ProviderError.

        It counts only if it is about the one whom the ID token names (OpenID Connect Core section 5.3.2).
        """
        if not metadata.userinfo_endpoint:
            return {}
        bearer = (b"Authorization", b"Bearer " + access_token.encode("ascii"))
        try:
            asked = await self._ask.get_json(metadata.userinfo_endpoint, [bearer])
        except AskError as error:
            raise self._failure("userinfo", f"its userinfo endpoint: {error.words}") from None
        if asked.status != 200:
            raise self._failure("userinfo", f"its userinfo endpoint answers {asked.status}")
        if asked.document.get("sub") != sub:
            raise self._failure("userinfo", "its userinfo endpoint tells about somebody else")
        return asked.document

    async def _fetched_metadata(self) -> tuple[ProviderMetadata, float]:
        return await fetched_metadata(self._ask, self.issuer), KEEP_SECONDS

    async def _fetched_keys(self) -> FetchedKeys:
        return await fetched(self._ask, (await self._metadata.get()).jwks_uri)

    def _failure(self, reason: str, told: str) -> ProviderError:
        """The error for that reason. The rest is told to the log, now and then."""
        now = trio.current_time()
        if now - self._told_at.get(reason, -TELL_SECONDS) >= TELL_SECONDS:
            self._told_at[reason] = now
            logger.warning("a sign-in failed (%s), at %s: %s", reason, self.issuer, told)
        return ProviderError(WORDS[reason], reason)
