"""The floor: servers that make only the system calls of an answer, compiled in the same way as the request workers.

    python -m benchmarks.floor http PORT ANSWER_FILE      epoll_wait, recv, send of the file's bytes
    python -m benchmarks.floor udp PORT ANSWER_FILE       epoll_wait, recvmmsg, sendmmsg of the file's bytes
    python -m benchmarks.floor echo PORT                  epoll_wait, recvmmsg, sendmmsg of what was received

Rules: no parsing at all: one receive is one request. What a real server takes beyond this is its own work.
"""

import select
import socket
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import system
from benchmarks.checks import Bytes
from trinity.compiled import compiled_allocating

EVENTS_MAX = 256
BATCH = 64
# As the request workers ask for: 4,096 datagrams in flight fit.
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_REQUEST_BYTES_MAX = 8 * 1024


def serve_http(port: int, answer: bytes) -> None:
    """Answer every receive with `answer`; never returns."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    events = np.zeros(EVENTS_MAX * system.EVENT_WORDS32, dtype=np.uint32)
    octets = np.frombuffer(answer, dtype=np.uint8)
    while True:
        _answer_streams(epoll.fileno(), listener.fileno(), events, octets)
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            epoll.register(connection.detach(), select.EPOLLIN)


@compiled_allocating
def _answer_streams(epoll_fd: int, listener_fd: int, events: NDArray[np.uint32], answer: Bytes) -> None:
    """Until somebody wants to connect: accepting is rare and stays in Python."""
    request = np.empty(_REQUEST_BYTES_MAX, dtype=np.uint8)
    accepting = False
    while not accepting:
        ready = system.epoll_wait(epoll_fd, events.ctypes.data, EVENTS_MAX, -1)
        for event in range(ready):
            fd = np.int64(events[event * system.EVENT_WORDS32 + system.EVENT_FD_WORD32])
            if fd == listener_fd:
                accepting = True
            elif system.recv(fd, request.ctypes.data, request.size, system.MSG_DONTWAIT) > 0:
                system.send(fd, answer.ctypes.data, answer.size, system.MSG_NOSIGNAL)
            else:
                system.close(fd)


def serve_udp(port: int, answer: bytes) -> None:
    """Answer every datagram with `answer`, or with itself when that is empty; never returns."""
    lane = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lane.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    lane.bind(("127.0.0.1", port))
    lane.setblocking(False)
    epoll = select.epoll()
    epoll.register(lane.fileno(), select.EPOLLIN)
    received = system.Datagrams(BATCH, 2048, with_names=True)
    octets = np.frombuffer(answer or b"\0", dtype=np.uint8)
    reply_bytes = len(answer)
    _answer_datagrams(epoll.fileno(), lane.fileno(), received.headers, received.iovecs, octets, reply_bytes)


@compiled_allocating
def _answer_datagrams(
    epoll_fd: int,
    fd: int,
    headers: NDArray[np.uint64],
    iovecs: NDArray[np.uint64],
    answer: Bytes,
    reply_bytes: int,
) -> None:
    """One loop for ever; an iovec points to the received bytes or, for the send, to the answer."""
    events = np.zeros(system.EVENT_WORDS32, dtype=np.uint32)
    buffers = iovecs[:, 0].copy()
    room = iovecs[0, 1]
    while True:
        system.epoll_wait(epoll_fd, events.ctypes.data, 1, -1)
        count = system.recvmmsg(fd, headers.ctypes.data, BATCH, system.MSG_DONTWAIT, np.uintp(0))
        for k in range(count):
            iovecs[k, 1] = headers[k, system.LENGTH] & np.uint64(0xFFFFFFFF)
            if reply_bytes > 0:
                iovecs[k, 0] = np.uint64(answer.ctypes.data)
                iovecs[k, 1] = np.uint64(reply_bytes)
        if count > 0:
            system.sendmmsg(fd, headers.ctypes.data, count, system.MSG_DONTWAIT)
        for k in range(count):
            iovecs[k, 0] = buffers[k]
            iovecs[k, 1] = room


def main(arguments: list[str]) -> None:
    """Serve one kind until killed."""
    kind, port, *files = arguments
    answer = Path(files[0]).read_bytes() if files else b""
    {"http": serve_http, "udp": serve_udp, "echo": serve_udp}[kind](int(port), answer)


if __name__ == "__main__":
    main(sys.argv[1:])
