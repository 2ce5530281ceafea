"""The registration endpoint (RFC 7591): a client says what it is, and gets an id. Nothing is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.apps.registrations import RegistrationError
from gatehouse.http.address import address_group
from gatehouse.http.asked import AskError
from gatehouse.http.reply import CLOSE_CONNECTION
from gatehouse.identity.rate import Rate
from gatehouse.pages.apps.answers import before, oauth_answer, oauth_error, too_many
from gatehouse.pages.dashboard.forms import BadFormError, read_body
from gatehouse.policy.counting import counts_in_memory
from gatehouse.upstream.asking import object_in

if TYPE_CHECKING:
    from gatehouse.apps.registrations import Registrations
    from gatehouse.downstream.exchange import Exchange
    from gatehouse.http.reply import Reply

MAX_BODY_BYTES = 16 * 1024
"""The largest registration. Those of known clients have less than one kilobyte."""

OF_ADDRESS = Rate(60, 60, 60)
"""How many registrations one address may have: they cost the gate nothing but a moment of its time."""

MAX_ADDRESSES = 4096
"""How many addresses have their registrations counted."""


class RegisterEndpoint:
    """The page."""

    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations
        self._counts = counts_in_memory(MAX_ADDRESSES)

    async def __call__(self, exchange: Exchange) -> Reply:
        if reply := before(exchange.request):
            return reply
        wait = self._counts.take(address_group(exchange.request.client), OF_ADDRESS)
        if wait is not None:
            return too_many(wait)
        try:
            kind = b",".join(exchange.request.values.get(b"content-type", ()))
            if kind.partition(b";")[0].strip().lower() != b"application/json":
                raise _not_json(415, ends=True)
            body = await read_body(exchange, MAX_BODY_BYTES)
            _, answer = self._registrations.register(object_in(body))
        except BadFormError as error:
            closing = [CLOSE_CONNECTION] if error.ends else []
            words = "The request must be a JSON object (application/json) of 16 KiB at most."
            return oauth_error(
                error.status, "invalid_client_metadata", words, *closing, reason=error.reason
            )
        except AskError:
            words = "The request is no JSON object that can be read in one way only."
            return oauth_error(400, "invalid_client_metadata", words, reason="registration")
        except RegistrationError as error:
            return oauth_error(400, error.error, error.words, reason="registration")
        return oauth_answer(201, answer)


def _not_json(status: int, *, ends: bool) -> BadFormError:
    return BadFormError("This is no JSON.", status=status, reason="registration", ends=ends)
