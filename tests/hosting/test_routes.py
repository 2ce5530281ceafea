"""Routes of a hosted server that the gate does not pass are told at the start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from gatehouse.hosting.routes import tell_hidden
from gatehouse.http.paths import ExposedPath, ExposedPaths

if TYPE_CHECKING:
    import pytest


def test_a_line_names_the_routes_that_get_404_and_how_they_would_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    paths = ["/mcp", "/webhook", "/webhook", "/files/{name}", "/status", "/health", "/{a}/é"]
    routes = [SimpleNamespace(path=path) for path in paths] + [SimpleNamespace()]
    exposed = ExposedPaths([ExposedPath(b"/files/*", True), ExposedPath(b"/status", False)])
    tell_hidden(routes, "/mcp/", exposed)
    (line,) = (entry.getMessage() for entry in caplog.records)
    assert "404 for them: /webhook, /{a}/é; EXPOSE_PATHS names" in line


def test_a_server_without_other_routes_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tell_hidden([SimpleNamespace(path="/mcp")], "/mcp", ExposedPaths([]))
    assert not caplog.records
