"""The door of the dashboard: who comes in, and which form may change something.

The questions, in their order:

1.  By which name is the gate asked? A page is shown by that of PUBLIC_URL only: sessions and forms belong to its origin.
2.  From where does a form come? The browser must say that it is a page of ours.
3.  Who is it? A session of ours tells, or the front's word. A token of the MCP endpoint means nothing here, and is not
    looked at.
4.  Are they on the list? It is asked at every request. One page is for everybody who may sign in, and what it shows and
    does is the visitor's own.
5.  Does the form belong to this session? It holds a mark that no other site can read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gatehouse.http import refusals
from gatehouse.http.paths import DASHBOARD
from gatehouse.identity.principal import Unknown
from gatehouse.pages.dashboard.forms import BadFormError, read_form
from gatehouse.pages.dashboard.visit import see
from gatehouse.records.loggers import logger_of
from gatehouse.signin.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.subject import Subject
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.notices import Notices
    from gatehouse.policy.origins import Origins

logger = logger_of("gate.dashboard")

AT_PUBLIC = b"at=public"
"""The query of a page to which the gate has sent the browser, or the end of it. Where a proxy writes a name of its own into Host, the next
request looks as foreign as the first, and must not be sent on again."""


def untold(_: Subject) -> None:
    """Nobody is told who came."""


class Visitors(Protocol):
    """Knows the people who come in a browser (`gatehouse/signin/`)."""

    async def who(self, request: Request) -> Visitor | Unknown | None:
        """The person; None if nobody is signed in; somebody unknown if the front's word is missing, bad or cannot be
        judged, and this ends the matter unless people can sign in without it.
        """

    def is_admin(self, subject: Subject) -> bool:
        """True if they may open the dashboard now."""

    def may_sign_in(self, subject: Subject) -> bool:
        """True if they get a session."""

    def form_token(self, visitor: Visitor) -> str:
        """The mark of the forms of this session."""

    def takes(self, visitor: Visitor, form_token: str) -> bool:
        """True if a form with that mark belongs to this session."""


class Door:
    """The door. `origin` is that of PUBLIC_URL, and `origins` know the other names of the gate. `own_page` is the page for
    everybody who may sign in; empty if there is none. `came` is told of everybody who comes in through the front; those
    with a session have signed in before.
    """

    def __init__(
        self,
        *,
        origin: str,
        origins: Origins,
        visitors: Visitors,
        notices: Notices,
        own_page: str = "",
        came: Callable[[Subject], object] = untold,
    ) -> None:
        self._origin = origin
        self._origins = origins
        self._visitors = visitors
        self._notices = notices
        self._own_page = own_page
        self._came = came
        self._told_of_host = False

    def elsewhere(self, request: Request, *, with_query: bool = False) -> Reply | None:
        """Where to send a browser that asks by another name of the gate, or the refusal of a name that is none.

        Its query goes along only `with_query`.
        """
        scheme, _, ours = self._origin.partition("://")
        usual = {"http": ":80", "https": ":443"}[scheme]
        fields = (request.value(b"host"), request.value(b"x-forwarded-host"))
        asked = [each.decode("latin-1").lower().removesuffix(usual) for each in fields if each]
        if not self._origins.knows(request.value(b"host") or b""):
            return (
                refusals.MISDIRECTED
            )  # whatever X-Forwarded-Host says: a page can write it, but not Host
        if ours in asked:
            return None
        if not request.query.endswith(AT_PUBLIC):
            path = request.path.decode("ascii")
            query = request.query if with_query and request.query.isascii() else b""
            marked = (query + b"&" if query else b"") + AT_PUBLIC
            return see(f"{self._origin}{path}?{marked.decode('ascii')}")
        if not self._told_of_host:
            self._told_of_host = True
            logger.warning(
                "a request for %s came under another name, which is no fault of the browser's: let the proxy in front "
                "pass Host on as it is",
                self._origin,
            )
        return None

    def foreign(self, request: Request) -> Reply | None:
        """The refusal of a form that does not come from a page of ours, by what the browser says; None if it does."""
        origins = request.values.get(b"origin", ())
        sites = request.values.get(b"sec-fetch-site", ())
        ours = [self._origin.encode("ascii")] == [each.lower() for each in origins]
        if ours and all(site == b"same-origin" for site in sites):
            return None
        logger.warning(
            "a form for %s from another place than the dashboard did nothing", request.shown_path
        )
        return self._notices.foreign()

    async def visitor(self, exchange: Exchange, at: str) -> Visitor | Reply:
        """The one who may look at pages, or the reply to anybody else. They get back to the page `at` when they sign in."""
        request = exchange.request
        who = await self._known(exchange)
        if isinstance(who, Unknown) and who.ends:
            return self._notices.unknown(request, who)
        if not isinstance(
            who, Visitor
        ):  # a bad word of a front that nobody needs: they may still sign in
            if request.method == "POST":
                return self._notices.session_over(at)
            return self._notices.sign_in(request, at)
        return self._let_in(exchange, who, at)

    def is_admin(self, visitor: Visitor) -> bool:
        """True if they may open the dashboard now."""
        return self._visitors.is_admin(visitor.subject)

    async def signed_in(self, exchange: Exchange) -> Visitor | None:
        """The one who is signed in, on the list or not; None if there is nobody."""
        who = await self._known(exchange)
        return who if isinstance(who, Visitor) else None

    async def form(self, exchange: Exchange, visitor: Visitor, at: str) -> Form | Reply:
        """The form that a visitor sends, or the reply to one that may change nothing. Raises ClientLeftError."""
        try:
            form = await read_form(exchange)
        except BadFormError as error:
            return self._notices.bad_form(error, at)
        if self._visitors.takes(visitor, form.text("form_token")):
            return form
        logger.warning(
            "%s sent an old form for %s, which did nothing", visitor.name, exchange.request
        )
        return self._notices.too_old(at)

    def form_token(self, visitor: Visitor) -> str:
        """The mark of the visitor's own forms."""
        return self._visitors.form_token(visitor)

    async def _known(self, exchange: Exchange) -> Visitor | Unknown | None:
        who = await self._visitors.who(exchange.request)
        if who is not None:
            exchange.name = who.name
        return who

    def _let_in(self, exchange: Exchange, visitor: Visitor, at: str) -> Visitor | Reply:
        if not self.is_admin(visitor):
            own_page = self._own_page if self._visitors.may_sign_in(visitor.subject) else ""
            if own_page and exchange.request.path == DASHBOARD:
                return see(own_page)
            if not own_page or at != own_page:
                return self._not_listed(exchange, visitor, own_page)
        lane = "cookie" if visitor.session else "header"
        if not exchange.is_from(visitor.id, visitor.name, lane):
            return self._notices.too_many_connections()
        if not visitor.session:
            self._came(visitor.subject)
        return visitor

    def _not_listed(self, exchange: Exchange, visitor: Visitor, own_page: str) -> Reply:
        told = "%s was turned away: not on the list (%s)"
        logger.warning(told, visitor.name, visitor.subject.match)
        token = self.form_token(visitor)
        return self._notices.not_listed(exchange.request, visitor, token, own_page=own_page)
