"""Who calls, and whether they are blocked: the peer of the connection, or whom the operator's own proxies name.

Rules: those of the request workers (workers/request/forwarded.py), in Python, because Granian has parsed the headers
already; a test holds both together. X-Forwarded-For is read from the right as long as the address so far is a trusted
proxy's, and an entry that is no address ends the walk. Of X-Forwarded-Proto only the last word of a trusted proxy
counts. IPv4-mapped IPv6 is IPv4 everywhere, so that it does not matter how the socket was bound.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence

import numpy as np

from trinity.access.networks import MAPPED_BASE, range_of
from trinity.limits import IPV6_PREFIX_BITS_MAX
from trinity.memory.block_table import BlockTable, is_blocked

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Headers = Iterable[tuple[bytes, bytes]]

_NOBODY = "0.0.0.0"  # of a call that came over no network
_ADDRESS_BYTES = 16
# An entry with a port; without one it is an address as it stands.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d{1,5})?|([0-9.]*):\d{1,5}", re.ASCII)
_SECURE = {"http": "https", "ws": "wss", "https": "https", "wss": "wss"}


def address_of(text: str) -> Address:
    """The address that a socket names; IPv4 also where it stands in IPv6."""
    address = ipaddress.ip_address(text or _NOBODY)
    return getattr(address, "ipv4_mapped", None) or address


def network_of(address: Address) -> str:
    """What one caller has, to count by: an IPv4 address, or the /64 of an IPv6 address (RFC 6177)."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS_MAX), strict=False))


class NetworkSet:
    """Networks of the configuration."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._ranges = [range_of(ipaddress.ip_network(text, strict=False)) for text in texts]

    def holds(self, address: Address) -> bool:
        """Whether the address lies in one of them."""
        number = _number_of(address)
        return any(first <= number <= last for first, last in self._ranges)


class Callers:
    """Finds who calls, by the trusted proxies, and whether the node's table blocks them."""

    def __init__(self, trusted_proxies: Sequence[str], blocks: BlockTable) -> None:
        self._proxies = NetworkSet(trusted_proxies)
        self._blocks = blocks
        self.is_blocked(address_of(_NOBODY))  # compiled, where it has to be, before anybody waits for it

    def find(self, peer: str, headers: Headers) -> Address:
        """The address of whoever calls."""
        address = address_of(peer)
        if not self._proxies.holds(address):
            return address
        for hop in reversed(_words(headers, b"x-forwarded-for")):
            named = parse_hop(hop)
            if named is None:
                break
            address = named
            if not self._proxies.holds(address):
                break
        return address

    def scheme(self, peer: str, headers: Headers, scheme: str) -> str:
        """`https` or `wss` where a trusted proxy says that its side of the connection is so."""
        if not self._proxies.holds(address_of(peer)):
            return scheme
        words = _words(headers, b"x-forwarded-proto")
        return _SECURE.get(scheme, scheme) if words and words[-1].lower() in ("https", "wss") else scheme

    def is_blocked(self, address: Address) -> bool:
        """Whether the operator blocked this address."""
        packed = _number_of(address).to_bytes(_ADDRESS_BYTES, "big")
        return bool(is_blocked(self._blocks.words, np.frombuffer(packed, dtype=np.uint64).copy()))


def parse_hop(text: str) -> Address | None:
    """`192.0.2.7`, `2001:db8::7`, `192.0.2.7:443` or `[2001:db8::7]:443`; None for all else."""
    found = _WITH_PORT.fullmatch(text)
    inside, before_port = found.groups() if found else (None, None)
    host = text if found is None else inside if inside is not None else before_port
    if host is None or "%" in host or (inside is not None and ":" not in inside):
        return None
    try:
        return address_of(host) if host else None
    except ValueError:
        return None


def _words(headers: Headers, name: bytes) -> list[str]:
    """All lines of a list header as one list (RFC 9110, 5.3)."""
    lines = [value.decode("latin-1") for header, value in headers if header.lower() == name]
    return [word.strip(" \t") for line in lines for word in line.split(",")]


def _number_of(address: Address) -> int:
    """On the 128-bit line, on which IPv4 is mapped."""
    return int(address) + (MAPPED_BASE if address.version == 4 else 0)
