"""Nothing is delivered to an address that is no public host's, unless the operator opens it."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import ConfigError
from trinity.push.addresses import AllowList, why_refused

REFUSED = [
    ("0.0.0.0", "unspecified"), ("0.1.2.3", "this network"), ("10.0.0.1", "private"),
    ("100.64.0.1", "carrier"), ("100.127.255.255", "carrier"), ("100.100.100.200", "metadata"),
    ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"), ("169.254.169.254", "metadata"),
    ("169.254.1.1", "link-local"), ("168.63.129.16", "metadata"), ("172.16.0.1", "private"),
    ("172.31.255.255", "private"), ("192.0.0.8", "protocols"), ("192.0.0.192", "metadata"),
    ("192.0.2.1", "documentation"), ("192.88.99.1", "6to4"), ("192.168.255.255", "private"),
    ("198.18.0.1", "benchmarking"), ("198.19.255.255", "benchmarking"), ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"), ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"), ("255.255.255.255", "broadcast"),
    ("::", "unspecified"), ("::1", "loopback"), ("::7f00:1", "inside"), ("::127.0.0.1", "inside"),
    ("::ffff:127.0.0.1", "inside"), ("::ffff:8.8.8.8", "inside"), ("::ffff:0:8.8.8.8", "inside"),
    ("64:ff9b::8.8.8.8", "NAT64"), ("64:ff9b:1::a00:1", "NAT64"), ("100::1", "discard"), ("100:0:0:1::1", "discard"),
    ("2001::1", "Teredo"), ("2001:0:53aa:64c::1", "Teredo"), ("2001:2::1", "benchmarking"),
    ("2001:db8::1", "documentation"), ("2001:10::1", "protocols"), ("2001:20::1", "protocols"),
    ("2002:7f00:1::", "6to4"), ("2002:808:808::1", "6to4"), ("3fff::1", "documentation"),
    ("3fff:fff:ffff::1", "documentation"), ("3ffe::1", "reserved"), ("5f00::1", "segment routing"),
    ("fc00::1", "private"), ("fd00:ec2::254", "metadata"), ("fd20:ce::254", "metadata"), ("fd12::1", "private"),
    ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"), ("fec0::1", "site-local"), ("ff02::1", "multicast"),
    ("4000::1", "reserved"), ("2a00::5efe:a00:1", "ISATAP"), ("2a00::200:5efe:a00:1", "ISATAP"),
    ("2a00:1450::1%eth0", "reserved"),
    ("", "not an address"), ("localhost", "not an address"), ("0x7f000001", "not an address"),
    ("2130706433", "not an address"), ("127.1", "not an address"), ("0177.0.0.1", "not an address"),
    ("127.0.0.1 ", "not an address"), ("\uff11\uff12\uff17.0.0.1", "not an address"), ("[::1]", "not an address"),
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.88.98.1",
    "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:200::1",
    "2001:4860:4860::8888", "3fff:1000::1",
]  # fmt: skip


@pytest.mark.parametrize(("address", "what"), REFUSED)
def test_an_address_that_is_no_public_host_is_refused_with_its_reason(address: str, what: str) -> None:
    """Of both families, and whatever stands in for an address."""
    reason = why_refused(address)
    assert reason is not None
    assert what in reason


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address: str) -> None:
    """The neighbours of the refused networks as well."""
    assert why_refused(address) is None


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_that_python_calls_private(address: ipaddress.IPv4Address) -> None:
    """The registry of the standard library, as a foreign opinion; multicast it calls global."""
    if why_refused(address) is None:
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_passes_that_python_calls_private(address: ipaddress.IPv6Address) -> None:
    """Nor one that it finds an IPv4 address in."""
    if why_refused(address) is None:
        assert address.is_global
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_is_always_refused(address: ipaddress.IPv4Address) -> None:
    """Mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP."""
    low, colons = int(address), f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
    for text in (
        f"::ffff:{address}", f"::{address}", f"::ffff:0:{address}", f"64:ff9b::{address}", f"64:ff9b:1::{address}",
        f"2002:{colons}::1", f"2001:0:{colons}::1", f"2001::{low ^ 0xFFFFFFFF:08x}"[:-4] + ":1", f"2a00::5efe:{colons}",
    ):  # fmt: skip
        assert why_refused(text) is not None, text


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    """Whatever a resolver says, there is an answer and no exception."""
    reason = why_refused(text)
    assert reason is None or reason


def test_the_operator_opens_networks_addresses_and_hosts() -> None:
    """And nothing beside them."""
    allow = AllowList.parse(["10.1.0.0/16", " 127.0.0.1", "fd12::/16", "Hooks.Intern.", "db"])
    assert allow.why_refused("any.example", "10.1.2.3") is None
    assert allow.why_refused("127.0.0.1", "127.0.0.1") is None
    assert allow.why_refused("any.example", "fd12::1") is None
    assert allow.why_refused("hooks.intern", "192.168.0.1") is None
    assert allow.why_refused("any.example", "8.8.8.8") is None
    for host, address in (
        ("any.example", "10.2.0.1"), ("x.hooks.intern", "192.168.0.1"), ("any.example", "127.0.0.2"),
        ("any.example", "::ffff:10.1.2.3"), ("any.example", "nonsense"), ("hooks.example", "192.168.0.1"),
    ):  # fmt: skip
        assert allow.why_refused(host, address) is not None


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0", "2130706433", "a b", "", "*", "https://x", "10.0.0.0/33"])
def test_what_is_neither_network_nor_name_is_a_wrong_setting(entry: str) -> None:
    """The error names the setting and the entry."""
    with pytest.raises(ConfigError, match=re.escape(repr(entry))) as caught:
        AllowList.parse([entry])
    assert caught.value.key == "PUSH_ALLOWED_TARGETS"
