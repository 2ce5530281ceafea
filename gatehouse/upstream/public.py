"""Which addresses are public: the gate may be asked by a stranger to fetch something, and must not do so in its own network.

An address is judged where the connection is made, so that no second look-up of a name can lead elsewhere.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

CARRIES_IPV4 = (
    IPv6Network("::/96"),
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/32"),
    IPv6Network("2002::/16"),
)
"""Networks whose addresses hold one of IPv4, to which some network may lead them: the old compatible ones (RFC 4291 section
2.5.5.1), those of NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380), and 6to4 (RFC 3056). No server of today has one."""


def is_public(address: str) -> bool:
    """True for an address that is on the Internet for everybody; False for any text that is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_global(found)
    if found.ipv4_mapped is not None:
        return _is_global(found.ipv4_mapped)
    if found.scope_id is not None or found.is_site_local:
        return False
    return _is_global(found) and not any(found in network for network in CARRIES_IPV4)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)
