"""The page of apps: which app of whom is let in, since when, and the end of that.

An admin sees the apps of everybody. Everybody else who may sign in sees the same page with their own apps, and can end
nobody else's. Nothing that an app says of itself is verified. Beside that, everybody sees which of their apps come in
again without a question in the browser that they use, and can change that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gatehouse.apps.approvals import APPROVAL_SECONDS
from gatehouse.apps.grant import MAX_GRANT_SECONDS, REFRESH_SECONDS
from gatehouse.pages.dashboard.people import key_of, looked_for, name_of
from gatehouse.pages.dashboard.printable import printable
from gatehouse.pages.dashboard.visit import OF_PERSON, OWN
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gatehouse.apps.approvals import Approvals
    from gatehouse.apps.grant import KnownGrant
    from gatehouse.apps.grants import Grants
    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Action, Visit

logger = logger_of("gate.dashboard")

MAX_ROWS = 200
"""How many lines a page has, those used last; all others are found by their names."""

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Row:
    """One app of one person."""

    known: KnownGrant

    @property
    def id(self) -> str:
        """Names the grant."""
        return self.known.grant.id

    @property
    def app(self) -> str:
        """How the app calls itself; may be empty."""
        return printable(self.known.grant.app)

    @property
    def to(self) -> str:
        """Where its answers go."""
        return printable(self.known.grant.to)

    @property
    def person(self) -> str:
        """The person's name: visible ASCII."""
        return name_of(self.known.grant.person)

    @property
    def person_key(self) -> str:
        """The person, whatever the way by which they come."""
        return key_of(self.known.grant.person)

    @property
    def person_link(self) -> str:
        """The page about that person alone."""
        return OF_PERSON + self.person_key

    @property
    def scopes(self) -> str:
        """The scopes that it got, if there are any."""
        return " ".join(self.known.grant.scopes)

    def is_meant_by(self, text: str) -> bool:
        """True if the text, in lower case, is part of something that the page shows of it."""
        told = (self.app, self.to, self.person, self.known.address, self.scopes)
        return any(text in each.lower() for each in told)


class AppsPage:
    """The view `show`, and the actions `end`, `end_all` and `forget`.

    `approvals` are in the visitor's browser: the apps that come in again without a question. With `several_gates`, others
    take part in an end.
    """

    def __init__(
        self, grants: Grants, approvals: Approvals, *, several_gates: bool = False
    ) -> None:
        self._grants = grants
        self._approvals = approvals
        self._several_gates = several_gates

    @property
    def actions(self) -> Mapping[bytes, Action]:
        """The buttons by their paths."""
        return {
            f"{OWN}/end".encode(): self.end,
            f"{OWN}/end-all".encode(): self.end_all,
            f"{OWN}/forget".encode(): self.forget,
        }

    async def show(self, visit: Visit) -> Reply:
        """The page: apps of everybody or of one person, all or those in whose line a text stands that is looked for."""
        query = visit.exchange.request.query
        find, own = looked_for(query), key_of(visit.visitor.subject)
        key = _person_in(query) if visit.is_admin else own
        return await visit.page(
            "apps.html",
            late=partial(self._found, find, key, self._remembered(visit)),
            find=find,
            key=key,
            own=own,
            own_link=OF_PERSON + own,
            several_gates=self._several_gates,
            approval_days=round(APPROVAL_SECONDS / 86_400),
            days=round(MAX_GRANT_SECONDS / 86_400),
            unused_days=round(REFRESH_SECONDS / 86_400),
        )

    async def end(self, visit: Visit, form: Form) -> Reply:
        """End one grant."""
        known = self._grants.of(form.text("grant"))
        if known is None or not _may_end(visit, key_of(known.grant.person)):
            return visit.see(
                OWN, "This app is not let in any more. Nothing was done.", is_warning=True
            )
        forgets = self._forgets(visit, {known.grant.id})
        lasts = await self._grants.end(known)
        row = Row(known)
        logger.warning(
            "%s revoked an app of %s, which calls itself %r",
            visit.visitor.name,
            known.grant.person.shown,
            row.app,
        )
        app = f"«{row.app}»" if row.app else "An app without a name"
        return visit.see(OWN, f"{app} of {row.person} is revoked.{_memory(lasts)}", *forgets)

    async def end_all(self, visit: Visit, form: Form) -> Reply:
        """End all grants of one person."""
        key, subject = form.text("person"), visit.visitor.subject
        theirs = [each for each in self._grants.all() if key_of(each.grant.person) == key]
        is_own = key == key_of(subject)
        # Of their own, there may be some that the gate does not know: they began before it lost its disk.
        if not _may_end(visit, key) or not (theirs or is_own):
            return visit.see(
                OWN, "This person has let no app in. Nothing was done.", is_warning=True
            )
        person = theirs[0].grant.person if theirs else subject
        forgets = self._forgets(visit, set(self._remembered(visit))) if is_own else ()
        lasts = await self._grants.end_all(f"oauth:{key}")
        logger.warning(
            "%s revoked all apps of %s: %d", visit.visitor.name, person.shown, len(theirs)
        )
        said = f"All apps of {name_of(person)} are revoked.{_memory(lasts)}"
        return visit.see(OWN, said, *forgets)

    async def forget(self, visit: Visit, form: Form) -> Reply:
        """Have this browser ask again about apps of the visitor's."""
        forgets = self._forgets(visit, set(form.all("grant")))
        if not forgets:
            return visit.see(
                OWN, "This browser asks about that app anyway. Nothing was done.", is_warning=True
            )
        logger.info("%s had a browser forget that apps may come in again", visit.visitor.name)
        return visit.see(OWN, "Forgotten: you will be asked before it comes in again.", *forgets)

    def _remembered(self, visit: Visit) -> dict[str, int]:
        """The ids of the grants by which the visitor's apps come in again without a question, and when the yes was."""
        found = self._approvals.listed(visit.exchange.request, visit.visitor.subject)
        return {each.grant: each.since for each in found}

    def _forgets(self, visit: Visit, grants: set[str]) -> list[tuple[bytes, bytes]]:
        """The header fields by which the browser forgets those of these grants that it remembers for the visitor."""
        there = grants.intersection(self._remembered(visit))
        return [self._approvals.forget(visit.exchange.request, there)] if there else []

    def _found(self, find: str, key: str, remembered: Mapping[str, int]) -> dict[str, Any]:
        """The rows that are meant, the first MAX_ROWS of them; of one person, if there is a key. And what is remembered."""
        rows = [Row(each) for each in self._grants.all()]
        mine = [each for each in rows if not key or each.person_key == key]
        found = [each for each in mine if not find or each.is_meant_by(find.lower())]
        by_id = {each.id: each for each in rows}
        return {
            "rows": found[:MAX_ROWS],
            "found": len(found),
            "all": len(mine),
            "person": mine[0].person if key and mine else "",
            "remembered": [(one, by_id.get(one), since) for one, since in remembered.items()],
        }


def _may_end(visit: Visit, key: str) -> bool:
    """True if the visitor may end what the person of that key has let in."""
    return visit.is_admin or key == key_of(visit.visitor.subject)


def _person_in(query: bytes) -> str:
    """The key of the one person whose apps a query asks for; empty if it asks for everybody's."""
    key = parse_qs(query.decode("latin-1"), errors="replace").get("person", [""])[0]
    return key if _KEY.fullmatch(key) else ""


def _memory(lasts: bool) -> str:
    return "" if lasts else " A restart of the gate would forget that."
