"""A browser without a window, on its way through one sign-in at a provider that listens: from the gate, and back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from gatehouse.signin.cookies import Jar
from gatehouse.signin.provider import Provider
from gatehouse.signin.sealing import Sealer
from gatehouse.signin.sign_in import CALLBACK, HOME, SignIn
from gatehouse.upstream.asking import Asking
from tests.harness.identity import person
from tests.harness.request_of import request_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gatehouse.http.request import Request
    from gatehouse.signin.sign_in import Finished

ORIGIN = "https://gate.example"
SECRET = b"a secret of the tests, long enough"


def sign_in_at(
    issuer: str, client: tuple[str, str], scopes: Iterable[str] = ("profile", "email")
) -> SignIn:
    """Signing in at the provider of that issuer, where the gate is the client with that id and secret."""
    provider = Provider(Asking(), issuer, *client, scopes=scopes)
    return SignIn(provider, Sealer(SECRET, "login"), Jar(secure=True), origin=ORIGIN)


async def gone(sign_in: SignIn, to: str = HOME) -> Request:
    """The request with which the browser comes back, after a person has said yes at the provider."""
    begun = await sign_in.begin(to)
    there = await trio.to_thread.run_sync(
        lambda: person.sign_in(begun.location, until=f"{ORIGIN}{CALLBACK}")
    )
    came = urlsplit(there)
    cookie = begun.cookie[1].partition(b";")[0]
    target = f"{came.path}?{came.query}".encode()
    return request_of([(b"Cookie", cookie)], method="GET", target=target)


async def signed_in(sign_in: SignIn, to: str = HOME) -> Finished:
    """The person, all the way."""
    return await sign_in.finish(await gone(sign_in, to))
