"""trinity/native/networks.py"""

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.errors import ConfigError
from trinity.native.addresses import address_words
from trinity.native.networks import is_inside, proxy_networks, trusted_networks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("128.0.0.1", False),
        ("::1", True),
        ("::2", False),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("192.168.1.7", True),
        ("192.168.1.8", False),
        ("fd00::12", True),
        ("fe80::12", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback_and_the_named_networks_are_trusted(address: str, trusted: bool) -> None:
    """Nobody else is, and an IPv4 address is the same on a dual-stack socket."""
    networks = trusted_networks(("10.0.0.0/8", "192.168.1.7", "fd00::/8"))
    assert is_inside(networks, address_words(address), 0) == trusted


@pytest.mark.uncompiled
@settings(max_examples=200)
@given(
    address=st.ip_addresses(),
    network=st.one_of(
        st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
    ),
)
def test_membership_is_what_the_standard_library_says(address: Address, network: tuple[Address, int]) -> None:
    """ipaddress is the oracle, for addresses of the network's own family."""
    known = ipaddress.ip_network(network, strict=False)
    networks = proxy_networks((str(known),))
    inside = ipaddress.ip_address(known[0] if address.version != known.version else address)
    assert is_inside(networks, address_words(str(inside)), 0) == (inside in known)


@pytest.mark.uncompiled
def test_nobody_is_in_no_network() -> None:
    """Without a configured proxy there is none: not even loopback is one."""
    assert not is_inside(proxy_networks(()), address_words("127.0.0.1"), 0)
    assert not is_inside(proxy_networks(()), np.zeros(2, dtype=np.uint64), 0)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "localhost", "", "1.2.3", "fd00::/129"])
def test_what_is_not_a_network_is_a_configuration_error(text: str) -> None:
    """The error names the setting and shows the value."""
    for setting, read in (("UDP_TRUSTED_NETWORKS", trusted_networks), ("TRUSTED_PROXIES", proxy_networks)):
        with pytest.raises(ConfigError) as caught:
            read((text,))
        assert caught.value.key == setting
        assert text in caught.value.reason
