"""Signed fronts: proxies that sign people in, and tell the gate who asks by an assertion of their own.

An assertion is a JWT in a header field. It is believed for its signature alone, and only if it is meant for this
gate: a field that says a name without a signature can be written by everybody who finds a way around the front,
and a Space's own host is such a way. A front of another kind is one more row in `PRESETS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.http.address import client_address
from gatehouse.http.challenges import FRONT_AWAY, not_through_front, unavailable
from gatehouse.http.front_marks import FrontMarks
from gatehouse.identity.jwt import Bad, Rules
from gatehouse.identity.jwt_uses import ASSERTION
from gatehouse.identity.principal import Principal, Unknown
from gatehouse.identity.subject import CLIENT_CLAIMS, subject_of
from gatehouse.records.redact import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gatehouse.http.request import Request
    from gatehouse.identity.admission import Admission
    from gatehouse.identity.jwt import Jwts, Verified
    from gatehouse.identity.keys import Keys
    from gatehouse.identity.subject import Subject


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of front. Texts may hold `{team}` and `{audience}`; those that are empty come from the settings."""

    header: str = ""
    """The field with the assertion."""
    issuers: tuple[str, ...] = ()
    """One of these made it."""
    keys_url: str = ""
    """The JWK set with its keys."""
    algorithms: tuple[str, ...] = ()
    name_claim: str = ""
    """The claim with the name for logs; empty: the e-mail address, or else what there is."""
    machine_claim: str = ""
    """The claim that names a machine, in an assertion without `sub`."""
    type_claim: str = ""
    """The claim `type` says this, if it is there."""
    email_prefix: str = ""
    """Stands before the e-mail address in some assertions."""
    address_field: str = ""
    """The field with the client's address. Without a good assertion, anybody may have written it."""
    audience_is_host: bool = False
    """True if the audience is a host name, though operators may write a URL."""
    fields: tuple[str, ...] = ()
    """The beginnings of the names of its header fields."""
    cookies: tuple[str, ...] = ()
    """The beginnings of the names of its cookies."""

    def read(self, claims: Mapping[str, Any]) -> dict[str, Any] | str:
        """The claims in the words of access tokens, or the reason why they are no good."""
        if self.type_claim and claims.get("type", self.type_claim) != self.type_claim:
            return "type"
        # No `azp` names anybody: it may be the front's own, or its backend's.
        found = {name: claims[name] for name in claims if name not in CLIENT_CLAIMS}
        if self.machine_claim and not found.get("sub"):
            found["client_id"] = found.get(self.machine_claim)
        if self.email_prefix and isinstance(email := found.get("email"), str):
            address = email.removeprefix(self.email_prefix)
            # Another prefix names a tenant whose people may have written their address themselves.
            found["email"] = "" if ":" in address else address
        return found


PRESETS = {
    "cloudflare": Preset(
        header="Cf-Access-Jwt-Assertion",
        issuers=("https://{team}.cloudflareaccess.com",),
        keys_url="https://{team}.cloudflareaccess.com/cdn-cgi/access/certs",
        algorithms=("RS256",),
        machine_claim="common_name",
        type_claim="app",
        address_field="CF-Connecting-IP",
        fields=("cf-access-",),
        cookies=("cf_authorization", "cf_appsession", "cf_binding", "cf_session", "cf_device"),
    ),
    "iap": Preset(
        header="X-Goog-IAP-JWT-Assertion",
        issuers=("https://cloud.google.com/iap",),
        keys_url="https://www.gstatic.com/iap/verify/public_key-jwk",
        algorithms=("ES256",),
        email_prefix="accounts.google.com:",
        fields=("x-goog-iap-", "x-goog-authenticated-user-", "x-serverless-authorization"),
        cookies=("gcp_iap_", "gcp_iaap_", "__host-gcp_iap_", "__secure-gcp_iap_"),
    ),
    "pomerium": Preset(
        header="X-Pomerium-Jwt-Assertion",
        issuers=("{audience}", "https://{audience}", "https://{audience}/"),
        keys_url="https://{audience}/.well-known/pomerium/jwks.json",
        algorithms=("ES256",),
        audience_is_host=True,
        fields=("x-pomerium-",),
        cookies=("_pomerium",),
    ),
    "jwt": Preset(),
}
"""The fronts that need no more than an audience, and `jwt` for any other that signs: all of it from the settings."""


class Front(NamedTuple):
    """The front of one gate: a preset, and what the settings say."""

    preset: Preset
    header: bytes
    """The field with the assertion, in lower case."""
    issuers: tuple[str, ...]
    audiences: tuple[str, ...]
    keys_url: str
    algorithms: tuple[str, ...]
    name_claim: str

    def rules(self, leeway: float) -> tuple[Rules, ...]:
        """The rules for its assertions, one for each way to write the issuer."""
        return tuple(
            Rules(issuer, self.audiences, self.algorithms, leeway=leeway, use=ASSERTION)
            for issuer in self.issuers
        )

    @property
    def marks(self) -> FrontMarks:
        """Its marks, and those of every other front, since fronts stand in rows."""
        return known_marks(self.header)


def known_marks(header: bytes = b"") -> FrontMarks:
    """The marks of every front that is known, and one more header field: they go no further than the gate."""
    return FrontMarks(
        fields=tuple(name.encode() for each in PRESETS.values() for name in each.fields),
        cookies=tuple(name.encode() for each in PRESETS.values() for name in each.cookies),
        header=header,
    )


def front_of(
    kind: str,
    *,
    audiences: Iterable[str],
    team: str = "",
    header: str = "",
    issuer: str = "",
    keys_url: str = "",
    algorithms: Iterable[str] = (),
    name_claim: str = "",
) -> Front:
    """The front of that kind in `PRESETS`. `keys_url` takes the place of its own; the rest fills its gaps."""
    preset = PRESETS[kind]
    meant = tuple(_host_of(each) if preset.audience_is_host else each for each in audiences)
    issuers = (
        text.format(team=team, audience=each)
        for text in preset.issuers or (issuer.replace("{", "{{").replace("}", "}}"),)
        for each in meant
    )
    return Front(
        preset,
        header=(preset.header or header).lower().encode("ascii"),
        issuers=tuple(dict.fromkeys(issuers)),
        audiences=meant,
        keys_url=keys_url or preset.keys_url.format(team=team, audience=meant[0]),
        algorithms=preset.algorithms or tuple(algorithms),
        name_claim=preset.name_claim or name_claim,
    )


def _host_of(text: str) -> str:
    return text.partition("://")[2].partition("/")[0] if "://" in text else text.rstrip("/")


class Assertions:
    """Judges the assertions of one front.

    `jwts` verify them, one for each of `Front.rules`. `admission` must forget when people or keys change.
    """

    takes_url_keys = False

    def __init__(
        self, front: Front, jwts: Sequence[Jwts], keys: Keys, admission: Admission, *, leeway: float
    ) -> None:
        self._front = front
        self._jwts = tuple(jwts)
        self._keys = keys
        self._admission = admission
        self._leeway = leeway

    async def judge(self, request: Request) -> Principal | Unknown | None:
        """The principal of the request's assertion; somebody unknown if it is no good; None if there is none."""
        given = self._given(request)
        if not isinstance(given, bytes):
            return given
        digest = sha256(given).digest()
        return self._admission.recall(digest) or await self._admit(given, digest)

    async def recognise(self, request: Request) -> Subject | Unknown | None:
        """The subject of the request's assertion, among the people or not: it is not admitted, and no use is noted."""
        given = self._given(request)
        return await self._find_out(given) if isinstance(given, bytes) else given

    async def verify(self, request: Request) -> Principal | Unknown | None:
        """The same, unless the request brings a value of our own, too: who sends one means it."""
        own = any(each.value.startswith(PREFIX.encode()) for each in request.credentials or ())
        return None if own else await self.judge(request)

    def address_of(self, request: Request) -> str:
        """The client's address, for a request whose assertion is good."""
        told = request.values.get(self._front.preset.address_field.lower().encode(), ())
        return client_address(request.client, told, 1) if len(told) == 1 else request.client

    def _given(self, request: Request) -> bytes | Unknown | None:
        """The one assertion that the request brings."""
        given = request.values.get(self._front.header)
        if given and len(given) > 1:
            return _refused("front-twice")
        return given[0] if given else None

    async def _admit(self, assertion: bytes, digest: bytes) -> Principal | Unknown:
        """Judge an assertion that is not remembered."""
        subject = await self._find_out(assertion)
        if isinstance(subject, Unknown):
            return subject
        return self._admission.admit(subject, digest, self._keys.good_until)

    async def _find_out(self, assertion: bytes) -> Subject | Unknown:
        verdict: Verified | Bad = Bad("issuer")
        for jwts in self._jwts:
            verdict = await jwts.verify(assertion)
            if not isinstance(verdict, Bad) or verdict.reason != "issuer":
                break
        if isinstance(verdict, Bad):
            return _unknown(verdict)
        claims = self._front.preset.read(verdict.claims)
        if isinstance(claims, str):
            return _refused(claims)
        subject = subject_of(
            "front",
            claims,
            issuer=self._front.issuers[0],
            expires=claims["exp"] + self._leeway,
            key=verdict.key,
            name_claim=self._front.name_claim,
            email_is_verified=claims.get("email_verified", True) is True,
        )
        return subject if subject.sub or subject.client else _refused("subject")

    def in_force(self, principal: Principal) -> bool:
        """True if the assertion has not ended, its key is still in use, and the person may still come in."""
        subject = principal.subject
        if subject is None or subject.kind != "front":
            return False
        return self._admission.holds(subject) and self._keys.holds(subject.key)


def _unknown(bad: Bad) -> Unknown:
    if bad.retry_after is not None:
        reply = unavailable(bad.retry_after, bad.reason, FRONT_AWAY)
        return Unknown("", bad.reason, reply, counts=False)
    return _refused(bad.reason, counts=bad.counts)


@lru_cache(maxsize=32)  # a word for each reason
def _refused(reason: str, *, counts: bool = True) -> Unknown:
    return Unknown("", reason, not_through_front(reason), counts=counts)


MISSING = _refused("front-missing", counts=False)
"""Nobody: the request has no assertion, and needs one."""


class Required:
    """Refuses every request without a good assertion, whatever else it brings: a way around the front is no way in."""

    takes_url_keys = False

    def __init__(self, assertions: Assertions) -> None:
        self._assertions = assertions

    async def verify(self, request: Request) -> Unknown | None:
        """Nobody knows a request whose assertion is missing or bad; None lets the other verifiers judge it.

        Someone whom the front knows, and who is not among the people, may still bring a good token.
        """
        who = await self._assertions.judge(request) or MISSING
        if isinstance(who, Principal) or who.reason == "people":
            return None
        return who._replace(ends=True)

    def in_force(self, principal: Principal) -> bool:  # noqa: ARG002
        """False: it lets nobody in."""
        return False
