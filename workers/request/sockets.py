"""What a request worker is given by the system before its loop begins: its CPU, its sockets, its signals."""

import ctypes
import errno
import os
import signal
import socket

from trinity.config import PortsSection
from trinity.errors import PortTakenError
from trinity.net.ports import bind_socket
from workers.request.udp.batch import prepare_queue

BACKLOG = 4096


def pin_to_cpu(worker: int) -> None:
    """Worker i runs on the i-th CPU that the node may use, so that no other CPU's cache has to be filled."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[worker % len(allowed)]})


def bind(name: str, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket that shares its port with the other workers, each with a queue of its own."""
    try:
        bound = bind_socket(host, port, kind, shared=True)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(name, host, port) from None
        raise
    if kind == socket.SOCK_STREAM:
        # Inherited by what is accepted: an answer must not wait for the acknowledgement of the one before.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        prepare_queue(bound)
    return bound


def bind_both(host: str, ports: PortsSection) -> tuple[socket.socket, socket.socket]:
    """TCP and UDP of one seat; PortTakenError."""
    tcp = bind("TCP_PORT_LPO", host, ports.tcp_port_lpo, socket.SOCK_STREAM)
    try:
        return tcp, bind("UDP_PORT_LPO", host, ports.udp_port_lpo, socket.SOCK_DGRAM)
    except BaseException:
        tcp.close()
        raise


def open_signal_fd() -> int:
    """Block SIGTERM and SIGINT and have them as a readable descriptor (signalfd(2); Python has no call for it)."""
    wanted = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    mask = (ctypes.c_uint64 * 16)()
    mask[0] = sum(1 << (number - 1) for number in wanted)
    fd: int = ctypes.CDLL(None, use_errno=True).signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "signalfd")
    return fd
