"""A new connection to a target: its name resolved, its addresses checked, one of them connected to, TLS made.

Rules: the addresses are resolved and checked anew at every dial (trinity/push/resolve.py), and what is connected to is
one of them, as a number: no library looks a name up once more. The name stays what TLS verifies and what SNI and Host
say. All of it goes through a lane (pace.py) and ends with the caller's deadline; whatever goes wrong is a
DeliveryError with the kind of the step that failed. Where this process is what a dial waited for, that is `busy`.
"""

import asyncio
import errno
import ssl
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM

import aiohappyeyeballs

from trinity.clock import Clock
from trinity.errors import DeliveryError
from trinity.limits import NEXT_ADDRESS_SECONDS
from trinity.net.egress import clean
from trinity.push.addresses import AllowList
from trinity.push.resolve import NameResolver, check_target
from trinity.push.targets import Target
from workers.push.https.http1 import Http1Talk
from workers.push.https.http2 import Http2Talk
from workers.push.https.pace import Lane
from workers.push.https.tls import HTTP2, SecureLine, TlsSessions

# A dial begins with this share of its time left, or not at all: one that ends unfinished has cost a handshake, and
# where more are wanted than can be made, all would.
_NEEDED_SHARE = 0.5
# What this machine has no more of: nothing is known of the receiver.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Dialler:
    """Makes connections; `resumed_total` counts those whose TLS session was known."""

    def __init__(self, resolver: NameResolver, allow: AllowList, tls: ssl.SSLContext, clock: Clock) -> None:
        self._resolver = resolver
        self._allow = allow
        self._tls = tls
        self._clock = clock
        self._sessions = TlsSessions()
        self._loop = asyncio.get_running_loop()
        self.resumed_total = 0

    async def dial(self, target: Target, lane: Lane, deadline_s: float) -> Http1Talk | Http2Talk:
        """A connection, before the loop's time is `deadline_s`; DeliveryError tells why there is none."""
        latest_s = deadline_s - (deadline_s - self._loop.time()) * _NEEDED_SHARE
        line: SecureLine | None = None
        is_begun = False
        try:
            async with asyncio.timeout_at(latest_s) as bound, lane.slot():
                bound.reschedule(deadline_s)
                is_begun = True
                addresses = await check_target(target, self._allow, self._resolver)
                line = await self._connect(target, addresses, lane)
                protocol = await line.opened
        except TimeoutError:
            if not is_begun or (line is not None and line.is_step_due):
                raise DeliveryError("busy", "too many other connections are being made") from None
            raise DeliveryError("timeout", "no connection in time") from None
        finally:
            if line is not None and (not line.opened.done() or line.opened.cancelled()):
                line.abort(DeliveryError("timeout", "TLS was not made in time"))
        self.resumed_total += line.is_resumed
        return (Http2Talk if protocol == HTTP2 else Http1Talk)(line, self._loop)

    async def _connect(self, target: Target, addresses: tuple[str, ...], lane: Lane) -> SecureLine:
        found = [_address_info(address, target.port) for address in addresses]
        try:
            socket = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
            )
        except OSError as error:
            raise _no_connection(error) from None
        key = (target.host, target.port)
        line = SecureLine(self._tls, key, self._sessions, lane, self._clock.monotonic_ns())
        try:
            await self._loop.create_connection(lambda: line, sock=socket)
        except OSError as error:
            raise _no_connection(error) from None
        except asyncio.CancelledError:
            line.abort(DeliveryError("timeout", "no connection in time"))
            socket.close()
            raise
        return line


def _no_connection(error: OSError) -> DeliveryError:
    return DeliveryError("busy" if error.errno in _OURS else "connect", clean(error.strerror or str(error)))


def _address_info(address: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    if ":" in address:
        return AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", (address, port, 0, 0)
    return AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (address, port)
