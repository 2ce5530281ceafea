"""The way in and the way out: a sign-in at the provider begins and ends here, and so does a session.

A sign-in that fails ends on one page with one link. Nothing goes on by itself: a browser that tries again and again
would only ask the provider again and again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from gatehouse.http.address import address_group
from gatehouse.http.reply import Reply
from gatehouse.identity.remembered import Remembered
from gatehouse.pages.dashboard.door import untold
from gatehouse.pages.dashboard.notices import APP, IN_MEMORY, SIGN_IN
from gatehouse.pages.dashboard.templates import ANY_OPENER
from gatehouse.pages.dashboard.visit import HOME, see
from gatehouse.records.loggers import logger_of
from gatehouse.signin.sign_in import CALLBACK, SignInFailedError, own_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.dashboard.door import Door, Visitors
    from gatehouse.pages.dashboard.notices import Notices
    from gatehouse.pages.table import Page
    from gatehouse.policy.failures import Failures
    from gatehouse.signin.sign_in import SignIn
    from gatehouse.signin.visitor import Visitor

logger = logger_of("gate.dashboard")

MAX_ADDRESSES = 4096
"""How many addresses wait because their sign-ins have failed too often."""

OF_PROVIDER = frozenset(
    {"provider-away", "provider-metadata", "provider-refused", "provider-error", "busy"}
)
"""Reasons why a sign-in fails that the person has no part in. A 503 tells them to come again: fronts put pages of their
own in the place of a 502."""

COSTLY = frozenset({"code-refused", "token-answer", "id-token", "nonce", "userinfo"})
"""Reasons that come to light only by asking the provider. A stranger who has it asked in vain counts as failing; others
cost nothing, and any web page could cause them in a visitor's browser."""

UNFIT = "The provider says of you what does not fit into a session. Whoever runs the gate finds the case in its log."
WAIT = "Too many sign-ins from this address have failed. Wait, and sign in again."


class Sessions(Protocol):
    """Begins and ends the sessions of people in their browsers (`gatehouse/signin/`)."""

    def begin(self, subject: Subject) -> tuple[bytes, bytes]:
        """A session for the person: the Set-Cookie field that begins it. Raises ValueError if they cannot have one."""

    def forget(self) -> tuple[bytes, bytes]:
        """The Set-Cookie field by which the browser forgets its session."""

    async def end(self, visitor: Visitor) -> bool:
        """End the visitor's session. False if it may open again after a restart of the gate."""

    async def end_all(self, person: str) -> bool:
        """End all sessions of the person of that id. False if they may open again after a restart."""


class Entry:
    """The pages that begin and end a sign-in, and the buttons that end sessions."""

    def __init__(
        self,
        *,
        sign_in: SignIn,
        sessions: Sessions,
        visitors: Visitors,
        door: Door,
        notices: Notices,
        failures: Failures,
        came: Callable[[Subject], object] = untold,
    ) -> None:
        """`failures` counts the sign-ins that came to nothing, by address. `came` is told who has signed in."""
        self._sign_in, self._sessions = sign_in, sessions
        self._visitors, self._door, self._notices = visitors, door, notices
        self._failures, self._came = failures, came
        self._waiting: Remembered[bool] = Remembered(MAX_ADDRESSES)

    @property
    def views(self) -> Mapping[bytes, Page]:
        """The pages by their paths; they are for everybody."""
        return {SIGN_IN.encode(): self.begin, CALLBACK.encode(): self.finish}

    @property
    def actions(self) -> Mapping[bytes, Page]:
        """The buttons by their paths; they are for everybody who is signed in, on the list or not."""
        return {
            b"/dashboard/sign-out": self.sign_out,
            b"/dashboard/sign-out-everywhere": self.sign_out_everywhere,
        }

    async def begin(self, exchange: Exchange) -> Reply:
        """Send the browser to the provider; somebody who is signed in already, and on the list, to the page."""
        query = parse_qs(exchange.request.query.decode("ascii", "replace"))
        to = own_path(query.get("to", [HOME])[0])
        visitor = await self._door.signed_in(exchange)
        if visitor is not None and self._visitors.is_admin(visitor.subject):
            return see(to)
        return await self.to_provider(exchange, to)

    async def to_provider(self, exchange: Exchange, to: str) -> Reply:
        """Send the browser to the provider, and from there to `to`, a path of ours; else the page that says why not."""
        if reply := self._must_wait(exchange):
            return reply
        try:
            begun = await self._sign_in.begin(to)
        except SignInFailedError as error:
            return self._failed(exchange, error)
        return see(begun.location, begun.cookie)

    async def finish(self, exchange: Exchange) -> Reply:
        """The provider has sent the browser back: a session, or the page that says why there is none."""
        if reply := self._must_wait(exchange):
            return reply
        try:
            subject, to, cookies = await self._sign_in.finish(exchange.request)
        except SignInFailedError as error:
            return self._failed(exchange, error)
        exchange.name = subject.shown
        if not (self._visitors.is_admin(subject) or self._visitors.may_sign_in(subject)):
            told = "%s signed in and was turned away: not on the list (%s)"
            logger.warning(told, subject.shown, subject.match)
            reply = self._notices.not_listed(exchange.request, None, "", at=to)
            return replace(reply, headers=(*reply.headers, *cookies, self._sessions.forget()))
        try:
            session = self._sessions.begin(subject)
        except ValueError:
            return self._failed(exchange, SignInFailedError(UNFIT, "unfit", cookies))
        self._came(subject)
        logger.info("%s signed in", subject.shown)
        # A page of an app's that waits for its window is to find it again (`pages/apps/authorize.py`).
        opener = [ANY_OPENER] if to == APP else []
        return see(to, *cookies, session, *opener)

    async def sign_out(self, exchange: Exchange) -> Reply:
        """End the session of this browser."""

        async def end(visitor: Visitor) -> bool:
            logger.info("%s signed out", visitor.name)
            return await self._sessions.end(visitor)

        return await self._leave(exchange, end, "bye")

    async def sign_out_everywhere(self, exchange: Exchange) -> Reply:
        """End all sessions of the person."""

        async def end(visitor: Visitor) -> bool:
            logger.info("%s signed out everywhere", visitor.name)
            return await self._sessions.end_all(visitor.id)

        return await self._leave(exchange, end, "bye-everywhere")

    async def _leave(
        self, exchange: Exchange, end: Callable[[Visitor], Awaitable[bool]], said: str
    ) -> Reply:
        visitor = await self._door.signed_in(exchange)
        if visitor is not None and not visitor.session:
            return see(
                HOME
            )  # the front has signed them in, and nothing of ours would sign them out
        if visitor is not None:
            form = await self._door.form(exchange, visitor, HOME)
            if isinstance(form, Reply):
                return form
            said += "" if await end(visitor) else IN_MEMORY
        return see(f"{HOME}?{said}", self._sessions.forget())

    def _must_wait(self, exchange: Exchange) -> Reply | None:
        seconds = self._waiting.seconds_left(address_group(exchange.request.client).encode())
        if seconds <= 0:
            return None
        return self._notices.wait(WAIT, seconds, status=429, reason="failures")

    def _failed(self, exchange: Exchange, error: SignInFailedError) -> Reply:
        address = exchange.request.client
        logger.warning("a sign-in from %s failed: %s", address, error.reason)
        if error.reason in COSTLY and (seconds := self._failures.retry_after(address)):
            self._waiting.put(address_group(address).encode(), True, seconds)
        status = 503 if error.reason in OF_PROVIDER else 403 if error.reason == "denied" else 400
        retry = [(b"Retry-After", b"30")] if status == 503 else []
        return self._notices.failed_sign_in(
            error.words, *error.cookies, *retry, status=status, reason=error.reason, to=error.to
        )
