"""A front before a gate, without a socket: its judge, and the keys that it fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatehouse.http.challenges import Challenges
from gatehouse.identity.admission import Admission
from gatehouse.identity.fronts import Assertions
from gatehouse.identity.jwt import Jwts
from gatehouse.identity.keys import FetchedKeys, Keys
from gatehouse.identity.people import People
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.uses import Uses
from tests.harness.identity.signing import key
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from gatehouse.identity.fronts import Front
    from gatehouse.identity.principal import Principal, Unknown

LEEWAY = 60.0
KEYS = [
    key("cloudflare"),
    key("iap", "ES256"),
    key("pomerium", "ES256"),
    key("own", "EdDSA"),
]


class Way:
    """A front before a gate: its judge, and the keys that it fetches."""

    def __init__(self, front: Front, people: str = "") -> None:
        self.front = front
        self.people = People(people.split())
        self.published: list[dict[str, Any]] | None = [each.jwk for each in KEYS]
        self.uses = Uses()
        self.admission = Admission(self.people, Scopes(), Challenges(), uses=self.uses)
        self.keys = Keys(
            self.fetch, stale_seconds=86_400, on_change=self.admission.forget, name="the front"
        )
        jwts = [Jwts(rules, self.keys) for rules in front.rules(LEEWAY)]
        self.verifier = Assertions(front, jwts, self.keys, self.admission, leeway=LEEWAY)

    async def fetch(self) -> FetchedKeys:
        if self.published is None:
            raise OSError
        return FetchedKeys({"keys": self.published})

    async def bring(self, *assertions: str, header: str = "") -> Principal | Unknown | None:
        """The judgement of a request with these assertions."""
        name = header.encode() or self.front.header
        return await self.verifier.verify(
            request_of([(name, each.encode()) for each in assertions])
        )
