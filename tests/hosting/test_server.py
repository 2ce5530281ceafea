"""The start of a hosted server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gatehouse.hosting import server

if TYPE_CHECKING:
    import pytest


def test_an_import_that_takes_long_is_told(
    monkeypatch: pytest.MonkeyPatch, access_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "SLOW_SECONDS", 0.01)
    with server.told_if_slow("slow:mcp"):
        deadline = time.monotonic() + 10
        while not access_log.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "importing slow:mcp has not ended after 0.01 s" in access_log.text
