"""The apps that may come again without a question, for one browser and one person in it: a sealed cookie.

The gate keeps no list of them. An approval counts for the same person, client, place of the answer and scopes, for 30
days from the yes, and only while the grant that the app got last has not ended: nobody comes in again silently after
somebody has taken the app's grant away.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.apps.grant import as_caller
from gatehouse.apps.redirects import destination_of
from gatehouse.identity.clock import clock as unix_time
from gatehouse.identity.rate import Rate
from gatehouse.policy.counting import counts_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gatehouse.apps.authorization import AuthorizationRequest
    from gatehouse.apps.grant import Grant
    from gatehouse.apps.grants import Grants
    from gatehouse.http.request import Request
    from gatehouse.identity.subject import Subject
    from gatehouse.signin.cookies import Jar
    from gatehouse.signin.sealing import Sealer

APPROVAL_SECONDS = 30 * 86_400.0
"""How long an approval counts. The sealer must hold as long."""

MAX_APPROVALS = 16
"""How many a browser keeps; the oldest goes first. With so many, the cookie has 2 KiB, and goes along with every request."""

OFTEN = Rate(20, 3600, 20)
"""How often one approval counts. An app that comes more often, or is led here by a page, is asked about: many new grants end
older ones of the person (`Grants`)."""

MAX_COUNTED = 4096
"""How many approvals are counted."""


class Approval(NamedTuple):
    """A yes that is remembered."""

    about: str
    """A digest of person, client, place and scopes."""
    person: str
    """A few characters of a digest of the person alone, to find theirs again."""
    since: int
    """The Unix time of the yes."""
    grant: str
    """The id of the grant that the app got last."""


class Approvals:
    """Reads and writes the cookie. `sealer` holds for APPROVAL_SECONDS."""

    def __init__(
        self,
        sealer: Sealer,
        jar: Jar,
        grants: Grants,
        *,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        self._sealer = sealer
        self._jar = jar
        self._grants = grants
        self._clock = clock
        self._counted = counts_in_memory(MAX_COUNTED)

    def find(
        self, request: Request, person: Subject, asked: AuthorizationRequest
    ) -> Approval | None:
        """The approval by which the app need not be asked about now; None if there is none that counts."""
        about = _about(person, asked)
        found = next((each for each in self._read(request) if each.about == about), None)
        if found is None or not can_be_remembered(asked) or not self._counts(found, person):
            return None
        return found if self._counted.take(about, OFTEN) is None else None

    def remember(
        self,
        request: Request,
        person: Subject,
        asked: AuthorizationRequest,
        grant: Grant,
        since: float | None = None,
    ) -> tuple[bytes, bytes]:
        """The Set-Cookie field after a yes, or after an approval of that time has counted, by which the app got the grant."""
        about = _about(person, asked)
        others = [each for each in self._read(request) if each.about != about]
        since = self._clock() if since is None else since
        new = Approval(about, _mark(person), int(since), grant.id)
        kept = [*others, new] if can_be_remembered(asked) else others
        return self._write(kept[-MAX_APPROVALS:])

    def listed(self, request: Request, person: Subject) -> list[Approval]:
        """The person's approvals in this browser that count."""
        mark = _mark(person)
        found = self._read(request)
        return [each for each in found if each.person == mark and self._counts(each, person)]

    def forget(self, request: Request, grants: Collection[str]) -> tuple[bytes, bytes]:
        """The Set-Cookie field that takes away the approvals whose last grants have these ids."""
        return self._write([each for each in self._read(request) if each.grant not in grants])

    def _counts(self, approval: Approval, person: Subject) -> bool:
        if not 0 <= self._clock() - approval.since < APPROVAL_SECONDS:
            return False
        try:
            return not self._grants.is_over(as_caller(person, "").id, approval.grant)
        except ValueError:
            return False

    def _read(self, request: Request) -> list[Approval]:
        """The approvals that the browser brings; none if one of them makes no sense."""
        text = self._jar.read(request, "apps")
        content = self._sealer.open(text) if text else None
        try:
            return [_approval_of(*each) for each in (content or {}).get("a", ())]
        except (TypeError, ValueError):  # sealed by a gate of another release
            return []

    def _write(self, approvals: list[Approval]) -> tuple[bytes, bytes]:
        if not approvals:
            return self._jar.delete("apps")
        content = {"a": [list(each) for each in approvals]}
        text = self._sealer.seal(content, self._clock() + APPROVAL_SECONDS)
        return self._jar.write("apps", text, APPROVAL_SECONDS)


def can_be_remembered(asked: AuthorizationRequest) -> bool:
    """True if the client has registered, so that one installation alone has its id.

    A client that a document describes is the same for all who use it. A page could send this browser here for somebody
    else who uses it, and their app, not this person's, might get the answer; or any program on the computer could pose
    as it (RFC 8252 section 8.6). Therefore the person is asked each time.
    """
    return not asked.document_host


def _about(person: Subject, asked: AuthorizationRequest) -> str:
    place = destination_of(asked.redirect_uri).key
    return _digest(json.dumps([person.id, asked.key, place, *sorted(asked.scopes)]), 22)


def _mark(person: Subject) -> str:
    return _digest(person.id, 8)


def _digest(text: str, length: int) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest())[:length].decode()


def _approval_of(about: object, person: object, since: object, grant: object) -> Approval:
    texts = isinstance(about, str) and isinstance(person, str) and isinstance(grant, str)
    if not texts or type(since) is not int:
        raise TypeError
    return Approval(str(about), str(person), since, str(grant))
