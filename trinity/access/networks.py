"""Addresses and networks that are blocked, and those that never may be: pure, but for reading this machine's own.

Rules: one text, one network: IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) is IPv4, a single IPv6 address stands for its
/64, because that is what one customer has (RFC 6177), and no IPv6 network is narrower. Loopback, this machine's own
addresses and trusted proxies are protected: a network that holds one of them cannot be blocked. Whether two networks
overlap is asked on the 128-bit line, so that no way of writing an IPv4 address gets around it.
"""

import ipaddress
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trinity.errors import ConfigError, InputError
from trinity.limits import IPV6_PREFIX_BITS_MAX

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED_BITS = 96
MAPPED_BASE = 0xFFFF << 32
_LOOPBACK = ("127.0.0.0/8", "::1/128")

# Where Linux lists the addresses of this machine, all of its network name space.
_IPV4_ADDRESSES = Path("/proc/net/fib_trie")
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")


class Protected(NamedTuple):
    """A network that no block may touch, and why."""

    network: Network
    reason: str


def parse_network(text: str) -> Network:
    """The network that a block of `text` means; InputError names the field and what is wrong."""
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError:
        raise InputError("address", _wrong(text)) from None
    if "%" in text:
        raise InputError("address", f"{text!a} has a zone, which other machines do not know: leave out % and the rest")
    return normalised(network)


def normalised(network: Network) -> Network:
    """IPv4-mapped as IPv4, IPv6 no narrower than a /64."""
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= MAPPED_BITS:
            return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_BITS))
        if network.prefixlen > IPV6_PREFIX_BITS_MAX:
            return network.supernet(new_prefix=IPV6_PREFIX_BITS_MAX)
    return network


def range_of(network: Network) -> tuple[int, int]:
    """First and last address on the 128-bit line, IPv4 as ::ffff:a.b.c.d."""
    base = MAPPED_BASE if network.version == 4 else 0
    return base + int(network.network_address), base + int(network.broadcast_address)


def protected_networks(trusted_proxies: Sequence[str]) -> list[Protected]:
    """Loopback, the addresses that this machine has now, and the trusted proxies; ConfigError for a wrong proxy."""
    protected = [Protected(ipaddress.ip_network(text), "loopback") for text in _LOOPBACK]
    protected += [Protected(ipaddress.ip_network(address), "an address of this machine") for address in _own()]
    for text in trusted_proxies:
        try:
            protected.append(Protected(ipaddress.ip_network(text, strict=False), "a trusted proxy (TRUSTED_PROXIES)"))
        except ValueError as error:
            raise ConfigError("TRUSTED_PROXIES", str(error)) from None
    return protected


def find_protected(network: Network, protected: Iterable[Protected]) -> Protected | None:
    """The first protected network that a block of `network` would touch."""
    first, last = range_of(network)
    for entry in protected:
        other_first, other_last = range_of(entry.network)
        if first <= other_last and other_first <= last:
            return entry
    return None


def knows_own_addresses() -> bool:
    """Whether this machine says which IPv4 addresses it has: a sandbox may hide them."""
    return _IPV4_ADDRESSES.exists()


def _wrong(text: str) -> str:
    try:
        meant = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return f"{text!a} is not an address or network like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
    return f"{text!a} has bits behind its prefix: did you mean {meant}?"


def _own() -> set[str]:
    """Texts of the addresses of this machine's interfaces; empty where there is no /proc."""
    own: set[str] = set()
    if _IPV4_ADDRESSES.exists():
        own |= _ipv4_in(_IPV4_ADDRESSES.read_text())
    if _IPV6_ADDRESSES.exists():
        own |= _ipv6_in(_IPV6_ADDRESSES.read_text())
    return own


def _ipv4_in(fib_trie: str) -> set[str]:
    """The address of each `/32 host LOCAL`: the kernel prints it in the line above."""
    lines = fib_trie.splitlines()
    return {above.split()[-1] for above, line in itertools.pairwise(lines) if line.split() == ["/32", "host", "LOCAL"]}


def _ipv6_in(if_inet6: str) -> set[str]:
    """The addresses in the first column, 32 hexadecimal digits each."""
    return {str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in if_inet6.splitlines()}
