"""The import string of a hosted server, and what is meant by what is none."""

from __future__ import annotations

import pytest

from gatehouse.settings.import_string import check_import_string, guess


@pytest.mark.parametrize("text", ["", "mcp_app:mcp", "my_server.main:app_1", "_a._b:_c"])
def test_an_import_string_or_none_is_taken(text: str) -> None:
    assert check_import_string(text) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(
            (text, "my_server:mcp")
            for text in ("my_server", "my_server.py", "my_server:", "my-server")
        ),
        *((text, "my_server:mcp") for text in ("server/my_server.py", "./server/my_server.py:mcp")),
        *(
            (text, "my_server:mcp")
            for text in ("/home/me/my_server.py", "../my_server.py", "my_server.mcp")
        ),
        *(
            (text, "my_server:mcp")
            for text in ("'my_server:mcp'", "my_server: mcp", "my_server::mcp")
        ),
        *(
            (text, "my_server:mcp")
            for text in ("my_server:mcp()", "my_server:create()", "my-server:mcp")
        ),
        ("/app/server/my_server.py", "my_server:mcp"),
        ("server/server.py", "server:mcp"),
        ("server/pkg/main.py:app", "pkg.main:app"),
        ("server/pkg/main", "pkg.main:mcp"),
        ("pkg/main.py", "pkg.main:mcp"),
        ("my_server.py:server", "my_server:server"),
        ("my_server:server.app", "my_server:server"),
        ("pkg.my_server", "pkg.my_server:mcp"),
        ("pkg.my_server.app", "pkg.my_server:app"),
        ("pkg.:mcp", "pkg:mcp"),
        (":mcp", ""),
        ("7days:mcp", ""),
        ("https://example.com/mcp", ""),
        ("t0Ken" * 8, ""),
    ],
)
def test_the_refusal_says_what_was_probably_meant(text: str, meant: str) -> None:
    assert guess(text) == meant
    with pytest.raises(ValueError, match="must look like module:name") as refused:
        check_import_string(text)
    assert str(refused.value).endswith(
        f"; did you mean MCP_APP={meant}?" if meant else "at the upstream address"
    )
