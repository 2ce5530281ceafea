"""The interface of a policy, which is one opinion on what a known principal may do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from gatehouse.http.fields import Headers
    from gatehouse.http.reply import Reply
    from gatehouse.http.request import Request
    from gatehouse.identity.principal import Principal

NOTHING: AbstractContextManager[None] = nullcontext()
"""The block around an exchange that needs none: there is nothing to enter."""


class Policy:
    """The gate asks each of its policies in turn. A policy overrides the hooks that it needs. Every call pays for each
    question, so those without an `objection` are not asked for one.

    A new one comes into the list in `gatehouse/assembly/policies.py`; the list may be empty.
    """

    judges_answers: ClassVar[bool] = False
    """True if it overrides `objection`."""

    def __init_subclass__(cls) -> None:
        cls.judges_answers = cls.objection is not Policy.objection

    async def refusal(self, request: Request, principal: Principal) -> Reply | None:
        """The reply that refuses the request, or None to let it in. No byte of the body has been read yet."""
        return None

    def during(self, request: Request) -> AbstractContextManager[None]:
        """A block around the whole exchange with the upstream, or NOTHING."""
        return NOTHING

    def must_see_head(self, request: Request) -> bool:
        """True if the head of the answer must be seen even if the client leaves before it comes."""
        return False

    async def objection(
        self, request: Request, principal: Principal, status: int, headers: Headers
    ) -> str:
        """Take note of the head of the upstream's answer. A text says, for the log, why the client must not get
        the answer; it completes «the upstream ...».
        """
        return ""
