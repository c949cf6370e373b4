"""Which addresses nothing is delivered to: everything that is not a public host, unless the operator says otherwise.

Rules: pure. A table of networks with their reasons, the special-purpose registries of IANA (RFC 6890 and later) and
what clouds answer their machines' secrets on. Of IPv6 only 2000::/3 is given out to hosts, so all else is refused
without being named. An IPv4 address inside an IPv6 one is refused whatever it is: a public receiver has its own, and
where the packet ends depends on a gateway that nobody here knows. What cannot be read as an address is refused.

Only an AllowList opens an address: a network of the operator's, or a host name that he vouches for whole.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from trinity.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ALLOWED_TARGETS = "PUSH_ALLOWED_TARGETS"
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")

# Network, and what it is; the first that fits names the reason, so narrow ones stand before wide ones.
_REFUSED: tuple[tuple[str, str], ...] = (
    ("169.254.169.254/32", "a cloud's metadata"),
    ("168.63.129.16/32", "a cloud's metadata"),  # Azure's, a public address by form
    ("100.100.100.200/32", "a cloud's metadata"),  # Alibaba's
    ("192.0.0.192/32", "a cloud's metadata"),  # Oracle's
    ("fd00:ec2::254/128", "a cloud's metadata"),  # Amazon's
    ("fd20:ce::254/128", "a cloud's metadata"),  # Google's
    ("0.0.0.0/32", "unspecified"),
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier's customers"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "kept for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "kept for protocols"),
    ("192.52.193.0/24", "kept for protocols"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "kept for protocols"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4 inside IPv6"),
    ("::ffff:0:0:0/96", "IPv4 inside IPv6"),
    ("::/96", "IPv4 inside IPv6"),
    ("64:ff9b::/96", "IPv4 inside IPv6 (NAT64)"),
    ("64:ff9b:1::/48", "IPv4 inside IPv6 (NAT64)"),
    ("100::/64", "discard-only"),
    ("100:0:0:1::/64", "discard-only"),
    ("2001::/32", "IPv4 inside IPv6 (Teredo)"),
    ("2001:2::/48", "benchmarking"),
    ("2001:db8::/32", "documentation"),
    ("2001::/23", "kept for protocols"),
    ("2002::/16", "IPv4 inside IPv6 (6to4)"),
    ("2620:4f:8000::/48", "kept for protocols"),
    ("3ffe::/16", "reserved"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_NETWORKS = tuple((ipaddress.ip_network(network), reason) for network, reason in _REFUSED)
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
# RFC 5214 6.1: an interface id of ISATAP is 0000:5efe or 0200:5efe and then an IPv4 address.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def why_refused(address: str | Address) -> str | None:
    """None for the address of a public host, else what it is, such as "127.0.0.1: loopback (127.0.0.0/8)"."""
    try:
        read = ipaddress.ip_address(address) if isinstance(address, str) else address
    except ValueError:
        return f"{address!r}: not an address"
    for network, reason in _NETWORKS:
        if read in network:
            return f"{read}: {reason} ({network})"
    if isinstance(read, ipaddress.IPv6Address):
        if read.scope_id is not None or read not in _GIVEN_OUT:
            return f"{read}: reserved"
        if int(read) >> 32 & 0xFFFF_FFFF in _ISATAP:
            return f"{read}: IPv4 inside IPv6 (ISATAP)"
    return None


class AllowList(NamedTuple):
    """What the operator lets customers reach although it is not public."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """From networks, addresses and host names; ConfigError names the entry that is none of them."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for entry in entries:
            text = entry.strip().lower().removesuffix(".")
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError as error:
                # A host name has a letter behind its last dot; what has none was meant as a network.
                if not text or set(text) - _NAME_LETTERS or not text.rpartition(".")[2].strip("0123456789"):
                    raise ConfigError(ALLOWED_TARGETS, f"{entry!r} is no network and no host name: {error}") from None
                hosts.add(text)
        return cls(tuple(networks), frozenset(hosts))

    def why_refused(self, host: str, address: str) -> str | None:
        """As the function of this name, but for what the operator has opened: this host, or this address."""
        reason = why_refused(address)
        if reason is None or host in self.hosts:
            return None
        try:
            read = ipaddress.ip_address(address)
        except ValueError:
            return reason
        return None if any(read in network for network in self.networks) else reason
