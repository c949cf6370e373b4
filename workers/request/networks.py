"""Who may get a reply that is longer than its request: loopback and the networks that the operator trusts.

A UDP source address can be forged, so a service whose replies are longer than requests can be turned against a
third party. Rules: `trusted_networks` (Python, once a worker) turns CIDR texts into a table; `is_trusted` (compiled,
once a datagram) looks a socket address up in it. IPv4 is held as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2), so
that a dual-stack socket and an IPv4 socket give the same answer.
"""

import ipaddress
import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled_inline
from trinity.errors import ConfigError
from workers.request.octets import Octets, byte_at

LOOPBACK = ("127.0.0.0/8", "::1/128")
ADDRESS_BYTES = 16

_AF_INET = int(socket.AF_INET)
_AF_INET6 = int(socket.AF_INET6)
# sockaddr_in: family (2), port (2), address (4); sockaddr_in6: family (2), port (2), flow (4), address (16).
_IPV4_AT, _IPV4_BYTES = 4, 4
_IPV6_AT = 8
_MAPPED_PREFIX_BITS = 96


def trusted_networks(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Loopback and `texts` as a table uint8[networks, 2, 16]: address and mask.

    `10.0.0.0/8`, `192.168.1.7` and `fd00::/8` are networks; ConfigError("UDP_TRUSTED_NETWORKS") for anything else,
    also for an address with bits outside its mask.
    """
    table = np.zeros((len(LOOPBACK) + len(texts), 2, ADDRESS_BYTES), dtype=np.uint8)
    for i, text in enumerate((*LOOPBACK, *texts)):
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigError("UDP_TRUSTED_NETWORKS", str(error)) from None
        address, bits = network.network_address.packed, network.prefixlen
        if network.version == 4:
            address, bits = bytes(10) + b"\xff\xff" + address, bits + _MAPPED_PREFIX_BITS
        mask = ((1 << bits) - 1) << (8 * ADDRESS_BYTES - bits)
        table[i, 0] = np.frombuffer(address, dtype=np.uint8)
        table[i, 1] = np.frombuffer(mask.to_bytes(ADDRESS_BYTES, "big"), dtype=np.uint8)
    return table


@compiled_inline
def is_trusted(networks: NDArray[np.uint8], addresses: Octets, at: int) -> bool:
    """Whether the socket address at `addresses[at:]` (as the kernel writes it) lies in one of the networks."""
    family = byte_at(addresses, at) | byte_at(addresses, at + 1) << 8
    for n in range(networks.shape[0]):
        i = 0
        while i < ADDRESS_BYTES:
            byte = _mapped_byte(family, addresses, at, i)
            if byte < 0 or byte & np.int64(networks[n, 1, i]) != np.int64(networks[n, 0, i]):
                break
            i += 1
        if i == ADDRESS_BYTES:
            return True
    return False


@compiled_inline
def _mapped_byte(family: int, addresses: Octets, at: int, i: int) -> int:
    """Byte i of the address as IPv6, -1 for an address of another family."""
    if family == _AF_INET6:
        return byte_at(addresses, at + _IPV6_AT + i)
    if family != _AF_INET:
        return -1
    first = ADDRESS_BYTES - _IPV4_BYTES
    if i >= first:
        return byte_at(addresses, at + _IPV4_AT + i - first)
    return 0xFF if i >= first - 2 else 0
