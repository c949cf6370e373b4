"""workers/request/networks.py"""

import ipaddress
import socket
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.errors import ConfigError
from workers.request.networks import is_trusted, trusted_networks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def sockaddr(address: Address) -> np.ndarray:
    """The kernel's bytes for an address, at offset 3 of a buffer."""
    if address.version == 4:
        raw = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 4711) + address.packed + bytes(8)
    else:
        raw = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 4711, 0) + address.packed + bytes(4)
    return np.frombuffer(b"\x02\x02\x02" + raw, dtype=np.uint8).copy()


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
    assert is_trusted(networks, sockaddr(ipaddress.ip_address(address)), 3) is trusted


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
    networks = trusted_networks((str(known),))[2:]
    inside = ipaddress.ip_address(known[0] if address.version != known.version else address)
    assert is_trusted(networks, sockaddr(inside), 3) is (inside in known)


@pytest.mark.uncompiled
def test_an_address_of_another_family_is_not_trusted() -> None:
    """Not even when every network is."""
    networks = trusted_networks(("0.0.0.0/0", "::/0"))
    assert not is_trusted(networks, np.ones(128, dtype=np.uint8), 0)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "localhost", "", "1.2.3", "fd00::/129"])
def test_what_is_not_a_network_is_a_configuration_error(text: str) -> None:
    """The error names the setting and shows the value."""
    with pytest.raises(ConfigError) as caught:
        trusted_networks((text,))
    assert caught.value.key == "UDP_TRUSTED_NETWORKS"
    assert text in caught.value.reason
