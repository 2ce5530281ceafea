"""The callers of the upstream: what it is told of each, and what their requests may do there.

Every upstream that is told principals gets the name, which people read. A server that is hosted here also gets a
reference, `ID/GRANTS`, to a caller whose name is not its id: two people may have the same name, and two requests of
one person different grants. The reference is a header field, because background tasks keep nothing else. GRANTS is a
digest; what it stands for is kept here, and nobody but the gate can send the field.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gatehouse.http.forward import CALLER_HEADER, KIND_HEADER, PRINCIPAL_HEADER
from gatehouse.identity.principal import Principal, is_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.http.fields import Headers
    from gatehouse.identity.grants import Grants

MAX_CALLERS = 4096
"""How many callers are kept beside static tokens, those who asked last. One that is pushed out is a stranger to the
hosted server until its next request."""

MAX_GRANTS_PER_CALLER = 16
"""How many different grants of one caller are kept: each of its access tokens may have other scopes."""

LOOK_SECONDS = 1.0
"""How soon the hosted server learns that a caller has other grants, or is let in no more. A request shows it at once."""


@dataclass(slots=True)
class Known:
    """A caller with the grants of one kind of its requests; None if it is let in no more."""

    principal: Principal
    fields: Headers
    grants: Grants | None = None
    looked_at: float = 0.0


class Callers:
    """Tells of callers, and knows the grants behind that.

    `tokens` gives the grants of each static token by its name, and `still` those that another principal has now, or
    None if it would not be let in any more. With `names`, the upstream is told names; with `kinds`, of which kind each
    principal is; with `ids`, who it is.
    """

    def __init__(
        self,
        tokens: Callable[[], Mapping[str, Grants]],
        still: Callable[[Principal], Grants | None],
        *,
        names: bool,
        kinds: bool,
        ids: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = tokens
        self._still = still
        self._names, self._kinds, self._ids = names, kinds, ids
        self._clock = clock
        self._known: OrderedDict[str, OrderedDict[str, Known]] = OrderedDict()

    def fields(self, principal: Principal | None) -> Headers:
        """The header fields that tell the upstream who asks; none for a request that needs no token."""
        if principal is None or not self._names:
            return []
        if principal.id == principal.name:
            return self._named(principal)
        known = self._latest(principal.id)
        if known is None or known.principal is not principal:
            known = self._keep(principal)
        self._known.move_to_end(principal.id)
        known.grants, known.looked_at = principal.grants, self._clock()
        return known.fields

    def fields_of(self, caller: str) -> Headers:
        """The fields for a request of the gate's own on behalf of the caller of that id, which stands for its name if
        that is not known any more.
        """
        if known := self._latest(caller):
            return known.fields
        kind: Any = "token" if is_token(caller) else caller.partition(":")[0]
        return self.fields(Principal(caller, caller, kind=kind))

    def grants_of(self, reference: str) -> Grants | None:
        """The grants of a static token by its name, or of another caller by reference; None if nobody is known by it,
        or is let in any more.
        """
        if is_token(reference):
            return self.tokens().get(reference)
        caller, _, digest = reference.partition("/")
        known = kept.get(digest) if (kept := self._known.get(caller)) else None
        if known is None:
            return None
        now = self._clock()
        if now >= known.looked_at + LOOK_SECONDS:
            known.grants, known.looked_at = self._still(known.principal), now
        return known.grants

    def lives(self, caller: str) -> bool:
        """True if the static token of that name is in force, or the caller of that id is kept here."""
        return caller in (self.tokens() if is_token(caller) else self._known)

    def _named(self, principal: Principal) -> Headers:
        fields = [(PRINCIPAL_HEADER, principal.name.encode("ascii"))]
        if self._kinds:
            fields.append((KIND_HEADER, principal.kind.encode("ascii")))
        return fields

    def _latest(self, caller: str) -> Known | None:
        """The one by which the caller of that id has asked last."""
        known = self._known.get(caller)
        return next(reversed(known.values())) if known else None

    def _keep(self, principal: Principal) -> Known:
        fields, digest = self._named(principal), digest_of(principal.grants)
        if self._ids:
            fields.append((CALLER_HEADER, f"{principal.id}/{digest}".encode("ascii")))
        known = self._known.setdefault(principal.id, OrderedDict())
        known[digest] = Known(principal, fields)
        known.move_to_end(digest)
        if len(known) > MAX_GRANTS_PER_CALLER:
            known.popitem(last=False)
        if len(self._known) > MAX_CALLERS:
            self._known.popitem(last=False)
        return known[digest]


@lru_cache(1024)
def digest_of(grants: Grants) -> str:
    """The same text for the same grants, and for no others."""
    return sha256(repr(grants).encode()).hexdigest()[:32]
