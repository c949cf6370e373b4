"""trinity/access/networks.py"""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.access import networks
from trinity.access.networks import find_protected, parse_network, protected_networks, range_of
from trinity.errors import ConfigError, InputError

PARSED = [
    ("192.0.2.7", "192.0.2.7/32"),
    (" 192.0.2.0/24 ", "192.0.2.0/24"),
    ("::ffff:192.0.2.7", "192.0.2.7/32"),
    ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ("2001:db8::5", "2001:db8::/64"),
    ("2001:db8:0:0:8000::/65", "2001:db8::/64"),
    ("2001:DB8::/32", "2001:db8::/32"),
]
REFUSED = [
    "",
    "example.org",
    "192.0.2.7/33",
    "192.0.2.7/24",
    "1.2.3",
    "1.2.3.4.5",
    "٣.1.1.1",
    "fe80::1%eth0",
    "x" * 999,
]


@pytest.mark.parametrize(("text", "network"), PARSED)
def test_each_way_to_write_a_network_means_one_network(text: str, network: str) -> None:
    """Mapped addresses are IPv4, a single IPv6 address is its /64."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_network_is_refused_by_name(text: str) -> None:
    """The error names the field, and shows no control or foreign characters."""
    with pytest.raises(InputError) as caught:
        parse_network(text)
    assert caught.value.field == "address"
    assert str(caught.value).isascii()


def test_bits_behind_the_prefix_are_pointed_out() -> None:
    """A likely slip gets the likely meaning."""
    with pytest.raises(InputError, match=r"did you mean 192\.0\.2\.0/24"):
        parse_network("192.0.2.7/24")


@given(st.ip_addresses())
def test_every_address_lies_in_its_own_block(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Whatever is blocked by its address is covered by the block."""
    first, last = range_of(parse_network(str(address)))
    number = int(address) + (0xFFFF << 32 if address.version == 4 else 0)
    assert first <= number <= last


@given(st.text(max_size=50))
def test_any_text_is_a_network_or_a_typed_error(text: str) -> None:
    """No input crashes."""
    try:
        network = parse_network(text)
    except InputError:
        return
    assert parse_network(str(network)) == network


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0/0", "::1", "::/0", "::fffe:0:0/95", "::/64", "10.1.2.3", "10.1.0.0/16",
     "10.0.0.0/8", "2001:db8:5::9"],
)  # fmt: skip
def test_protected_networks_and_all_around_them_are_found(text: str) -> None:
    """Loopback and trusted proxies: themselves, what they hold, and what holds them, in every way of writing."""
    protected = protected_networks(["10.1.2.0/24", "2001:db8:5::1"])
    assert find_protected(parse_network(text), protected) is not None


def test_other_networks_are_free() -> None:
    """Neighbours of protected networks can be blocked."""
    protected = protected_networks(["198.51.100.0/25"])
    assert find_protected(parse_network("198.51.100.128/25"), protected) is None
    assert find_protected(parse_network("2001:db8::/32"), protected) is None


def test_the_addresses_of_this_machine_are_protected() -> None:
    """The address from which this machine would send is one of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.2", 9))
        own = probe.getsockname()[0]
    found = find_protected(parse_network(own), protected_networks([]))
    assert found is not None
    assert "127.0.0.1" in networks._own()


def test_the_kernels_lists_are_read() -> None:
    """Local addresses only, of both families; broadcast and networks are none."""
    rows = (
        "|-- 192.0.2.0",
        "/24 link UNICAST",
        "|-- 192.0.2.2",
        "/32 host LOCAL",
        "|-- 192.0.2.255",
        "/32 link BROADCAST",
    )
    trie = "\n".join(rows)
    assert networks._ipv4_in(trie) == {"192.0.2.2"}
    assert networks._ipv6_in("fd000000000000000000000000000002 04 40 00 82     eth0\n") == {"fd00::2"}


def test_a_wrong_trusted_proxy_is_a_wrong_setting() -> None:
    """It is named as the operator wrote it."""
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        protected_networks(["nonsense"])
