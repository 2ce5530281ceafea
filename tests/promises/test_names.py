"""Names of tools and others: the gate reads them as FastMCP and the MCP SDK do."""

from __future__ import annotations

from fastmcp.server.providers.addressing import parse_hashed_backend_name
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, encode_header_value

from gatehouse.http.mcp import UnclearCallError, decoded
from gatehouse.identity.grants import Grants
from gatehouse.policy.tools import granted


@given(st.from_regex("[0-9a-f]{11,13}_?.?", fullmatch=True) | st.text())
def test_the_tools_of_apps_are_told_as_fastmcp_tells_them(name: str) -> None:
    by_glob = granted(Grants(tools=("?*",)), "tools", name)
    assert by_glob == (bool(name) and parse_hashed_backend_name(name) is None)


@given(st.text())
def test_a_name_means_the_same_to_the_gate_and_to_the_server(name: str) -> None:
    value = encode_header_value(name.encode("utf-8", "replace").decode())
    assert decoded(value.encode()) == decode_header_value(value)


@given(st.binary() | st.binary().map(lambda data: b"=?base64?" + data + b"?="))
def test_no_value_means_one_thing_to_the_gate_and_another_to_the_server(value: bytes) -> None:
    try:
        name = decoded(value)
    except UnclearCallError:
        return
    assert name == decode_header_value(value.decode("latin-1"))
