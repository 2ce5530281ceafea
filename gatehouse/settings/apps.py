"""Settings of apps: whether people who sign in may let them in, by the authorization server of the gate's own."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import BeforeValidator

from gatehouse.settings.kinds import stripped
from gatehouse.settings.sign_in import SignInSettings

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:[Zz]|[+-]\d{2}:?\d{2})?", re.ASCII
)


def _moment(value: Any) -> Any:
    """The moment of a text: a day begins at midnight, and without a time zone it is UTC."""
    text = stripped(value)
    if not isinstance(text, str) or not text:
        return text or None
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        if _MOMENT.fullmatch(text):
            found = datetime.fromisoformat(text.upper())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a day, such as 2026-11-27, or a moment, such as 2026-11-27T18:00:00Z")


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class AppSettings(SignInSettings):
    """Whether people may let apps in, and the moment before which nothing counts that they allowed."""

    sign_in_apps: Annotated[bool | None, BeforeValidator(stripped)] = None
    """Whether people who sign in may let apps (MCP clients) in: true or false.
    Unset: yes, unless AUTH_ISSUER or a required front does that."""

    revoke_before: Moment = None
    """A moment, such as 2026-11-27T18:00:00Z: whoever signed in or let an app in before has to do it again."""

    @property
    def lets_apps_in(self) -> bool:
        """True if the gate is an authorization server itself, for people who sign in."""
        able = self.sign_in is not None and self.auth_issuer is None and not self.behind_front
        return able and self.has_dashboard and self.sign_in_apps is not False

    @property
    def shows_discovery(self) -> bool:
        """True if clients are told of an authorization server, the gate's own or another."""
        return super().shows_discovery or self.lets_apps_in

    @property
    def has_other_ways_in(self) -> bool:
        """True if others than holders of a static token may come in."""
        return super().has_other_ways_in or self.lets_apps_in

    @property
    def ended_before(self) -> float:
        """The Unix time of `revoke_before`; 0 if there is none."""
        return self.revoke_before.timestamp() if self.revoke_before else 0.0
