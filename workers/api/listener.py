"""The reporting service's listeners: how its ports are bound, and granian on a socket of ours, with a guard.

Rules: sockets are bound here, whoever serves them (trinity/net/seat.py): what is accepted inherits their time-outs. To
leave a listener that another process goes on with is not granian's stop: that ends whoever is idle.
"""

import errno
import os
import socket
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from trinity.clock import NS_PER_SECOND
from trinity.errors import PortTakenError
from trinity.net.descriptors import descriptors_of
from trinity.net.guard import Guard, queued
from trinity.net.ports import bind_socket
from trinity.observe.metrics import REPORTER
from trinity.process import ProcessContext
from workers.api.base.context import ReportSettings
from workers.api.base.serving.direct import Duplicates
from workers.api.base.serving.door import GuardedApp

# Pending connections; granian's own default.
_BACKLOG = 1024
# Bytes of an answer that the kernel keeps beside those on their way: what a slow reader of a stream gets late.
_UNSENT_BYTES_MAX = 16 * 1024
# What granian keeps of a request's head, and of an answer whose reader takes nothing; unsaid it is 400 KB. Two hundred
# ids of Hermes in one request are 15 KB.
_BUFFER_BYTES_MAX = 32 * 1024
# Bytes that nobody acknowledges, or takes, for this long: the kernel gives the connection up.
_UNREAD_MAX_MS = 30_000
# The guard looks through all connections this often, and at each beat while others wait to come in or it is behind.
_LOOK_NS = NS_PER_SECOND
_WAITED = REPORTER.index("report_accept_wait_seconds")


def bind_tcp(settings: ReportSettings) -> socket.socket:
    """A port that all reporters share; PortTakenError with its name. Not listening yet."""
    try:
        bound = bind_socket(settings.bind_host, settings.tcp_port, socket.SOCK_STREAM, shared=True)
    except OSError as error:
        raise _bind_error(error, "TCP_PORT_LRS", settings.bind_host, settings.tcp_port) from None
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MAX_MS)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES_MAX)
    return bound


def bind_udp(settings: ReportSettings) -> socket.socket:
    """The same for datagrams."""
    try:
        return bind_socket(settings.bind_host, settings.udp_port, socket.SOCK_DGRAM, shared=True)
    except OSError as error:
        raise _bind_error(error, "UDP_PORT_LRS", settings.bind_host, settings.udp_port) from None


def _bind_error(error: OSError, name: str, host: str, port: int) -> OSError | PortTakenError:
    """What a failed bind is: a taken port, or a failure of the system, such as no descriptor left."""
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(name, host, port)
    return OSError(error.errno, f"{name}={port} on {host}: {error.strerror}")


class GuardedServer(Server):
    """Granian with a listening socket of our own making, whose connections inherit its time-out, and with a guard."""

    _shd: Any
    _sfd: Any

    def __init__(
        self, app: GuardedApp, guard: Guard, duplicates: Duplicates, connections: int, bound: socket.socket
    ) -> None:
        self._bound = bound
        host, port = bound.getsockname()[:2]
        self._guarded = app
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            backlog=_BACKLOG,
            backpressure=connections,
            http1_settings=HTTP1Settings(max_buffer_size=_BUFFER_BYTES_MAX),
            log_enabled=False,
        )
        self.guard = guard
        self._duplicates = duplicates
        self._listener: socket.socket | None = None
        self._look_at_ns = 0
        self._waiting_since_ns = 0

    def look(self, context: ProcessContext, now_ns: int) -> None:
        """Let those go whose time is up, at once where others wait to come in; and say how long they wait."""
        if self._listener is None:
            return
        waiting = queued(self._listener) > 0
        self._waiting_since_ns = (self._waiting_since_ns or now_ns) if waiting else 0
        context.block.set_gauge(_WAITED, (now_ns - self._waiting_since_ns) / NS_PER_SECOND if waiting else 0.0)
        if waiting or self.guard.is_behind or now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + _LOOK_NS
            self.guard.look({self._listener.getsockname()[1]}, now_ns)

    def leave(self) -> None:
        """Accept nobody any more, while others listen on the same socket; each answer is the last of its connection.

        Granian's own stop would end idle connections at once, and those whose request is on its way with them. So each
        of its descriptors of the listener becomes one that nobody connects to.
        """
        if self._listener is None:
            return
        inode = os.fstat(self._listener.fileno()).st_ino
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as nobody:
            nobody.bind("")  # a name that the kernel makes up (unix(7), autobind)
            nobody.listen()
            own = {self._listener.fileno()}
            for fd in set(descriptors_of(inode)) - own:
                os.dup2(nobody.fileno(), fd, inheritable=False)
        self._guarded.is_leaving = True

    def look_at_rest(self, now_ns: int) -> int:
        """How many connections are left."""
        if self._listener is None:
            return 0
        self.guard.look({self._listener.getsockname()[1]}, now_ns)
        return self.guard.connections

    def stop(self) -> None:
        """Accept nobody any more and end what is idle."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        super().stop()  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        bound = self._bound
        bound.listen(_BACKLOG)
        self._listener = bound.dup()
        self._duplicates.ports = (bound.getsockname()[1],)
        self._shd = SocketHolder(bound.detach(), False, _BACKLOG)  # type: ignore[call-arg]
        self._sfd = self._shd.get_fd()
