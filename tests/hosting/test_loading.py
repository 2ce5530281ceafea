"""The import of a hosted server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gatehouse.hosting import loading

if TYPE_CHECKING:
    import pytest


def test_an_import_that_takes_long_is_told(
    monkeypatch: pytest.MonkeyPatch, access_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "SLOW_IMPORT_SECONDS", 0.01)
    with loading.told_if_slow("slow:mcp"):
        deadline = time.monotonic() + 10
        while not access_log.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "importing slow:mcp has not ended after 0.01 s" in access_log.text
