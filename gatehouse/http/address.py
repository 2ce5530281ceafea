"""The client's address and scheme: the connection's, or those that the fronts in between report.

Each front appends the address of its own peer to X-Forwarded-For. The last entry therefore comes from
the last front, the one before it from the front before, and so on; a client may have made up all
entries before that of the first trusted front.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FORWARDED_FOR = b"x-forwarded-for"
FORWARDED_PROTO = b"x-forwarded-proto"

# Some fronts add the port: `192.0.2.1:50000`, `[2001:db8::1]:50000`.
_ENTRY = re.compile(
    r"\[(?P<six>[0-9a-f:.]+)\](?::[0-9]{1,5})?|(?P<four>[0-9.]+):[0-9]{1,5}|(?P<bare>[0-9a-f:.]+)",
    re.ASCII | re.IGNORECASE,
)


def client_address(peer: str, forwarded_for: Sequence[bytes], trusted_hops: int) -> str:
    """The client's address, where `trusted_hops` fronts stand between it and the socket's `peer`.

    Takes the values of all X-Forwarded-For fields. If there are fewer entries than fronts, or the one
    that counts is no IP address, the address is the peer's: then all who come that way are one client.
    """
    if trusted_hops < 1:
        return peer
    entries = b",".join(forwarded_for).split(b",")
    if len(entries) < trusted_hops:
        return peer
    entry = _ENTRY.fullmatch(entries[-trusted_hops].decode("latin-1").strip(" \t"))
    address = _parsed(entry["six"] or entry["four"] or entry["bare"]) if entry else None
    return peer if address is None else str(address)


def client_scheme(scheme: bytes, forwarded_proto: Sequence[bytes], trusted_hops: int) -> bytes:
    """The scheme that the client spoke, where `trusted_hops` fronts stand before a connection of `scheme`.

    Takes the values of all X-Forwarded-Proto fields. Some fronts append theirs, most replace what is there; the
    first of the last `trusted_hops` entries is that of the front that is nearest to the client.
    """
    if trusted_hops < 1 or not forwarded_proto:
        return scheme
    told = b",".join(forwarded_proto).lower().split(b",")[-trusted_hops:][0].strip(b" \t")
    return told if told in (b"http", b"https") else scheme


def address_group(address: str) -> str:
    """The addresses that count as one client's: an IPv6 address's /64, else the address itself.

    Text that is no address, as with a Unix socket, is returned as it is.
    """
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address that the text is; an IPv4-mapped IPv6 address is IPv4 (RFC 4291 section 2.5.5.2)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=64)  # called for each request's Host
def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`; False for any name other than localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


NEAR_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
"""The ends of names that mean no host on the internet: RFC 6761, 6762 and 8375, ICANN's `.internal`, and a habit."""


def is_nearby(host: str) -> bool:
    """True if `host` is this machine, or one of a private network: by its address, or by a name that only such have."""
    if is_loopback(host):
        return True
    try:
        return ip_address(host).is_private
    except ValueError:
        name = host.lower().removesuffix(".")
        return "." not in name or name.endswith(NEAR_NAMES)
