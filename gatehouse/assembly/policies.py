"""Settings to parts: the policies, which say what known principals may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.identity.principal import SHARED_NAME
from gatehouse.policy.budgets import Budgets
from gatehouse.policy.own_sessions import OwnSessions
from gatehouse.policy.rates import Rates
from gatehouse.policy.tools import Tools

if TYPE_CHECKING:
    from gatehouse.assembly.identity import IdentitySide
    from gatehouse.policy.base import Policy
    from gatehouse.policy.sessions import Sessions
    from gatehouse.policy.shared_state import SharedState
    from gatehouse.settings.environment import Settings


def policies_of(
    settings: Settings, identity: IdentitySide, ledger: Sessions, shared: SharedState | None
) -> list[Policy]:
    """The policies, in the order in which they are asked. A gate with one shared token and no rates asks nothing."""
    policies: list[Policy] = []
    if settings.has_principals or settings.token_rate or settings.shared_query_rate:
        by_query = {SHARED_NAME: settings.shared_query_rate}
        policies.append(
            Rates(
                Budgets(shared),
                settings.token_rate,
                by_query=lambda name: by_query.get(name, settings.named_query_rate),
            )
        )
    if settings.has_principals:
        policies += [
            OwnSessions(ledger),
            Tools(
                hosted=settings.hosts_upstream,
                scopes=identity.scopes,
                challenges=identity.challenges,
            ),
        ]
    return policies
