"""A target's addresses, every one of them checked: at its creation, at a test, and again at each dial.

Rules: whoever connects, connects to an address that this returned and to no name, so that a resolver that changes its
answer gains nothing. One address that must not be delivered to refuses the whole name: it would be the next dial's.
What is not a clear answer (none, an error, a family that is not IP, a time-out) is a refusal. Search domains are not
used: what a customer wrote is the whole name. Answers come through c-ares, which reads /etc/hosts, asks the system's
servers or those that were given, and keeps an answer for as long as its TTL says.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Protocol

import aiodns
import pycares

from trinity.errors import DeliveryError
from trinity.limits import RESOLVE_SECONDS, TARGET_ADDRESSES_MAX
from trinity.push.addresses import ALLOWED_TARGETS, AllowList
from trinity.push.targets import Target

# A question is asked twice within its time: a datagram may be lost.
_TRIES = 2


class NameResolver(Protocol):
    """Who knows a name's addresses; raises DeliveryError("resolve") when it does not know."""

    async def addresses_of(self, host: str) -> Sequence[str]: ...


class Resolver:
    """Asks the system's DNS servers, or the given ones (`address` or `address:port`); made inside the running loop."""

    def __init__(self, servers: Sequence[str] = (), seconds: float = RESOLVE_SECONDS) -> None:
        self._seconds = seconds
        flags = pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS
        self._dns = aiodns.DNSResolver(
            nameservers=list(servers) or None, flags=flags, timeout=seconds / _TRIES, tries=_TRIES
        )

    async def addresses_of(self, host: str) -> Sequence[str]:
        """Every IPv4 and IPv6 address of a name, in the order in which they should be tried (RFC 6724)."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._dns.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise DeliveryError("resolve", f"{host}: {error.args[-1]}") from None
        except TimeoutError:
            raise DeliveryError("resolve", f"{host}: no answer within {self._seconds:g} s") from None
        return [str(node.addr[0], "ascii", "replace") for node in found.nodes]

    async def close(self) -> None:
        """Ends the resolver's thread; questions that wait are answered with an error."""
        await self._dns.close()


async def check_target(target: Target, allow: AllowList, resolver: NameResolver) -> tuple[str, ...]:
    """The addresses to connect to, in order; DeliveryError "resolve" or "refused_address" says why there are none."""
    addresses = [target.host] if target.is_address else await resolver.addresses_of(target.host)
    if not addresses:
        raise DeliveryError("resolve", f"{target.host}: it has no address")
    for address in addresses:
        reason = allow.why_refused(target.host, address)
        if reason is not None:
            raise DeliveryError("refused_address", f"{reason}; only the operator's {ALLOWED_TARGETS} opens it")
    return tuple(addresses[:TARGET_ADDRESSES_MAX])


def check_target_once(target: Target, allow: AllowList, servers: Sequence[str] = ()) -> tuple[str, ...]:
    """As check_target, for a thread or a command that has no loop."""

    async def check() -> tuple[str, ...]:
        resolver = Resolver(servers)
        try:
            return await check_target(target, allow, resolver)
        finally:
            await resolver.close()

    return asyncio.run(check())
