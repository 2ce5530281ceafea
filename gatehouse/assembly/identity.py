"""Settings to parts: the ways in, and who may come by them.

A new way in is a verifier in `IdentitySide.verifiers`. Parts of access tokens and of fronts are imported only if
they are used: that takes a while.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from gatehouse.assembly.location import issuer_at
from gatehouse.assembly.signers import Signers
from gatehouse.http import refusals
from gatehouse.http.challenges import Challenges
from gatehouse.http.front_marks import FrontMarks
from gatehouse.http.paths import ENDPOINT
from gatehouse.identity.admission import Admission
from gatehouse.identity.arrivals import Arrivals
from gatehouse.identity.arrivals_file import keep_arrivals
from gatehouse.identity.kinds import is_static
from gatehouse.identity.people import People
from gatehouse.identity.principal import METRICS_NAME, NO_CREDENTIAL, Principal, Unknown
from gatehouse.identity.scopes import Scopes
from gatehouse.identity.uses import Uses
from gatehouse.identity.verifiers import Verifiers
from gatehouse.identity.who_signs_in import PeopleWhoSignIn
from gatehouse.pages.well_known import METADATA
from gatehouse.policy.failures import Failures
from gatehouse.signin.cookies import COOKIES
from gatehouse.tokens.keyring import Keyring
from gatehouse.upstream.asking import Asking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.assembly.apps import AppsSide
    from gatehouse.assembly.sealing import Sealing
    from gatehouse.identity.fronts import Assertions, Front
    from gatehouse.identity.grants import Grants
    from gatehouse.identity.keys import Keys
    from gatehouse.identity.principal import PrincipalKind
    from gatehouse.identity.subject import Subject
    from gatehouse.identity.verifiers import Verifier
    from gatehouse.policy.shared_state import SharedState
    from gatehouse.settings.environment import Settings
    from gatehouse.tokens.contents import Contents


class IdentitySide:
    """The verifiers of one gate, the people, and the keys of those who sign.

    `contents` are those of the tokens file; `shared_token` is in force beside them. Clients reach the gate at the URL
    `endpoint`. `shared_state` tells what it shares with other gates.
    """

    def __init__(
        self,
        settings: Settings,
        contents: Contents,
        shared_token: str,
        endpoint: str,
        shared_state: Callable[[], SharedState | None],
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._shared_state = shared_state
        self.failures = Failures(settings.failure_rate)
        """The failures of each address, at the MCP endpoint and at the figures together."""
        self.people = People(settings.people, contents.people)
        self.who_signs_in = PeopleWhoSignIn(
            settings.admins_in_force, settings.people_who_sign_in, contents.people
        )
        """The people who may sign in, and come in by apps."""
        self.scopes = Scopes(contents.scopes)
        self.lists = lists_of(contents)
        """The lists of the tokens file, by what they belong to."""
        self.challenges = Challenges(pointer_of(settings, endpoint), settings.needed_scopes)
        self.keyring = Keyring(
            contents.tokens,
            shared=shared_token,
            query_keys=settings.allow_query_key,
            is_static=partial(is_static, introspects=self.introspects) if self.has_oauth else None,
        )
        """The static tokens in force."""
        self._admissions: list[Admission] = []
        self.arrivals = Arrivals() if settings.has_dashboard else None
        """Those who came in beside static tokens; None without a dashboard, for which alone they are kept."""
        self._uses = Uses() if self.arrivals is None else self.arrivals
        self.ask = Asking()
        """Asks other servers: for keys, about tokens, and to sign people in."""
        self._signers = Signers(settings, self.ask, self._forget)
        self.assertions: Assertions | None = None
        """Judges the front's assertions, if there is a front."""
        self.verifiers = self._verifiers()
        """Verifiers of the callers of the MCP endpoint."""

    @property
    def issuer(self) -> str:
        """The authorization server whose access tokens are good; empty if there is none."""
        return self._settings.auth_issuer or ""

    @property
    def introspects(self) -> bool:
        """True if the authorization server is asked about opaque tokens."""
        return self._settings.auth_introspection_url is not None

    @cached_property
    def sealing(self) -> Sealing:
        """The seals and cookies of people."""
        from gatehouse.assembly.sealing import Sealing

        return Sealing(self._settings, self._endpoint)

    @cached_property
    def apps(self) -> AppsSide | None:
        """The apps, if people may let some in."""
        if not self._settings.lets_apps_in:
            return None
        from gatehouse.assembly.apps import AppsSide

        return AppsSide(
            self._settings, self._endpoint, self.sealing, self.who_signs_in, self._shared_state
        )

    @property
    def has_oauth(self) -> bool:
        """True if access tokens let in: the gate's own, or another authorization server's."""
        return bool(self.issuer) or self._settings.lets_apps_in

    @property
    def front(self) -> Front | None:
        """The front whose assertions are good."""
        return self._signers.front

    @property
    def keys(self) -> Mapping[PrincipalKind, Keys]:
        """The keys of the authorization server, and those of the front."""
        return self._signers.keys

    @property
    def marks(self) -> FrontMarks | None:
        """The marks that go no further than the gate: a front's, since only it may say such things, known here or not,
        and the cookies of the dashboard. None while all who come have static tokens.
        """
        marks = None
        if self.front is not None:
            marks = self.front.marks
        elif self.issuer:
            from gatehouse.identity.fronts import known_marks

            marks = known_marks()
        if not self._settings.has_dashboard:
            return marks
        marks = marks or FrontMarks(fields=(), cookies=())
        return marks._replace(cookies=marks.cookies + COOKIES)

    def _verifiers(self) -> Verifiers:
        nobody, address = NO_CREDENTIAL, None
        verifiers: list[Verifier] = [self.keyring]
        if self.front is not None:
            from gatehouse.identity.fronts import Required

            self.assertions = assertions = self._signers.assertions(
                self.front, self._admission(self.people)
            )
            first = [Required(assertions)] if self._settings.front_required else []
            verifiers = [*first, self.keyring, assertions]
            address = assertions.address_of
        if self.issuer:
            verifiers.append(
                self._signers.access_tokens(self._admission(self.people), self.challenges)
            )
        if self.apps is not None:
            admission = self._admission(self.who_signs_in)
            verifiers.append(self.apps.verifier(admission, self.challenges, self._forget))
        if self.has_oauth:
            nobody = Unknown("", "no-token", self.challenges.sign_in, counts=False)
        return Verifiers(
            verifiers,
            self.failures.retry_after,
            nobody=nobody,
            address=address,
            behind_front=self._settings.front_required,
        )

    @property
    def metrics_verifiers(self) -> Verifiers:
        """Verifiers of the readers of the figures: METRICS_TOKEN lets in, but not in a URL."""
        token = self._settings.metrics_token
        value = token.get_secret_value() if token else ""
        return Verifiers(
            [Keyring(shared=value, shared_name=METRICS_NAME, query_keys=False)],
            self.failures.retry_after,
            challenge=refusals.METRICS_CHALLENGE,
        )

    def still(self, principal: Principal) -> Grants | None:
        """The grants that a principal with a subject has now; None if it would not be let in any more."""
        if principal.subject is None:
            return None
        subject = principal.subject
        by_app = self.apps if subject.kind == "oauth" else None
        if by_app is not None and by_app.grants.is_over(principal.id, subject.key):
            return None
        people = self._people_of(subject)
        admission = Admission(people, self.scopes, self.challenges, self._settings.needed_scopes)
        who = admission.admit(subject, principal.proof, until=0)  # remembers nothing
        return who.grants if isinstance(who, Principal) else None

    def lets_in(self, subject: Subject) -> bool:
        """True if somebody with an access token or an assertion would be let in to the server now."""
        front = self.front.issuers[0] if self.front else ""
        ours = self._settings.sign_in_issuer if self.apps else self.issuer
        issuer = {"oauth": ours, "front": front}.get(subject.kind, "")
        return subject.issuer == issuer != "" and self._people_of(subject).find(subject) is not None

    def _people_of(self, subject: Subject) -> People:
        """The list that says whether the subject may come in."""
        by_app = self.apps is not None and subject.kind == "oauth"
        return self.who_signs_in if by_app else self.people

    @property
    def shared_secrets(self) -> list[bytes]:
        """The secrets that all gates of one service have, and nobody else: of them, gates make seals on what they share."""
        own = self._settings.sign_in_key_material if self._settings.lets_apps_in else None
        return [*self.keyring.digests, *([self.sealing.shared_secret] if own else ())]

    def scopes_to_ask_for(self) -> tuple[str, ...]:
        """The scopes that apps may ask for."""
        return self.scopes.names if self.apps else self._settings.needed_scopes

    def uses(self) -> Mapping[bytes, float]:
        """When values of tokens, by their digests, and all others, by their ids, were last let in: Unix time."""
        return {**self.keyring.used, **self._uses.times()}

    @property
    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """Functions for tasks that renew the keys, and keep who came in over a restart."""
        tasks: list[Callable[[], Awaitable[None]]] = [keys.keep for keys in self.keys.values()]
        if self.arrivals is not None and self._settings.state_db is not None:
            tasks.append(partial(keep_arrivals, self._settings.state_db, self.arrivals))
        if self.apps is not None:
            tasks += self.apps.tasks
        return tasks

    @property
    def key_ages(self) -> dict[str, Callable[[], float]]:
        """Tell the age of each set of keys in seconds, infinite while there is none."""
        return {kind: partial(_age_of, keys) for kind, keys in self.keys.items()}

    def replace(self, contents: Contents) -> None:
        """From now on, these contents of the tokens file are in force."""
        self.keyring.replace(contents.tokens)
        self.scopes.replace(contents.scopes)
        self.people.replace(contents.people)
        self.who_signs_in.replace(contents.people)
        self.lists = lists_of(contents)
        self._forget()

    def _forget(self) -> None:
        for admission in self._admissions:
            admission.forget()

    def _admission(self, people: People) -> Admission:
        needed = self._settings.needed_scopes
        admission = Admission(people, self.scopes, self.challenges, needed, self._uses)
        self._admissions.append(admission)
        return admission


def lists_of(contents: Contents) -> dict[str, Grants]:
    """The lists in a tokens file, by what they belong to."""
    tokens = {f"token {token.name}": token.grants for token in contents.tokens}
    scopes = {f"scope {scope.name}": scope.grants for scope in contents.scopes}
    people = {f"[[people]] {person.match}": person.grants for person in contents.people}
    return tokens | scopes | people


def pointer_of(settings: Settings, endpoint: str) -> str:
    """The URL of the metadata that challenges point to; empty if there is none to find (RFC 9728 section 3.1)."""
    if not settings.shows_discovery:
        return ""
    return issuer_at(settings, endpoint) + (METADATA + ENDPOINT).decode()


def _age_of(keys: Keys) -> float:
    return keys.age
