"""The page that asks a person about an app, and the calm pages about requests that come to nothing.

Everything that the app says of itself is text that nobody has verified. It stands apart from the gate's own sentences,
and beside what can be relied on: the place to which the answer goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.apps.authorization import AuthorizationRequest, asked_in, content_of
from gatehouse.apps.grant import MAX_GRANT_SECONDS
from gatehouse.apps.redirects import destination_of
from gatehouse.http.paths import DECIDE
from gatehouse.identity.clock import clock as unix_time
from gatehouse.pages.dashboard.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.apps.authorization import Asked
    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.templates import Templates
    from gatehouse.signin.sealing import Sealer
    from gatehouse.signin.visitor import Visitor

PURPOSE = "authorize"
"""The purpose of the seal around a request."""

ASKED_SECONDS = 600.0
"""How long a request waits: as long as a sign-in may take, and then for an answer."""


class Consent:
    """Makes the pages. `sealer` has the PURPOSE, and `provider` is the name of where people sign in."""

    def __init__(
        self,
        templates: Templates,
        sealer: Sealer,
        *,
        provider: str,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._templates = templates
        self._sealer = sealer
        self._provider = provider
        self._clock = clock

    def page(self, visitor: Visitor, form_token: str, asked: AuthorizationRequest) -> Reply:
        """The question to this visitor. Only the session that has seen it can answer it."""
        place = destination_of(asked.redirect_uri)
        context = {
            "action": DECIDE.decode(),
            "days": int(MAX_GRANT_SECONDS // 86_400),
            "document_host": asked.document_host,
            "form_token": form_token,
            "name": printable(asked.name),
            "person": visitor.name.partition(":")[2] or visitor.name,
            "place": place,
            "provider": self._provider,
            "request": self._seal({**content_of(asked), "by": visitor.session}),
            "scopes": asked.scopes,
        }
        return self._templates.reply("consent.html", context, leads_on=True)

    def answered(self, visitor: Visitor, text: str) -> AuthorizationRequest | None:
        """The request that the visitor's form is about; None if it was made for another session, or too long ago."""
        content = self._sealer.open(text) or {}
        asked = asked_in(content)
        is_theirs = bool(visitor.session) and content.get("by") == visitor.session
        return asked if is_theirs and isinstance(asked, AuthorizationRequest) else None

    def kept(self, asked: Asked) -> str:
        """The request for a cookie, until its person has signed in."""
        return self._seal(content_of(asked))

    def taken_up(self, text: str) -> Asked | None:
        """The request from that cookie; None if it is none, or has waited too long."""
        content = self._sealer.open(text) or {}
        return None if "by" in content else asked_in(content)

    def say(
        self, title: str, words: str, *headers: tuple[bytes, bytes], status: int, reason: str
    ) -> Reply:
        """A page that says one thing, and leads nowhere: the app is the place to go on."""
        context = {"title": title, "words": words}
        return self._templates.reply(
            "app_notice.html", context, *headers, status=status, reason=reason
        )

    def _seal(self, content: dict[str, object]) -> str:
        return self._sealer.seal(content, self._clock() + ASKED_SECONDS)
