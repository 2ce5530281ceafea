"""The calm pages: each says one thing, and has one link. They are all that somebody sees who may not open the dashboard.

They tell a stranger the name of the provider, and nothing else: no name of the server, of a person or of a setting.
A script that asks for data gets the same refusal as JSON, since a page in its place would only be an odd error there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from gatehouse.http.paths import RESUME
from gatehouse.http.reply import CLOSE_CONNECTION, page_error
from gatehouse.pages.dashboard.visit import HOME

if TYPE_CHECKING:
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Unknown
    from gatehouse.pages.dashboard.forms import BadFormError
    from gatehouse.pages.dashboard.templates import Templates
    from gatehouse.signin.visitor import Visitor

SIGN_IN = f"{HOME}/sign-in"
"""Where a sign-in begins."""

APP = RESUME.decode()
"""Where an app's request waits for whoever signs in."""

# RFC 9110 section 11.6.1 wants a challenge in each 401. Browsers know no such scheme, and show the page.
CHALLENGE = (b"WWW-Authenticate", b'Cookie realm="dashboard"')

IN_MEMORY = "-in-memory"
"""The end of such a word if the sessions may open again after a restart."""

_MAY_OPEN_AGAIN = (
    "The gate could not write this to its disk: if it starts anew within 8 hours, a copy of the session would open "
    "again. Whoever runs the gate finds the reason in its log, or sets STATE_DB."
)
SIGNED_OUT = {
    "bye": "You are signed out.",
    "bye-everywhere": "You are signed out, in this browser and in all others.",
    f"bye{IN_MEMORY}": f"You are signed out. {_MAY_OPEN_AGAIN}",
    f"bye-everywhere{IN_MEMORY}": f"You are signed out, in this browser and in all others. {_MAY_OPEN_AGAIN}",
}
"""The words of a query that the sign-in page has a sentence for: nobody else's words get onto it by a link."""


def is_data(path: str) -> bool:
    """True if the path is no page: a script or a program reads the answer."""
    return "." in path.rpartition("/")[2]


class Notices:
    """The pages that say one thing. `provider` is the name of where people sign in; empty if the front signs them in.
    `own_page` is the page for everybody who may sign in; empty if there is none.
    """

    def __init__(self, templates: Templates, *, provider: str, own_page: str = "") -> None:
        self._templates = templates
        self._provider = provider
        self._own_page = own_page

    def sign_in(self, request: Request, at: str) -> Reply:
        """Nobody is signed in: the page with the link that begins a sign-in, and leads back to `at`."""
        if is_data(request.path.decode("ascii", "replace")):
            reply = page_error(
                401, "signed_out", "Sign in at /dashboard in a browser.", reason="signed-out"
            )
            return replace(reply, headers=(*reply.headers, CHALLENGE))
        word = request.query.decode("ascii", "replace")
        return self._templates.reply(
            "sign_in.html",
            {
                "provider": self._provider,
                "has_own_page": bool(self._own_page),
                "said": SIGNED_OUT.get(word, ""),
                "is_warning": word.endswith(IN_MEMORY),
                "link": sign_in_link(at),
            },
            CHALLENGE,
            status=401,
            reason="signed-out",
        )

    def session_over(self, at: str) -> Reply:
        """A form came from somebody who is signed in no more: nothing was done."""
        return self._say(
            "You are signed out",
            "The session of this browser is over, so nothing was done. Sign in, and try again.",
            ("Sign in", sign_in_link(at)) if self._provider else ("Open the dashboard", HOME),
            CHALLENGE,
            status=401,
            reason="signed-out",
        )

    def not_listed(
        self,
        request: Request,
        visitor: Visitor | None,
        form_token: str,
        *,
        own_page: str = "",
        at: str = HOME,
    ) -> Reply:
        """Somebody whom the provider or the front knows, and who may not open the dashboard; `own_page` if they may see that.
        At APP, they may let no app in.
        """
        if is_data(request.path.decode("ascii", "replace")):
            return page_error(403, "not_listed", "Not on the list.", reason="not-admin")
        own = visitor is not None and bool(visitor.session)
        of_front = visitor is not None and not own  # whose word goes before any sign-in
        return self._templates.reply(
            "not_listed.html",
            {
                "for_app": at == APP,
                "form_token": form_token if own else "",
                "own_page": own_page,
                "link": sign_in_link(at) if self._provider and not of_front else "",
            },
            status=403,
            reason="people" if at == APP else "not-admin",
        )

    def unknown(self, request: Request, unknown: Unknown) -> Reply:
        """The front's word is missing or no good, or nobody can tell whether it is good."""
        kept = tuple(
            pair
            for pair in (unknown.reply.headers if unknown.reply else ())
            if pair[0] == b"Retry-After"
        )
        status = unknown.reply.status if unknown.reply else 403
        if is_data(request.path.decode("ascii", "replace")):
            return page_error(
                status, "front", "Not through the front.", *kept, reason=unknown.reason
            )
        if unknown.reason == "people":
            return self.not_listed(request, None, "")
        if status >= 500:
            title = "The front cannot be checked now"
            words = "The keys by which its word is checked are out of reach. Try again in a few seconds."
        else:
            title = "Open the dashboard through the front"
            words = "People come in through a front that signs them in, and this request did not, or its word is no good."
        return self._say(
            title, words, ("Try again", HOME), *kept, status=status, reason=unknown.reason
        )

    def foreign(self) -> Reply:
        """A form came from another site, or from nobody knows where."""
        return self._say(
            "This did not come from the dashboard",
            "The browser says that another page sent it, or does not say which, so nothing was done.",
            ("Open the dashboard", HOME),
            status=403,
            reason="foreign-form",
        )

    def too_old(self, at: str) -> Reply:
        """A form came from a page of an earlier session."""
        return self._say(
            "This page was too old",
            "It belongs to an earlier session, so nothing was done. Go back to the page, which is then new, and try again.",
            ("Back to the page", at),
            status=403,
            reason="old-form",
        )

    def bad_form(self, error: BadFormError, at: str) -> Reply:
        """A form cannot be read."""
        return self._say(
            "Nothing was done",
            error.words,
            ("Back to the page", at),
            *([CLOSE_CONNECTION] if error.ends else []),
            status=error.status,
            reason=error.reason,
        )

    def too_many_connections(self) -> Reply:
        """The visitor holds as many connections as they may."""
        return self._say(
            "Too many connections",
            "You hold as many connections as you may, and all are in use. Close some pages, or try again in a few seconds.",
            ("Try again", HOME),
            (b"Retry-After", b"5"),
            CLOSE_CONNECTION,
            status=429,
            reason="token-connections",
        )

    def failed_sign_in(
        self, words: str, *headers: tuple[bytes, bytes], status: int, reason: str, to: str = HOME
    ) -> Reply:
        """A sign-in that came to nothing, and would have led to `to`."""
        return self._say(
            "You are not signed in",
            words,
            ("Sign in again", sign_in_link(to)),
            *headers,
            status=status,
            reason=reason,
        )

    def wait(self, words: str, seconds: float, *, status: int, reason: str) -> Reply:
        """Too much is asked for: come again in so many seconds."""
        retry = (b"Retry-After", b"%d" % max(1, math.ceil(seconds)))
        return self.failed_sign_in(words, retry, status=status, reason=reason)

    def failed(self) -> Reply:
        """A fault of ours."""
        return self._say(
            "Something failed",
            "The gate itself failed on this page, and its log says where. If you were changing something, look whether it "
            "was done before you try again.",
            ("Open the dashboard", HOME),
            status=500,
            reason="failed",
        )

    def _say(
        self,
        title: str,
        words: str,
        link: tuple[str, str],
        *headers: tuple[bytes, bytes],
        status: int,
        reason: str,
    ) -> Reply:
        context = {"title": title, "words": words, "link": link}
        return self._templates.reply("notice.html", context, *headers, status=status, reason=reason)


def sign_in_link(to: str) -> str:
    """The link that begins a sign-in, and leads to a page of ours."""
    return f"{SIGN_IN}?to={quote(to, safe='/')}"
