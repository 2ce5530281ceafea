"""Settings to parts: the authorization server of the gate's own, by which people let apps in.

Only a gate where people may do that imports this module. A new page of the server is an item of the table in `pages_of`.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from gatehouse.apps.approvals import APPROVAL_SECONDS, Approvals
from gatehouse.apps.authorization import AuthorizationRequests
from gatehouse.apps.clients import Clients
from gatehouse.apps.documents import MAX_BYTES, MAX_SECONDS, Documents
from gatehouse.apps.grant_ends import ENDED_GRANTS
from gatehouse.apps.grants import Grants
from gatehouse.apps.registrations import REGISTRATION_SECONDS, Registrations
from gatehouse.apps.tokens import Tokens
from gatehouse.apps.verifier import AppTokens
from gatehouse.assembly.location import issuer_at
from gatehouse.http.paths import REGISTER, REVOKE, TOKEN
from gatehouse.pages.apps.authorize import AuthorizePage
from gatehouse.pages.apps.consent import PURPOSE, Consent
from gatehouse.pages.apps.metadata import ServerMetadata
from gatehouse.pages.apps.register import RegisterEndpoint
from gatehouse.pages.apps.revoke import RevokeEndpoint
from gatehouse.pages.apps.token import TokenEndpoint
from gatehouse.policy.failures import Failures
from gatehouse.signin.ended import Ended
from gatehouse.signin.visitors import named_orgs
from gatehouse.upstream.asking import Asking
from gatehouse.upstream.public import is_public

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.assembly.dashboard import DashboardSide
    from gatehouse.assembly.house import House
    from gatehouse.assembly.sealing import Sealing
    from gatehouse.http.challenges import Challenges
    from gatehouse.identity.admission import Admission
    from gatehouse.identity.who_signs_in import PeopleWhoSignIn
    from gatehouse.pages.table import Page
    from gatehouse.policy.shared_state import SharedState
    from gatehouse.settings.environment import Settings


class AppsSide:
    """The apps of one gate, which clients reach at `endpoint`: who let them in, their tokens, and what is known of their
    clients.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: str,
        sealing: Sealing,
        people: PeopleWhoSignIn,
        shared: Callable[[], SharedState | None],
    ) -> None:
        self._sealing = sealing
        self.issuer = issuer_at(settings, endpoint)
        """The gate as an authorization server."""
        self.resources = (f"{self.issuer}/mcp", f"{self.issuer}/mcp/")
        """The spellings of the endpoint's URL, for which tokens are."""
        ended = Ended(settings.state_db, ENDED_GRANTS, before=settings.ended_before)
        self.grants = Grants(ended, settings.state_db, shared)
        """The grants of all apps."""
        self.tokens = Tokens(
            sealing.sealer, settings.sign_in_issuer, orgs=partial(named_orgs, people)
        )
        """Makes and reads codes and tokens."""

    def verifier(
        self, admission: Admission, challenges: Challenges, forget: Callable[[], None]
    ) -> AppTokens:
        """The verifier of access tokens. An end of a grant calls `forget`."""
        self.grants.on_end = forget
        return AppTokens(self.tokens, self.grants, admission, challenges, self.resources)

    @property
    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """Functions for tasks: what has ended, and what was used, is written down, and told to other gates."""
        return [self.grants.keep]

    @cached_property
    def registrations(self) -> Registrations:
        """The clients that register themselves."""
        return Registrations(self._sealing.sealer("client", REGISTRATION_SECONDS))

    @cached_property
    def clients(self) -> Clients:
        """All clients."""
        ask = Asking(max_seconds=MAX_SECONDS, max_bytes=MAX_BYTES, takes=is_public)
        return Clients(self.registrations, Documents(ask))

    @cached_property
    def approvals(self) -> Approvals:
        """The apps that a browser's person need not be asked about again."""
        sealer = self._sealing.sealer("apps", APPROVAL_SECONDS)
        return Approvals(sealer, self._sealing.jar, self.grants)


def pages_of_apps(house: House, side: AppsSide, dashboard: DashboardSide) -> Mapping[bytes, Page]:
    """The pages of the authorization server, by their paths."""
    entry, sessions = dashboard.entry, dashboard.sessions
    if entry is None or sessions is None:
        return {}
    settings, identity = house.settings, house.identity
    scopes = identity.scopes_to_ask_for
    sealing = identity.sealing
    authorize = AuthorizePage(
        requests=AuthorizationRequests(side.clients, side.resources, scopes),
        approvals=side.approvals,
        grants=side.grants,
        codes=side.tokens,
        sessions=sessions,
        people=identity.who_signs_in,
        door=dashboard.door,
        notices=dashboard.shell.notices,
        consent=Consent(
            dashboard.shell.templates, sealing.sealer(PURPOSE), provider=settings.sign_in_at
        ),
        to_provider=entry.to_provider,
        jar=sealing.jar,
        issuer=side.issuer,
    )
    metadata = ServerMetadata(side.issuer, sealing.origin, scopes)
    return {
        **authorize.paths,
        **dict.fromkeys(metadata.paths, metadata),
        REGISTER: RegisterEndpoint(side.registrations),
        REVOKE: RevokeEndpoint(side.tokens, side.grants),
        TOKEN: TokenEndpoint(
            side.clients,
            side.tokens,
            side.grants,
            identity.who_signs_in,
            Failures(settings.failure_rate),
            side.resources,
        ),
    }
