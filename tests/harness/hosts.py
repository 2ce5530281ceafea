"""Settings that say which hosts and origins may be named, and field names to try on them."""

from __future__ import annotations

from hypothesis import strategies as st

LOOPBACK = {"host": "127.0.0.1"}
PUBLIC = {"host": "0.0.0.0"}
SPACE = {"host": "0.0.0.0", "space_id": "u/s", "space_host": "u-s.hf.space,mcp.example"}
NAMED = {"host": "0.0.0.0", "allowed_hosts": "gate.example, [::2], OTHER.example"}
PAGES = {"host": "0.0.0.0", "allowed_origins": "https://app.example, http://dev.example:3000"}

CONFIGURATIONS = {
    "loopback": (LOOPBACK, b"127.0.0.1:7860"),
    "public": (PUBLIC, b"gate.example"),
    "Space": (SPACE, b"u-s.hf.space"),
    "named": (NAMED, b"gate.example"),
    "pages": (PAGES, b"gate.example"),
    "all": ({**NAMED, **PAGES, "host": "127.0.0.1"}, b"gate.example"),
}

bind_addresses = st.sampled_from(list(CONFIGURATIONS.values()))
