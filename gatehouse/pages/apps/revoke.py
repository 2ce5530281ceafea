"""The revocation endpoint (RFC 7009): an app that is not needed any more ends its grant itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.apps.client import key_of
from gatehouse.pages.apps.answers import (
    BadParametersError,
    before,
    invalid_client,
    oauth_answer,
    oauth_error,
    read_parameters,
)
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from gatehouse.apps.grant import Grant
    from gatehouse.apps.grants import Grants
    from gatehouse.apps.tokens import Tokens
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.reply import Reply

logger = logger_of("gate.apps")


class RevokeEndpoint:
    """The page. Whatever token of a grant comes, all of the grant ends: what is left would be of no use to anybody."""

    def __init__(self, tokens: Tokens, grants: Grants) -> None:
        self._tokens = tokens
        self._grants = grants

    async def __call__(self, exchange: Exchange) -> Reply:
        if reply := before(exchange.request):
            return reply
        try:
            given = await read_parameters(exchange)
        except BadParametersError as error:
            return error.reply
        if "token" not in given:
            return oauth_error(
                400, "invalid_request", "token is missing.", reason="invalid-request"
            )
        grant = self._grant_of(given["token"])
        # A token that is none gets the same answer: it is no good afterwards, either (section 2.2).
        if grant is None or self._grants.has_ended(grant):
            return oauth_answer(200, {})
        # Whoever has a token can end it, and nothing else by that: an app that does not say which it is may do so, too.
        if "client_id" in given and key_of(given["client_id"]) != grant.client:
            words = "client_id is not the one that the token was made for."
            return invalid_client(exchange.request, words)
        exchange.name = grant.person.shown
        logger.info("an app of %s ended its grant", grant.person.shown)
        await self._grants.end(grant)
        return oauth_answer(200, {})

    def _grant_of(self, token: str) -> Grant | None:
        if refresh := self._tokens.read_refresh(token):
            return refresh.grant
        access = self._tokens.read_access(token)
        return access.grant if access else None
