"""Sessions of people in a browser: sealed into a cookie, for 8 hours at most, never renewed.

The gate keeps no list of them. A session holds the facts by which its person is looked up in the lists, at every
request anew, and none of the provider's tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatehouse.identity.clock import clock as unix_time
from gatehouse.signin.ended_file import began_at
from gatehouse.signin.facts import facts_of, subject_of_facts
from gatehouse.signin.sealing import MAX_CONTENT_BYTES, MAX_SECONDS, length_of
from gatehouse.signin.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gatehouse.http.request import Request
    from gatehouse.identity.subject import Subject
    from gatehouse.signin.cookies import Jar
    from gatehouse.signin.ended import Ended
    from gatehouse.signin.sealing import Sealer

PURPOSE = "session"
"""The purpose of a session's seal."""

MAX_SUB_LENGTH = 255
"""How long a `sub` may be, in characters (OpenID Connect Core 1.0, section 2)."""


class UnfitSubjectError(ValueError):
    """There is no session for this subject."""


class BrowserSessions:
    """Begins, finds and ends the sessions of people who sign in at one provider.

    `sealer` is bound to the provider and to the gate's id there, and its purpose is PURPOSE. `orgs` tells the
    organisations that some list names: these have a place in the session before others.
    """

    def __init__(
        self,
        sealer: Sealer,
        jar: Jar,
        ended: Ended,
        *,
        issuer: str,
        orgs: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._sealer = sealer
        self._jar = jar
        self._ended = ended
        self._issuer = issuer
        self._orgs = orgs
        self._clock = clock

    def begin(self, subject: Subject) -> tuple[bytes, bytes]:
        """The Set-Cookie field of a new session. Raises UnfitSubjectError if the subject is no person of this provider."""
        if subject.kind != "person" or subject.issuer != self._issuer or subject.is_machine:
            raise UnfitSubjectError("this is no person who signs in here")
        if not 0 < len(subject.sub) <= MAX_SUB_LENGTH:
            raise UnfitSubjectError(
                f"a person's sub has {MAX_SUB_LENGTH} characters at most, and one at least"
            )
        content = self._content_of(subject)
        text = self._sealer.seal(content, self._clock() + MAX_SECONDS)
        return self._jar.write("session", text, MAX_SECONDS)

    def find(self, request: Request) -> Visitor | None:
        """The person whose session the request brings; None if there is none that is good."""
        text = self._jar.read(request, "session")
        sealed = self._sealer.unseal(text) if text else None
        if sealed is None:
            return None
        try:
            session, subject = _read(sealed.content, self._issuer, sealed.until)
        except (LookupError, TypeError, ValueError):  # sealed by a gate of another release
            return None
        if self._ended.has(subject.id, session):
            return None
        return Visitor(subject, session, sealed.until)

    async def end(self, visitor: Visitor) -> bool:
        """End the visitor's session, now. True if it stays ended after a restart, too.

        A person whom the front vouches for has none here: the front must end theirs. Then, too, the answer is True.
        """
        return not visitor.session or await self._ended.end(visitor.id, visitor.session)

    async def end_all(self, person: str) -> bool:
        """End all sessions of the person of that id that began before now. True if they stay ended after a restart."""
        return await self._ended.end_all(person)

    def forget(self) -> tuple[bytes, bytes]:
        """The Set-Cookie field by which the browser forgets its session."""
        return self._jar.delete("session")

    def _content_of(self, subject: Subject) -> dict[str, Any]:
        """The id of a new session, and the facts of the subject, as far as there is room."""
        content = {"i": self._ended.new_id(subject.id)}
        room = MAX_CONTENT_BYTES - length_of(content) - 1
        return content | facts_of(subject, room, self._orgs())


def _read(content: dict[str, Any], issuer: str, until: float) -> tuple[str, Subject]:
    """The id of the session and its person. Raises LookupError, TypeError or ValueError if the content is another."""
    session = content["i"]
    if not isinstance(session, str):
        raise TypeError
    began_at(session)
    return session, subject_of_facts("person", content, issuer=issuer, expires=until)
