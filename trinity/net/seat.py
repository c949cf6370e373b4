"""A seat: one place at the node's ports, whose sockets stay open while the processes that serve them come and go.

Whoever serves first binds them, as it always did, and hands duplicates to the supervisor (SCM_RIGHTS, unix(7)), who
holds them and passes them on with the next fork. So what waits in them, connections that nobody has accepted yet and
datagrams that nobody has read, waits for the successor: closing a socket would reset the ones and lose the others, and
SO_REUSEPORT moves neither to another socket.

Rules: the seat's own process and the supervisor alone hold the sockets; every other child closes what it inherited. A
seat that nobody will have for a while is closed: then the kernel gives its share to the others. To stop listening while
the supervisor holds a duplicate takes shutdown(2); a process that is replaced only closes its own.
"""

import contextlib
import socket
from collections.abc import Callable

# Sockets of one seat: TCP and UDP.
_SOCKETS_MAX = 8

Sockets = tuple[socket.socket, ...]


class Seat:
    """One seat: in the supervisor, and as a child inherited it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._kept: Sockets = ()
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._receiver.setblocking(False)

    def take(self, bind: Callable[[], Sockets]) -> Sockets:
        """In the child that has it: the sockets, as who was here before left them, or new ones from `bind`."""
        if self._kept:
            return self._kept
        bound = bind()
        with contextlib.suppress(OSError):  # the supervisor is gone, and so is this process in a moment
            socket.send_fds(self._sender, [b"sockets"], [one.fileno() for one in bound])
        return bound

    def collect(self) -> None:
        """In the supervisor: hold what was handed over; before each fork of who is to sit here."""
        with contextlib.suppress(BlockingIOError):
            while True:
                _, fds, _, _ = socket.recv_fds(self._receiver, 16, _SOCKETS_MAX)
                self._let_go()
                self._kept = tuple(socket.socket(fileno=fd) for fd in fds)

    def close(self) -> None:
        """In the supervisor: nobody is here for a while. Who is next binds anew."""
        self.collect()
        self._let_go()

    def forget(self) -> None:
        """In a child that sits elsewhere."""
        self._let_go()
        self._receiver.close()
        self._sender.close()

    def _let_go(self) -> None:
        for one in self._kept:
            one.close()
        self._kept = ()


def sockets_of(seat: Seat | None, bind: Callable[[], Sockets]) -> Sockets:
    """The seat's sockets; those of a process without one are its own alone."""
    return bind() if seat is None else seat.take(bind)
