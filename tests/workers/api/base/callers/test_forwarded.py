"""Who calls, in Python as in the request workers."""

import ipaddress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.workers.request.test_forwarded import caller_of
from trinity.memory.block_table import BlockTable
from trinity.native.addresses import parse_address
from trinity.native.octets import octets_of
from workers.api.base.callers.forwarded import Callers, NetworkSet, address_of, network_of, parse_hop

PROXIES = ("10.0.0.0/8", "fd00::/8", "127.0.0.1")
CALLERS = Callers(PROXIES, BlockTable.private())

_HOPS = st.sampled_from(
    ["10.0.0.1", "10.9.9.9", "1.2.3.4", "1.2.3.4:5678", "[2001:db8::1]:443", "fd00::7", "::ffff:10.1.1.1", "unknown",
     "", "256.1.1.1", "[fd00::7]", "1.2.3.4:", "[1.2.3.4]", "01.2.3.4", "fe80::1%eth0", "1.2.3.4 5.6.7.8"]
)  # fmt: skip
_PARTS = st.text("0123456789abcdef.:[]%g ", max_size=24)


_LINES = st.lists(st.lists(_HOPS | _PARTS, min_size=1), max_size=3)


@given(st.sampled_from(["203.0.113.9", "10.0.0.1", "fd00::1"]), _LINES)
def test_the_caller_is_who_it_is_to_the_request_workers(peer: str, lines: list[list[str]]) -> None:
    """One rule, two languages: whatever the header holds, both name the same address."""
    texts = [" , ".join(line) for line in lines]
    headers = [(b"X-Forwarded-For", text.encode()) for text in texts]
    assert str(CALLERS.find(peer, headers)) == caller_of(peer, *texts, proxies=PROXIES)


@given(_PARTS | st.ip_addresses().map(str))
@example("::")
@example("1:2:3:4:5:6:1.2.3.4")
@example("1.2.3.4:99999")
@example("1.2.3.4:100000")
@example("[::1]x")
def test_an_entry_is_read_as_the_request_workers_read_it(text: str) -> None:
    """The same texts are addresses, and the same ones."""
    octets, text = np.zeros(16, dtype=np.uint8), text.strip()
    buffer = octets_of(text.encode() or b" ")
    good = parse_address(buffer, 0, len(text), octets, 0)
    expected = address_of(str(ipaddress.IPv6Address(octets.tobytes()))) if good else None
    assert parse_hop(text) == expected


@pytest.mark.parametrize(
    ("peer", "value", "scheme"),
    [("10.0.0.1", "https", "https"), ("10.0.0.1", "https, http", "http"), ("10.0.0.1", "", "http"),
     ("203.0.113.9", "https", "http")],
)  # fmt: skip
def test_only_a_trusted_proxy_says_that_the_connection_is_secure(peer: str, value: str, scheme: str) -> None:
    """And only its own word, the last one."""
    headers = [(b"x-forwarded-proto", value.encode())]
    assert CALLERS.scheme(peer, headers, "http") == scheme
    assert CALLERS.scheme(peer, headers, "ws") == ("wss" if scheme == "https" else "ws")


def test_a_mapped_address_is_the_ipv4_address() -> None:
    """A socket bound to `::` shows callers of IPv4 as ::ffff:a.b.c.d."""
    assert NetworkSet(["10.0.0.0/8"]).holds(address_of("::ffff:10.1.2.3"))
    assert not NetworkSet(["10.0.0.0/8", "fd00::/8"]).holds(address_of("::10.1.2.3"))
    assert [network_of(address_of(text)) for text in ("::ffff:10.1.2.3", "2001:db8::1:2:3:4")] == [
        "10.1.2.3", "2001:db8::/64",
    ]  # fmt: skip


def test_a_blocked_network_is_found_however_the_address_is_written() -> None:
    """The table of the request workers."""
    blocks = BlockTable.private()
    blocks.write([ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/64")])
    callers = Callers((), blocks)
    for text, blocked in (("192.0.2.9", True), ("::ffff:192.0.2.9", True), ("2001:db8::9", True), ("192.0.3.1", False)):
        assert callers.is_blocked(address_of(text)) is blocked
