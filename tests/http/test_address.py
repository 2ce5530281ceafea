"""The client's address: the peer's, or what trusted fronts say, and never what a client makes up."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.address import address_group, client_address

PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("values", "hops", "address"),
    [
        ([b"192.0.2.9"], 0, PEER),
        ([], 1, PEER),
        ([b"192.0.2.9"], 1, "192.0.2.9"),
        ([b"6.6.6.6, 192.0.2.9"], 1, "192.0.2.9"),
        ([b"6.6.6.6", b"192.0.2.9"], 1, "192.0.2.9"),
        ([b"6.6.6.6, 192.0.2.9, 10.9.9.9"], 2, "192.0.2.9"),
        ([b"6.6.6.6,192.0.2.9", b"10.9.9.9"], 2, "192.0.2.9"),
        ([b"6.6.6.6", b"192.0.2.9, 10.9.9.9"], 3, "6.6.6.6"),
        ([b"192.0.2.9"], 2, PEER),
        ([b"192.0.2.9, 10.9.9.9"], 3, PEER),
        ([b"\t 192.0.2.9 \t"], 1, "192.0.2.9"),
        ([b"192.0.2.9:50000"], 1, "192.0.2.9"),
        ([b"2001:DB8::1"], 1, "2001:db8::1"),
        ([b"[2001:db8::1]"], 1, "2001:db8::1"),
        ([b"[2001:db8::1]:50000"], 1, "2001:db8::1"),
        ([b"::ffff:192.0.2.9"], 1, "192.0.2.9"),
        ([b"unknown"], 1, PEER),
        ([b"192.0.2.9, "], 1, PEER),
        ([b"192.0.2.9, unknown"], 1, PEER),
        ([b"192.0.2.300"], 1, PEER),
        ([b"192.0.2"], 1, PEER),
        ([b"192.0.2.009"], 1, PEER),
        ([b"192.0.2.9:"], 1, PEER),
        ([b"192.0.2.9:x"], 1, PEER),
        ([b"[192.0.2.9"], 1, PEER),
        ([b"fe80::1%anything at all"], 1, PEER),
        ([b'"192.0.2.9"'], 1, PEER),
        ([b"192.0.2.9\xa0"], 1, PEER),
        ([b"\xb2.0.2.9"], 1, PEER),
        ([b"192.0.2.9\n"], 1, PEER),
        ([b"1" * 8000], 1, PEER),
    ],
)
def test_the_entry_of_the_first_trusted_front_counts(
    values: list[bytes], hops: int, address: str
) -> None:
    assert client_address(PEER, values, hops) == address


entries = st.lists(st.binary(max_size=20), max_size=5)


@given(entries, st.integers(0, 4))
def test_it_is_the_peer_or_an_ip_address_whatever_the_fields_hold(
    values: list[bytes], hops: int
) -> None:
    address = client_address("the peer", values, hops)
    assert address == "the peer" or str(ip_address(address)) == address


@given(entries, st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_nothing_a_client_sends_hides_what_the_front_has_seen(
    values: list[bytes], seen: object
) -> None:
    assert client_address(PEER, [*values, str(seen).encode()], 1) == str(seen)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_one_client_is_one_group(address: str, group: str) -> None:
    assert address_group(address) == group
