"""Settings to parts: the verifiers of what others have signed, an authorization server or a front, and their keys.

Their parts are imported only if they are used: that takes a while.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gatehouse.http.asked import Ask
    from gatehouse.http.challenges import Challenges
    from gatehouse.identity.access_tokens import AccessTokens
    from gatehouse.identity.admission import Admission
    from gatehouse.identity.fronts import Assertions, Front
    from gatehouse.identity.introspection import Introspection
    from gatehouse.identity.jwt import Rules
    from gatehouse.identity.keys import FetchedKeys, Keys
    from gatehouse.identity.principal import PrincipalKind
    from gatehouse.settings.environment import Settings


class Signers:
    """Those who sign, by the settings. They are asked for their keys with `ask`; new keys call `on_change`."""

    def __init__(self, settings: Settings, ask: Ask, on_change: Callable[[], None]) -> None:
        self._settings = settings
        self._ask = ask
        self._on_change = on_change
        self.keys: dict[PrincipalKind, Keys] = {}
        """The keys of the authorization server, and those of the front."""

    @cached_property
    def front(self) -> Front | None:
        """The front whose assertions are good."""
        given = self._settings
        if given.front is None:
            return None
        from gatehouse.identity.fronts import front_of

        return front_of(
            given.front,
            audiences=given.front_audience,
            team=given.front_team or "",
            header=given.front_header or "",
            issuer=given.front_issuer or "",
            keys_url=given.front_jwks_url or "",
            algorithms=given.front_algorithms,
            name_claim=given.front_name_claim,
        )

    def access_tokens(self, admission: Admission, challenges: Challenges) -> AccessTokens:
        """The verifier of the authorization server's access tokens."""
        from gatehouse.identity.access_tokens import AccessTokens
        from gatehouse.identity.discovery import KeysAt, KeysOf
        from gatehouse.identity.jwt import Jwts, Rules

        given, issuer = self._settings, self._settings.auth_issuer or ""
        url = given.auth_jwks_url
        source = KeysAt(self._ask, url) if url else KeysOf(self._ask, issuer)
        keys = self._keys("oauth", "AUTH_ISSUER", source.fetch)
        leeway = given.auth_leeway_seconds
        rules = Rules(issuer, given.audiences, given.auth_algorithms, given.auth_token_type, leeway)
        return AccessTokens(
            Jwts(rules, keys),
            keys,
            self._introspection(rules),
            admission=admission,
            challenges=challenges,
            issuer=issuer,
            name_claim=given.auth_name_claim,
            leeway=leeway,
        )

    def assertions(self, front: Front, admission: Admission) -> Assertions:
        """The verifier of the front's assertions."""
        from gatehouse.identity.discovery import KeysAt
        from gatehouse.identity.fronts import Assertions
        from gatehouse.identity.jwt import Jwts

        keys = self._keys("front", "FRONT", KeysAt(self._ask, front.keys_url).fetch)
        leeway = self._settings.auth_leeway_seconds
        jwts = [Jwts(rules, keys) for rules in front.rules(leeway)]
        return Assertions(front, jwts, keys, admission, leeway=leeway)

    def _introspection(self, rules: Rules) -> Introspection | None:
        given = self._settings
        if given.auth_introspection_url is None:
            return None
        from gatehouse.identity.introspection import Introspection

        secret = given.auth_client_secret
        return Introspection(
            self._ask,
            rules,
            url=given.auth_introspection_url,
            client_id=given.auth_client_id or "",
            client_secret=secret.get_secret_value() if secret else "",
            seconds=given.auth_introspection_seconds,
        )

    def _keys(
        self, kind: PrincipalKind, name: str, fetch: Callable[[], Awaitable[FetchedKeys]]
    ) -> Keys:
        from gatehouse.identity.keys import Keys

        stale = self._settings.auth_keys_stale_seconds
        keys = Keys(fetch, stale_seconds=stale, on_change=self._on_change, name=name)
        self.keys[kind] = keys
        return keys
