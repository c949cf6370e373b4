"""Sets of networks: who may get a reply that is longer than its request, and whose word about callers is believed.

A UDP source address can be forged, so a service whose replies are longer than requests can be turned against a
third party; so can X-Forwarded-For, so only the operator's own proxies are believed. Rules: a table is made once a
worker from CIDR texts (Python); `is_inside` (compiled) looks an address up in it, as addresses.py holds it: IPv4 as
IPv4-mapped IPv6, so that a dual-stack socket and an IPv4 socket give the same answer.
"""

import ipaddress
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled_inline
from trinity.errors import ConfigError
from trinity.memory.atomics import Words
from trinity.native.addresses import ADDRESS_BYTES

LOOPBACK = ("127.0.0.0/8", "::1/128")

# A row: two words of address, two of mask.
Networks = NDArray[np.uint64]
_MAPPED_PREFIX_BITS = 96


def trusted_networks(texts: Sequence[str]) -> Networks:
    """Loopback and `texts`: who may get longer replies. ConfigError("UDP_TRUSTED_NETWORKS") as `_make_networks`."""
    return _make_networks("UDP_TRUSTED_NETWORKS", (*LOOPBACK, *texts))


def proxy_networks(texts: Sequence[str]) -> Networks:
    """The operator's own proxies. ConfigError("TRUSTED_PROXIES") as `_make_networks`."""
    return _make_networks("TRUSTED_PROXIES", texts)


def _make_networks(setting: str, texts: Sequence[str]) -> Networks:
    """A table uint64[networks, 4].

    `10.0.0.0/8`, `192.168.1.7` and `fd00::/8` are networks; ConfigError for anything else, also for an address with
    bits outside its mask.
    """
    table = np.zeros((len(texts), 4), dtype=np.uint64)
    for i, text in enumerate(texts):
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ConfigError(setting, str(error)) from None
        address, bits = network.network_address.packed, network.prefixlen
        if network.version == 4:
            address, bits = bytes(10) + b"\xff\xff" + address, bits + _MAPPED_PREFIX_BITS
        mask = ((1 << bits) - 1) << (8 * ADDRESS_BYTES - bits)
        table[i] = np.frombuffer(address + mask.to_bytes(ADDRESS_BYTES, "big"), dtype=np.uint64)
    return table


@compiled_inline
def is_inside(networks: Networks, addresses: Words, at: int) -> bool:
    """Whether the address at word `at` lies in one of the networks."""
    high, low = addresses[at], addresses[at + 1]
    for n in range(networks.shape[0]):
        if high & networks[n, 2] == networks[n, 0] and low & networks[n, 3] == networks[n, 1]:
            return True
    return False
