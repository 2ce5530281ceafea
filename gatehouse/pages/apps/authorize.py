"""The way of an app's request through the browser of a person: judged, signed in for, asked about, answered.

1.  Nothing is ever sent to a place that the client has not registered: such a request ends on a page.
2.  Nobody is sent anywhere before they have signed in, since anybody can register a place (RFC 9700 section 4.11.2). A
    request waits in the browser meanwhile, sealed. A place on the person's own computer is no place for a phisher.
3.  The person must be one of those who may come in.
4.  They are asked about each client and place, unless they were in this browser; the answer belongs to their session,
    and counts once.
5.  The answer goes to the app by 303 (RFC 9700 section 4.12), with the issuer (RFC 9207).

A session of the gate's own counts, and no front's word: `form_token` and sign-out belong to sessions.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from gatehouse.apps.authorization import AGAIN, AuthorizationRequest, Refusal, answer_url
from gatehouse.apps.clients import ClientError
from gatehouse.apps.redirects import destination_of
from gatehouse.downstream.body import ClientLeftError
from gatehouse.http.address import address_group
from gatehouse.http.paths import AUTHORIZE, DECIDE, RESUME
from gatehouse.http.reply import NO_REFERRER, Reply, page_error
from gatehouse.identity.rate import Rate
from gatehouse.identity.remembered import Remembered
from gatehouse.pages.apps.consent import ASKED_SECONDS
from gatehouse.pages.dashboard.printable import printable
from gatehouse.pages.dashboard.templates import ANY_OPENER, dressed
from gatehouse.policy.counting import counts_in_memory
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gatehouse.apps.approvals import Approval, Approvals
    from gatehouse.apps.authorization import Asked, AuthorizationRequests
    from gatehouse.apps.grants import Grants
    from gatehouse.apps.tokens import Tokens
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.request import Request
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.apps.consent import Consent
    from gatehouse.pages.dashboard.door import Door
    from gatehouse.pages.dashboard.notices import Notices
    from gatehouse.pages.table import Page
    from gatehouse.signin.cookies import Jar
    from gatehouse.signin.visitor import Visitor

logger = logger_of("gate.apps")

RATE = Rate(120, 60, 60)
"""How many requests one person may bring, or one address without a session. Nobody who is signed in waits for others."""

MAX_COUNTED = 4096
"""How many people and addresses are counted."""

MAX_ANSWERED = 4096
"""How many requests that were answered are remembered, for as long as they could come again. Only people who may let an
app in answer any, and a second answer would give them nothing that they cannot have by another request."""

BACK = RESUME.decode()

_NOT_READ = "This request cannot be carried out"
_OVER = "Nothing waits here"


class Sessions(Protocol):
    """Knows the sessions of people in their browsers (`gatehouse/signin/sessions.py`)."""

    def find(self, request: Request) -> Visitor | None:
        """The person whose session the request brings; None if there is none that is good."""


class People(Protocol):
    """Knows who may let apps in (`gatehouse/identity/who_signs_in.py`)."""

    def may_sign_in(self, subject: Subject) -> bool:
        """True if the person is one of them at this moment."""


class AuthorizePage:
    """The pages at AUTHORIZE, RESUME and DECIDE. `issuer` is the one that clients know the gate by, and `to_provider`
    begins a sign-in that leads to a path of ours.
    """

    def __init__(
        self,
        *,
        requests: AuthorizationRequests,
        approvals: Approvals,
        grants: Grants,
        codes: Tokens,
        sessions: Sessions,
        people: People,
        door: Door,
        notices: Notices,
        consent: Consent,
        to_provider: Callable[[Exchange, str], Awaitable[Reply]],
        jar: Jar,
        issuer: str,
    ) -> None:
        self._requests, self._approvals = requests, approvals
        self._grants, self._codes = grants, codes
        self._sessions, self._people = sessions, people
        self._door, self._notices, self._consent = door, notices, consent
        self._to_provider, self._jar, self._issuer = to_provider, jar, issuer
        self._counts = counts_in_memory(MAX_COUNTED)
        self._answered: Remembered[bool] = Remembered(MAX_ANSWERED)

    @property
    def paths(self) -> Mapping[bytes, Page]:
        """The page for each path; they judge methods themselves."""
        return dict.fromkeys((AUTHORIZE, RESUME, DECIDE), self)

    async def __call__(self, exchange: Exchange) -> Reply:
        try:
            reply = await self._answer(exchange)
        except ClientLeftError:
            raise
        except Exception:
            exchange.in_trouble = _opened(self._notices.failed())
            raise
        return _opened(reply)

    async def _answer(self, exchange: Exchange) -> Reply:
        request = exchange.request
        method = "POST" if request.path == DECIDE else "GET"
        if request.method != method:
            words = "This page does not answer this method."
            allow = (b"Allow", method.encode())
            return page_error(405, "method_not_allowed", words, allow, reason="method-not-allowed")
        visitor = self._sessions.find(request)
        if visitor is not None and not exchange.is_from(visitor.id, visitor.name, "cookie"):
            return self._notices.too_many_connections()
        if method == "POST":
            return self._door.foreign(request) or await self._decide(exchange, visitor)
        if reply := self._door.elsewhere(request, with_query=request.path == AUTHORIZE):
            return reply
        if request.path == RESUME:
            return self._resume(exchange, visitor)
        return await self._authorize(exchange, visitor)

    async def _authorize(self, exchange: Exchange, visitor: Visitor | None) -> Reply:
        """An app has sent the browser here."""
        request = exchange.request
        by = visitor.id if visitor else address_group(request.client)
        if seconds := self._counts.take(by, RATE):
            return self._consent.say(
                "Too many requests",
                f"Too many requests of apps have come from here. Wait a minute. {AGAIN}",
                (b"Retry-After", b"%d" % max(1, round(seconds))),
                status=429,
                reason="app-rate",
            )
        try:
            person = visitor.id if visitor else ""
            asked = await self._requests.read(request.query, request.client, person)
        except ClientError as error:
            return self._consent.say(
                _NOT_READ, error.words, status=error.status, reason=error.reason
            )
        if visitor is not None:
            return self._go_on(exchange, visitor, asked)
        if isinstance(asked, Refusal) and destination_of(asked.redirect_uri).is_local:
            return self._send_refusal(asked)
        reply = await self._to_provider(exchange, BACK)
        waits = self._jar.write("asked", self._consent.kept(asked), ASKED_SECONDS)
        return Reply(reply.status, reply.body, (*reply.headers, waits), reply.reason)

    def _resume(self, exchange: Exchange, visitor: Visitor | None) -> Reply:
        """The browser comes back from a sign-in, to the request that waits in it."""
        kept = self._jar.read(exchange.request, "asked")
        asked = self._consent.taken_up(kept) if kept else None
        if asked is None:
            words = f"No request of an app waits in this browser, or it has waited for more than ten minutes. {AGAIN}"
            return self._consent.say(_OVER, words, status=400, reason="app-none")
        if visitor is None:
            return self._notices.session_over(BACK)
        return self._go_on(exchange, visitor, asked)

    def _go_on(self, exchange: Exchange, visitor: Visitor, asked: Asked) -> Reply:
        """The person is known, and the request is judged."""
        if reply := self._not_listed(exchange, visitor):
            return reply
        if isinstance(asked, Refusal):
            return self._send_refusal(asked)
        if self._answered.get(_digest(asked)):
            return self._over()
        request = exchange.request
        if _is_seen(request) and (
            approval := self._approvals.find(request, visitor.subject, asked)
        ):
            return self._let_in(exchange, visitor, asked, approval)
        return self._consent.page(visitor, self._door.form_token(visitor), asked)

    async def _decide(self, exchange: Exchange, visitor: Visitor | None) -> Reply:
        """The person's yes or no."""
        if visitor is None:
            words = f"The session of this browser is over, and no app was let in. {AGAIN}"
            return self._consent.say("You are signed out", words, status=401, reason="signed-out")
        form = await self._door.form(exchange, visitor, BACK)
        if isinstance(form, Reply):
            return form
        asked = self._consent.answered(visitor, form.text("request"))
        decision = form.text("decision")
        if asked is None or decision not in {"allow", "deny"}:
            words = f"This page was made more than ten minutes ago, or for somebody else, and no app was let in. {AGAIN}"
            return self._consent.say("This page was too old", words, status=400, reason="old-form")
        if reply := self._not_listed(exchange, visitor):
            return reply
        if self._answered.get(_digest(asked)):
            return self._over()
        if decision == "allow":
            return self._let_in(exchange, visitor, asked)
        self._answered.put(_digest(asked), True, ASKED_SECONDS)
        logger.info("%s did not let an app in", visitor.name)
        return self._send_refusal(asked.refused("access_denied", "the person said no"))

    def _let_in(
        self,
        exchange: Exchange,
        visitor: Visitor,
        asked: AuthorizationRequest,
        approval: Approval | None = None,
    ) -> Reply:
        """A new grant, and its code on the way to the app."""
        self._answered.put(_digest(asked), True, ASKED_SECONDS)
        to = destination_of(asked.redirect_uri).text
        grant = self._grants.new(
            visitor.subject, asked, to=to, scopes=asked.scopes, resource=asked.resource
        )
        try:
            code = self._codes.code(
                grant, redirect_uri=asked.redirect_uri, challenge=asked.challenge
            )
        except ValueError:  # all that a seal holds is as long as may be, at once
            return self._send_refusal(asked.refused("server_error", "the answer would be too long"))
        how = "again, without a question" if approval else "anew"
        told = "%s let in an app that calls itself %r and answers to %s, %s"
        logger.info(told, visitor.name, printable(asked.name), to, how)
        since = approval.since if approval else None
        approved = self._approvals.remember(exchange.request, visitor.subject, asked, grant, since)
        return self._send(asked.redirect_uri, {"code": code, "state": asked.state}, approved)

    def _send_refusal(self, refusal: Refusal) -> Reply:
        parameters = {
            "error": refusal.error,
            "error_description": refusal.words,
            "state": refusal.state,
        }
        reason = "app-denied" if refusal.error == "access_denied" else "app-fault"
        return self._send(refusal.redirect_uri, parameters, reason=reason)

    def _send(
        self,
        redirect_uri: str,
        parameters: Mapping[str, str],
        *cookies: tuple[bytes, bytes],
        reason: str = "",
    ) -> Reply:
        url = answer_url(redirect_uri, {**parameters, "iss": self._issuer})
        waits_no_more = self._jar.delete("asked")
        headers = ((b"Location", url.encode("ascii")), NO_REFERRER, waits_no_more, *cookies)
        return Reply(303, b"", headers, reason)

    def _not_listed(self, exchange: Exchange, visitor: Visitor) -> Reply | None:
        if self._people.may_sign_in(visitor.subject):
            return None
        told = "%s was turned away with an app: not among the people (%s)"
        logger.warning(told, visitor.name, visitor.subject.match)
        form_token = self._door.form_token(visitor)
        return self._notices.not_listed(exchange.request, visitor, form_token, at=BACK)

    def _over(self) -> Reply:
        words = f"This request of an app was answered already, and each is answered once. {AGAIN}"
        return self._consent.say(_OVER, words, status=400, reason="app-answered")


def _opened(reply: Reply) -> Reply:
    """The reply with the dashboard's header fields, but for the one by which the page that opened the window would lose it."""
    others = tuple(pair for pair in reply.headers if pair[0] != ANY_OPENER[0])
    return dressed(Reply(reply.status, reply.body, (*others, ANY_OPENER), reply.reason))


def _is_seen(request: Request) -> bool:
    """False if the browser says that it asks for a frame, for a script or ahead of time: a redirect would do its work there,
    though no page of ours does. Pages of the same site, as of a neighbouring name, have the cookies sent along.
    """
    places = request.values.get(b"sec-fetch-dest", ())
    return b"sec-purpose" not in request.values and all(each == b"document" for each in places)


def _digest(asked: AuthorizationRequest) -> bytes:
    return sha256(asked.id.encode()).digest()
