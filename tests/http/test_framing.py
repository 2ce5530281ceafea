"""Whatever a request holds: it is judged, and what passes is well formed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.fields import CONTROL
from gatehouse.http.framing import METHODS, malformation
from gatehouse.settings.environment import Settings

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope


field_names = st.binary(max_size=20) | st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade", b"X_A"]
)

field_values = st.binary(max_size=20) | st.sampled_from(
    [b"gate.example", b"chunked", b"5", b"100-continue", b"websocket", b""]
)


@given(
    version=st.sampled_from(["1.0", "1.1"]) | st.text(max_size=4),
    method=st.sampled_from(sorted(METHODS)) | st.text(max_size=8),
    path=st.binary(max_size=40),
    query=st.binary(max_size=40),
    headers=st.lists(st.tuples(field_names, field_values), max_size=8),
)
def test_whatever_a_request_holds_it_is_judged_and_what_passes_is_well_formed(
    version: str, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    usual = Settings(_env_file=None).limits
    limits = usual._replace(target_bytes=60, header_fields=6, header_bytes=150)
    scope = cast(
        "HTTPScope",
        {
            "type": "http",
            "http_version": version,
            "method": method,
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        },
    )
    if reply := malformation(scope, limits):
        assert 400 <= reply.status < 600
        assert (b"Connection", b"close") in reply.headers
        return
    names = [name.lower() for name, _ in headers]
    assert version in {"1.0", "1.1"}
    assert method in METHODS
    assert len(path) + len(query) <= 60
    assert len(headers) <= 6
    assert b"#" not in query
    assert not [name for name in names if b"_" in name]
    assert not [value for _, value in headers if CONTROL.search(value)]
    assert not {b"content-length", b"transfer-encoding"} <= set(names)
