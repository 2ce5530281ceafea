"""The token endpoint (RFC 6749 section 3.2): a code, or a refresh token, for an access token and the next refresh token.

All apps are public clients: they prove nothing but that they hold the code and its verifier (RFC 7636), or the last
refresh token. Everything is judged before a code or refresh token counts as used.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from gatehouse.apps.client import key_of
from gatehouse.apps.grant import GRACE_SECONDS
from gatehouse.apps.grants import Advance
from gatehouse.http.challenges import NEVER_ASKED
from gatehouse.pages.apps.answers import (
    BadParametersError,
    before,
    brings_secret,
    invalid_client,
    oauth_answer,
    oauth_error,
    read_parameters,
    too_many,
)
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gatehouse.apps.clients import Clients
    from gatehouse.apps.grant import Grant
    from gatehouse.apps.grants import Grants
    from gatehouse.apps.tokens import Tokens
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.who_signs_in import PeopleWhoSignIn
    from gatehouse.policy.failures import Failures

    Parameters = Mapping[str, str]

logger = logger_of("gate.apps")

RETRY_SECONDS = 5
"""When to come again while nobody can tell whether a code or refresh token was used."""

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1


class _RefusedError(Exception):
    """The request gets no tokens: the reply says why. It counts as a failure if it could be a guess."""

    def __init__(self, reply: Reply, *, counts: bool = True) -> None:
        super().__init__(reply.reason)
        self.reply, self.counts = reply, counts


class TokenEndpoint:
    """The page. Tokens are for the `resources`, the spellings of the endpoint's URL.

    `failures` counts by address what was no good: a good code or refresh token does its work however many came before. One
    that was good once is told so, since its app must hear that it has to ask its person anew.
    """

    def __init__(
        self,
        clients: Clients,
        tokens: Tokens,
        grants: Grants,
        people: PeopleWhoSignIn,
        failures: Failures,
        resources: Collection[str],
    ) -> None:
        self._clients = clients
        self._tokens = tokens
        self._grants = grants
        self._people = people
        self._failures = failures
        self._resources = frozenset(resources)

    async def __call__(self, exchange: Exchange) -> Reply:
        if reply := before(exchange.request):
            return reply
        try:
            return await self._answer(exchange, await read_parameters(exchange))
        except BadParametersError as error:
            return error.reply
        except _RefusedError as error:
            client = exchange.request.client
            seconds = self._failures.retry_after(client) if error.counts else None
            return error.reply if seconds is None else too_many(seconds)

    async def _answer(self, exchange: Exchange, given: Parameters) -> Reply:
        """The answer to a form. Raises _RefusedError."""
        self._judge_client(exchange.request, given)
        kind = _needed(given, "grant_type")
        if kind == "authorization_code":
            grant, generation, grace = self._by_code(given), 0, 0.0
        elif kind == "refresh_token":
            grant, generation = self._by_refresh(given)
            grace = GRACE_SECONDS
        else:
            raise _refused(
                "unsupported_grant_type", "Codes and refresh tokens are taken here, nothing else."
            )
        exchange.name = grant.person.shown
        scopes = self._judge_grant(given, grant)
        address = exchange.request.client
        told = await self._grants.advance(grant, generation, grace=grace, address=address)
        if told is Advance.UNAVAILABLE:
            raise _RefusedError(_UNAVAILABLE, counts=False)
        if told not in {Advance.FIRST, Advance.AGAIN}:
            raise _of_ours("invalid_grant", _ENDED)
        if not generation:
            logger.info("an app of %s took its first tokens", grant.person.shown)
        return self._tokens_for(grant, generation + 1, scopes)

    def _judge_client(self, request: Request, given: Parameters) -> None:
        """Refuse a client that must register anew: then it forgets what it knows, and begins again.

        A secret beside a client_id is not looked at: the gate has given none. Some clients try first with their id in
        `Authorization` alone, and then in the form (Go's x/oauth2); nothing is used up by the first.
        """
        client_id = given.get("client_id", "")
        if not client_id and brings_secret(request):
            words = "Clients have no secret here: send client_id in the form, and no Authorization."
            raise _RefusedError(invalid_client(request, words))
        if not client_id:
            raise _refused("invalid_request", "client_id is missing.")
        if not self._clients.knows(client_id):
            words = "This client is not registered here, or was before the gate's secret changed. Register it again."
            raise _RefusedError(invalid_client(request, words))

    def _judge_grant(self, given: Parameters, grant: Grant) -> tuple[str, ...]:
        """The scopes of the tokens that the grant gives now."""
        if grant.resource not in self._resources:
            # PUBLIC_URL has changed, so the app must ask anew.
            raise _of_ours("invalid_grant", "The grant is for another resource.")
        if given.get("resource", grant.resource) not in self._resources:
            raise _of_ours("invalid_target", "Tokens are for this MCP endpoint alone.")
        if self._people.find(grant.person) is None:
            raise _of_ours("invalid_grant", "The person may not use this server any more.")
        return _scopes_of(given, grant)

    def _by_code(self, given: Parameters) -> Grant:
        """The grant of a code that this client may use."""
        code = self._tokens.read_code(_needed(given, "code"))
        verifier = _needed(given, "code_verifier")
        if code is None or code.grant.client != key_of(given["client_id"]):
            raise _refused("invalid_grant", "The code is none, is over, or is another client's.")
        # OAuth 2.1 leaves it out of this request; RFC 6749 section 4.1.3 wants it to be the same.
        if given.get("redirect_uri", code.redirect_uri) != code.redirect_uri:
            raise _refused("invalid_grant", "redirect_uri is not the one that the code went to.")
        digest = urlsafe_b64encode(sha256(verifier.encode("utf-8", "replace")).digest())
        good = hmac.compare_digest(digest.rstrip(b"="), code.challenge.encode("utf-8", "replace"))
        if not good or not _VERIFIER.fullmatch(verifier):
            raise _refused("invalid_grant", "code_verifier does not fit to the code_challenge.")
        return code.grant

    def _by_refresh(self, given: Parameters) -> tuple[Grant, int]:
        """The grant of a refresh token that this client may use, and its generation."""
        found = self._tokens.read_refresh(_needed(given, "refresh_token"))
        if found is None or found.grant.client != key_of(given["client_id"]):
            words = "The refresh token is none, is over, or is another client's."
            raise _refused("invalid_grant", words)
        return found

    def _tokens_for(self, grant: Grant, generation: int, scopes: tuple[str, ...]) -> Reply:
        access, seconds = self._tokens.access(replace(grant, scopes=scopes))
        told: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(seconds),
            "refresh_token": self._tokens.refresh(grant, generation),
        }
        if scopes:
            told["scope"] = " ".join(scopes)
        return oauth_answer(200, told)


def _scopes_of(given: Parameters, grant: Grant) -> tuple[str, ...]:
    """The scopes of the access token: those of the grant, or fewer if the app asks for fewer (RFC 6749 section 6)."""
    names = dict.fromkeys(given.get("scope", "").split())
    names.pop(NEVER_ASKED, None)  # every app gets refresh tokens, and none gets a scope for that
    asked = tuple(names)
    if not asked or not grant.scopes:
        return grant.scopes
    if not set(asked) <= set(grant.scopes):
        raise _of_ours("invalid_scope", "The grant has not all of these scopes.")
    return asked


def _needed(given: Parameters, name: str) -> str:
    if name not in given:
        raise _refused("invalid_request", f"{name} is missing.")
    return given[name]


def _refused(error: str, words: str) -> _RefusedError:
    return _RefusedError(oauth_error(400, error, words, reason=error.replace("_", "-")))


def _of_ours(error: str, words: str) -> _RefusedError:
    """The refusal of a code or refresh token that this gate has made: nobody guesses one."""
    return _RefusedError(_refused(error, words).reply, counts=False)


_ENDED = "The code or token was used before, or its grant has ended."

_UNAVAILABLE = oauth_error(
    503,
    "temporarily_unavailable",
    "The gate cannot tell now whether this was used before. Keep it, and try again in a few seconds.",
    (b"Retry-After", b"%d" % RETRY_SECONDS),
    reason="shared-state",
)
