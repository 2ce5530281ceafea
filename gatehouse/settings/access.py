"""Settings of access: tokens, their rates, and the state that several gates share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from gatehouse.identity.rate import parse_rate
from gatehouse.settings.kinds import File, MaybeRate, RateOrOff, SharedStateUrl, Token

if TYPE_CHECKING:
    from gatehouse.identity.rate import Rate

NAMED_QUERY_RATE = parse_rate("60/min, burst 20")
"""The rate of a named token in a URL if QUERY_RATE is not set: a key in a URL is the easiest to lose."""


class AccessSettings(BaseModel):
    """The credentials that let clients in, and the rates that hold for them."""

    mcp_auth_token: Token = None
    """The token that clients bring: 32 or more random visible ASCII characters."""

    tokens_file: File = None
    """The file with named tokens, beside MCP_AUTH_TOKEN or in its place."""

    state_db: File = Path("gate-state.sqlite3")
    """The file that remembers when each value of a named token was last used. Empty: remember nothing."""

    allow_query_key: bool = True
    """Whether a token may come in the URL, as ?key=. A named token may do so only if it was made with --query."""

    token_rate: MaybeRate = None
    """How often a token may be used if it has no rate of its own; beyond that 429."""

    query_rate: RateOrOff = None
    """How often a token may come in a URL. Unset: NAMED_QUERY_RATE for named tokens, no limit for MCP_AUTH_TOKEN."""

    failure_rate: MaybeRate = parse_rate("60/min, burst 60")
    """How often bad tokens from one address get 401; beyond that 429. A good token still gets in."""

    shared_state_url: SharedStateUrl = None
    """Redis or Valkey, through which several gates share rates and sessions."""

    metrics_token: Token = None
    """The token for /metrics. Unset: there is no such page."""

    @property
    def tokens_at(self) -> Path | None:
        """The file with named tokens, there or still to be made; None if there can be no named tokens."""
        return self.tokens_file

    @property
    def shared_query_rate(self) -> Rate | None:
        """The rate of MCP_AUTH_TOKEN in a URL; None is no limit."""
        return None if isinstance(self.query_rate, str) else self.query_rate

    @property
    def named_query_rate(self) -> Rate | None:
        """The rate of each named token in a URL; None is no limit."""
        return NAMED_QUERY_RATE if self.query_rate is None else self.shared_query_rate
