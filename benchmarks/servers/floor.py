"""The floor: servers that make only the system calls of an answer, compiled in the same way as the request workers.

    python -m benchmarks.servers.floor http PORT ANSWER_FILE      epoll_wait, recv, send of the file's bytes
    python -m benchmarks.servers.floor udp PORT ANSWER_FILE       epoll_wait, recvmmsg, sendmmsg of the file's bytes
    python -m benchmarks.servers.floor echo PORT                  epoll_wait, recvmmsg, sendmmsg of what was received

Rules: no parsing at all: one receive is one request. What a real server takes beyond this is its own work.
"""

import select
import socket
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import system
from benchmarks.generators.checks import Bytes
from trinity.compiled import compiled
from trinity.native import libc

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
    events = np.zeros(EVENTS_MAX * libc.EVENT_WORDS, dtype=np.uint32)
    request = np.empty(_REQUEST_BYTES_MAX, dtype=np.uint8)
    octets = np.frombuffer(answer, dtype=np.uint8)
    while True:
        _answer_streams(epoll.fileno(), listener.fileno(), events, request, octets)
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            epoll.register(connection.detach(), select.EPOLLIN)


@compiled
def _answer_streams(epoll_fd: int, listener_fd: int, events: NDArray[np.uint32], request: Bytes, answer: Bytes) -> None:
    """Until somebody wants to connect: accepting is rare and stays in Python."""
    accepting = False
    while not accepting:
        ready = libc.wait_events(epoll_fd, events, EVENTS_MAX, -1)
        for event in range(ready):
            fd = libc.event_tag(events, event)
            if fd == listener_fd:
                accepting = True
            elif libc.receive(fd, request, 0, request.size) > 0:
                libc.send(fd, answer, 0, answer.size)
            else:
                libc.close(fd)


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
    events = np.zeros(libc.EVENT_WORDS, dtype=np.uint32)
    buffers = received.iovecs[:, 0].copy()
    batch = (received.headers, received.iovecs, buffers)
    _answer_datagrams(epoll.fileno(), lane.fileno(), events, batch, octets, reply_bytes)


@compiled
def _answer_datagrams(
    epoll_fd: int,
    fd: int,
    events: NDArray[np.uint32],
    batch: tuple[libc.Words, libc.Words, libc.Words],
    answer: Bytes,
    reply_bytes: int,
) -> None:
    """One loop forever; an iovec points to the received bytes or, for the send, to the answer."""
    headers, iovecs, buffers = batch
    room = iovecs[0, 1]
    while True:
        libc.wait_events(epoll_fd, events, 1, -1)
        count = libc.receive_many(fd, headers, BATCH)
        for k in range(count):
            iovecs[k, 1] = np.uint64(libc.message_length(headers, k))
            if reply_bytes > 0:
                iovecs[k, 0] = np.uint64(answer.ctypes.data)
                iovecs[k, 1] = np.uint64(reply_bytes)
        if count > 0:
            libc.send_many(fd, headers, 0, count)
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
