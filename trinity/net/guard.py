"""Who may keep a connection of a server that cannot say so itself: found, judged, and shut from beside it.

aiohttp and granian accept whoever comes: neither has a bound for an address, nor a time limit for a first request
(granian looks for HTTP/2's preface without one), and at its own bound granian accepts nobody until somebody leaves.
So the process looks through its own descriptors, and whoever has to go gets shutdown(2), on a duplicate: the server
sees the end of that client and closes, so that no descriptor is ever closed behind its back.

Rules, those of the request workers (workers/request/http/room.py): a first request is due in HEAD_MAX_NS, the next one
in IDLE_MAX_NS; an address, of IPv6 a /64, has a bound of connections, and all together have one; at a bound whoever has
the smallest share of their time left gives way. A connection with a call in work never does, and counts for no bound:
calls have their own. A trusted proxy has no bound for itself. A look is bounded, because the event loop waits for it
and has to beat; what it leaves over is `is_behind`, and for the next one. It works without a free descriptor, too.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS, IPV6_PREFIX_BITS_MAX
from trinity.net.descriptors import Peer, peer_at, sockets

# Connections that one look meets, and shuts: some 25 us each, and the event loop has to beat.
_MET_MAX = 1_000
_SHUT_MAX = 1_000
# Descriptors kept back for a look at a process that has no other left: for the list, and for a duplicate.
_RESERVE = 3
# Of tcp_info (linux/tcp.h) for a listening socket: connections that nobody has accepted yet.
_QUEUED_AT = 24


class ConnectionBounds(NamedTuple):
    """Connections without a call in work: of all, and of one address."""

    most: int
    of_address: int


class Seen(NamedTuple):
    """A connection and when it was first seen."""

    peer: Peer
    network: str
    is_spared: bool  # has no bound for its address
    at_ns: int


class Idle(NamedTuple):
    """A connection without a call: since when, and whether it has ever brought a request."""

    inode: int
    seen: Seen
    since_ns: int
    has_asked: bool


def judge(idle: Sequence[Idle], bounds: ConnectionBounds, now_ns: int) -> set[int]:
    """The inodes of those that have to go. Pure."""

    def share_left(one: Idle) -> float:
        return 1 - (now_ns - one.since_ns) / (IDLE_MAX_NS if one.has_asked else HEAD_MAX_NS)

    going, staying = set(), 0
    by_network: dict[str, list[Idle]] = defaultdict(list)
    for one in sorted(idle, key=share_left, reverse=True):
        of_it = by_network[one.seen.network]
        has_room = len(of_it) < bounds.of_address or one.seen.is_spared
        if share_left(one) > 0 and has_room and staying < bounds.most:
            of_it.append(one)
            staying += 1
        else:
            going.add(one.inode)
    return going


class Guard:
    """The connections of this process's listeners. Not thread-safe: the event loop tells it of calls, and looks."""

    def __init__(self, bounds: ConnectionBounds, is_spared: Callable[[str], bool] = lambda _: False) -> None:
        self._bounds = bounds
        self._is_spared = is_spared
        self._calls: Counter[Peer] = Counter()
        self._asked_at_ns: dict[Peer, int] = {}
        self._sockets: dict[int, Seen | None] = {}  # by inode; None for what is no connection to a listener
        self._reserve: list[int] = []
        self.is_behind = False  # the last look left something over
        self._fill_reserve()

    @property
    def connections(self) -> int:
        """How many the last look found."""
        return sum(seen is not None for seen in self._sockets.values())

    @contextlib.contextmanager
    def call(self, peer: Peer, monotonic_ns: Callable[[], int]) -> Iterator[None]:
        """Around each call: while it lasts, its connection is in work."""
        self._calls[peer] += 1
        try:
            yield
        finally:
            self._asked_at_ns[peer] = monotonic_ns()
            self._calls[peer] -= 1
            if not self._calls[peer]:
                del self._calls[peer]

    def look(self, ports: Collection[int], now_ns: int) -> int:
        """Shut the connections to these ports that have to go; how many they are."""
        while self._reserve:
            os.close(self._reserve.pop())
        try:
            return self._look(ports, now_ns)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            self.is_behind = True  # those that were shut before are not closed yet
            return 0
        finally:
            self._fill_reserve()

    def _look(self, ports: Collection[int], now_ns: int) -> int:
        fds = {inode: fd for fd, inode in sockets()}
        known = {inode: self._sockets[inode] for inode in fds if inode in self._sockets}
        unmet = [inode for inode in fds if inode not in known]
        callers: dict[str, tuple[str, bool]] = {}  # of a flood all have one: looked up once
        for inode in unmet[:_MET_MAX]:
            known[inode] = self._meet(fds[inode], ports, now_ns, callers)
        self._sockets = known
        found = {inode: seen for inode, seen in known.items() if seen is not None}
        here = {seen.peer for seen in found.values()}
        self._asked_at_ns = {peer: at_ns for peer, at_ns in self._asked_at_ns.items() if peer in here}
        idle = []
        for inode, seen in found.items():
            if seen.peer not in self._calls:
                asked_at_ns = self._asked_at_ns.get(seen.peer)
                idle.append(Idle(inode, seen, asked_at_ns or seen.at_ns, asked_at_ns is not None))
        going = list(judge(idle, self._bounds, now_ns))
        for inode in going[:_SHUT_MAX]:
            _shut(fds[inode], inode)
        self.is_behind = len(unmet) > _MET_MAX or len(going) > _SHUT_MAX
        return min(len(going), _SHUT_MAX)

    def _meet(self, fd: int, ports: Collection[int], now_ns: int, callers: dict[str, tuple[str, bool]]) -> Seen | None:
        peer = peer_at(fd, ports)
        if peer is None:
            return None
        host = peer[0]
        if host not in callers:
            callers[host] = (network_of(host), self._is_spared(host))
        return Seen(peer, *callers[host], now_ns)

    def _fill_reserve(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._reserve) < _RESERVE:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def network_of(host: str) -> str:
    """What one caller has: an IPv4 address, also where it stands in IPv6, or the /64 of an IPv6 address (RFC 6177)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 4 or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS_MAX), strict=False))


def queued(listener: socket.socket) -> int:
    """Connections to a listening socket that nobody has accepted yet."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED_AT + 4)
    count: int = struct.unpack_from("=I", info, _QUEUED_AT)[0]
    return count


def _shut(fd: int, inode: int) -> None:
    """Shut the socket, if the descriptor still is that socket."""
    with contextlib.suppress(OSError):
        again = os.dup(fd)
        try:
            if os.fstat(again).st_ino == inode:
                with socket.socket(fileno=os.dup(again)) as going:
                    going.shutdown(socket.SHUT_RDWR)
        finally:
            os.close(again)
