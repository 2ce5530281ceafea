"""The question who is at the dashboard: somebody whom the front vouches for, or who has signed in.

Bearer tokens, keys and all other credentials are no answer to it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from gatehouse.http.challenges import NOT_LISTED
from gatehouse.identity.fronts import MISSING
from gatehouse.identity.principal import Unknown
from gatehouse.signin.sealing import key_for
from gatehouse.signin.visitor import Visitor

if TYPE_CHECKING:
    from gatehouse.http.request import Request
    from gatehouse.identity.fronts import Assertions
    from gatehouse.identity.people import People
    from gatehouse.identity.subject import Subject
    from gatehouse.identity.who_signs_in import PeopleWhoSignIn
    from gatehouse.signin.sessions import BrowserSessions

FORM_PURPOSE = "form"
"""The purpose of the key of form tokens."""


class Visitors:
    """Knows who is at the dashboard, and what the lists say of them.

    `people` are those who may sign in, the admins among them. `sessions` and `front` are the two ways to be known; one may be
    None, not both. With `front_required`, nobody is known without a good assertion. `secret` is what the key of form
    tokens is made of.
    """

    def __init__(
        self,
        people: PeopleWhoSignIn,
        sessions: BrowserSessions | None,
        front: Assertions | None,
        *,
        front_required: bool,
        secret: bytes,
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._front = front
        self._needs_front = front_required or sessions is None
        self._form_key = key_for(secret, FORM_PURPOSE)

    async def who(self, request: Request) -> Visitor | Unknown | None:
        """The visitor; None if nobody is signed in; somebody unknown, with the reply, if the front's word is missing
        or no good, or says that this is a machine, or nobody can tell now.

        A good assertion goes first, then the session. Where the front is not required, a bad assertion is told only to those without one.
        """
        word = await self._word(request)
        if isinstance(word, Visitor) or (word is not None and word.ends):
            return word
        found = self._sessions.find(request) if self._sessions else None
        return found or word

    async def _word(self, request: Request) -> Visitor | Unknown | None:
        """The front's word; one that ends the question leaves no session to be asked for."""
        if self._front is None:
            return None
        found = await self._front.recognise(request)
        if found is None and self._needs_front:
            found = MISSING
        if found is None:
            return None
        if isinstance(found, Unknown):
            return found._replace(ends=self._needs_front)
        if found.is_machine:
            return Unknown(found.shown, "people", NOT_LISTED, counts=False, ends=True)
        return Visitor(found, until=found.expires)

    def is_admin(self, subject: Subject) -> bool:
        """True if the person may open the dashboard, by the list of this moment."""
        return self._people.is_admin(subject)

    def may_sign_in(self, subject: Subject) -> bool:
        """True if the person gets a session."""
        return self._people.may_sign_in(subject)

    def form_token(self, visitor: Visitor) -> str:
        """The token that each form of the visitor's holds: another page cannot know it. It is their session's, or their
        own if the front vouches for them.
        """
        whose = f"session {visitor.session}" if visitor.session else f"subject {visitor.id}"
        return hmac.digest(self._form_key, whose.encode(), "sha256").hex()

    def takes(self, visitor: Visitor, form_token: str) -> bool:
        """True if the form is the visitor's. Takes the same time for every wrong token."""
        given = form_token.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(given, self.form_token(visitor).encode())


def named_orgs(people: People) -> frozenset[str]:
    """The organisations that the lists name at this moment."""
    return frozenset(key.fact for key in people.keys if key.kind == "org")
