"""Errors of a hosted server stay within their request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

from gatehouse.hosting import contained

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(("error", "lines"), [(ClientDisconnect, 0), (ValueError, 1)])
async def test_a_client_that_leaves_in_its_body_is_no_failure_of_the_server(
    error: Callable[[], Exception], lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[object, ...]] = []
    monkeypatch.setattr(contained.logger, "error", lambda *words: logged.append(words))
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp"}
    await contained.Containment().asgi(app)(scope, None, send)
    assert len(logged) == lines
    assert sent[0]["status"] == 500
