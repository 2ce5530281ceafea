"""One visit: a request for a page of the dashboard, by somebody who may see it.

A page is a `View`: it takes the visit, reads, and returns a reply, mostly `visit.page("NAME.html", ...)`. A button is
an `Action`: it takes the visit and the form that was sent, changes something, leaves a line in the log, and sends the
browser to a page (`visit.see`), so that a reload repeats nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.http.paths import DASHBOARD
from gatehouse.http.reply import Reply
from gatehouse.pages.dashboard.forms import Form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.downstream.exchange import Exchange
    from gatehouse.pages.dashboard.shell import Shell
    from gatehouse.signin.visitor import Visitor

MAX_SAID = 256
"""How many sentences wait for their page: a visitor has one at most."""

SAID_SECONDS = 60.0
"""How long a sentence waits: the browser asks for its page at once."""


class Said(NamedTuple):
    """A sentence about what was done."""

    sentence: str
    is_warning: bool = False
    """True if it was not done."""


class Sayings:
    """Sentences about what was done, each for the next page that its visitor sees.

    They stay in this process, and never in a URL, where anybody could write one.
    """

    def __init__(self) -> None:
        self._said: OrderedDict[str, tuple[Said, float]] = OrderedDict()

    def say(self, visitor: Visitor, said: Said) -> None:
        """Keep the sentence for the next page, in place of one that waits."""
        self._said[_key(visitor)] = (said, time.monotonic() + SAID_SECONDS)
        self._said.move_to_end(_key(visitor))
        while len(self._said) > MAX_SAID:
            self._said.popitem(last=False)

    def hear(self, visitor: Visitor) -> Said | None:
        """The sentence that waits for this visitor, which waits no longer; None if there is none."""
        said, until = self._said.pop(_key(visitor), (None, 0.0))
        return said if time.monotonic() < until else None


def _key(visitor: Visitor) -> str:
    return visitor.session or visitor.id


@dataclass(frozen=True, slots=True)
class Visit:
    """The request, who sent it, and the ways to answer."""

    exchange: Exchange
    visitor: Visitor
    form_token: str
    """Stands in each form: a POST without it, or with another session's, does nothing."""
    at: str
    """The path of the page that is shown, or to which the action belongs."""
    shell: Shell
    is_admin: bool
    """True if they may open the dashboard; everybody else sees `OWN`, and there only what is theirs."""

    async def page(
        self,
        template: str,
        *,
        status: int = 200,
        late: Callable[[], Mapping[str, Any]] = dict,
        **context: Any,
    ) -> Reply:
        """The page of a template that extends `layout.html`, with these names for it, and those that `late` finds.

        A thread calls `late` and writes the page: neither may use what the loop changes in place.
        """
        shared = {
            "at": self.at,
            "form_token": self.form_token,
            "is_admin": self.is_admin,
            "said": self.shell.sayings.hear(self.visitor),
            "visitor": self.visitor,
        }

        def write() -> Reply:
            names = {**shared, **context, **late()}
            return self.shell.templates.reply(template, names, status=status)

        return await self.shell.aside.run(write)

    def see(
        self, path: str, said: str = "", *headers: tuple[bytes, bytes], is_warning: bool = False
    ) -> Reply:
        """Send the browser to a page of ours, which shows the sentence `said` once; as a warning if nothing was done."""
        if said:
            self.shell.sayings.say(self.visitor, Said(said, is_warning))
        return see(path, *headers)


def see(path: str, *headers: tuple[bytes, bytes]) -> Reply:
    """Send the browser to a path of the dashboard, or to a URL that is not a client's choice, with a GET."""
    return Reply(303, b"", ((b"Location", path.encode("ascii")), *headers))


View = Callable[[Visit], Awaitable[Reply]]
"""A page: it reads, and changes nothing."""

Action = Callable[[Visit, Form], Awaitable[Reply]]
"""A change: it comes by POST, from a form of a page of ours."""

HOME = DASHBOARD.decode()
"""The first page."""

OWN = f"{HOME}/apps"
"""The page that everybody who may sign in may see, for what is their own there."""

OF_PERSON = f"{OWN}?person="
"""The same page about one person, whose key follows: the part of an id after the kind."""
