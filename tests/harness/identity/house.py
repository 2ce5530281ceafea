"""A real gate that believes a scripted authorization server, and questions to it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.harness.answers import Answer
from tests.harness.house import House, open_house
from tests.harness.identity.authorization_server import AuthorizationServer
from tests.harness.program import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import pytest

PUBLIC = "https://gate.example"
POINTER = b"https://gate.example/.well-known/oauth-protected-resource/mcp"

BARE = b'Bearer realm="mcp"'
"""The challenge that says nothing of OAuth."""
SIGN_IN = BARE + b', resource_metadata="' + POINTER + b'", scope="mcp:read"'
INVALID = SIGN_IN + b', error="invalid_token"'

STATIC = "mcpgate_" + "Z" * 43
"""A value in the form of our own tokens that nobody has."""


@asynccontextmanager
async def believing(server: AuthorizationServer, **settings: Any) -> AsyncIterator[House]:
    """A gate with TOKEN that takes this server's access tokens, if they have the scope `mcp:read`."""
    given = {"public_url": PUBLIC, "auth_issuer": server.issuer, "auth_scopes": "mcp:read"}
    async with open_house(background=True, **{**given, **settings}) as house:
        yield house


async def ask(
    house: House,
    token: str | None = None,
    *fields: str,
    method: str = "POST",
    target: str = "/mcp",
    body: bytes = b"{}",
) -> Answer:
    """The answer to a request with this bearer, and these lines."""
    lines = [line.encode() for line in fields]
    if token is not None:
        lines.insert(0, f"Authorization: Bearer {token}".encode())
    body = body if method == "POST" else b""
    head, answered = await house.request(
        target.encode(), *lines, method=method.encode(), body=body, token=False
    )
    return Answer(head, answered)


def challenge_of(answer: Answer) -> bytes | None:
    return answer.head.get(b"WWW-Authenticate")


async def assert_static_works(house: House) -> None:
    """A static token is let in, whatever the authorization server does."""
    assert (await ask(house, TOKEN)).status == 200


async def until_known(house: House, token: str, seconds: float = 10.0) -> None:
    """Wait until the gate lets this token in."""
    with trio.fail_after(seconds):
        while (await ask(house, token)).status != 200:
            await trio.sleep(0.02)


@contextmanager
def as_if_later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """For the gate it is so many seconds later; tokens are made by the real time."""
    from gatehouse.identity.clock import Clock

    now = Clock.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "__call__", lambda clock: now(clock) + seconds)
        yield
