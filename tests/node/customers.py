"""Customers who load a node and keep account of it: what they asked, and what they were answered.

    http   batches of pipelined lookups, some of them refused, over one connection each; the ids are kept
    udp    batches of binary datagrams over one socket each

An answer counts when it was read whole. What a broken connection or a lost datagram leaves behind was asked and not
answered: the node may have recorded it or not. Who stops waits for the answers to what is asked already.
"""

import abc
import contextlib
import itertools
import re
import socket
import struct
import threading
from collections.abc import Iterator

from tests.node.harness import Node

# Several a worker, so that each worker always serves some: the kernel spreads them over the workers.
HTTP_CUSTOMERS, UDP_CUSTOMERS = 12, 4
# Under the 64 that a worker answers in one turn; and what one socket is sent fits its buffer, so no datagram is lost.
BATCH = 32
# Between two batches: 16 customers ask at most some 5,000 times a second, and leave the machine to the node.
PAUSE_SECONDS = 0.1
# After so many batches a new connection: it may come to another worker.
BATCHES_A_CONNECTION = 20
# On a busy machine an answer takes a while; a lost one is given up after this time.
ANSWER_SECONDS = 20.0
# Until the next try when a connection broke or was refused.
RETRY_SECONDS = 0.02

_TARGETS = ("/price?asset=BTC", "/prices?assets=BTC,ETH", "/price?asset=NONE", "/nowhere")
_REQUESTS = b"".join(f"GET {target} HTTP/1.1\r\nHost: node\r\n\r\n".encode() for target in _TARGETS) * (
    BATCH // len(_TARGETS)
)
_HEAD = re.compile(rb"HTTP/1\.1 \d{3} .*?\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
_ID = re.compile(rb"\r\nX-Request-Id: ([0-9a-f]+)\r\n")

# A binary request for BTC and ETH, padded to the size of its reply (docs/protocol.md).
_DATAGRAM = struct.Struct("<4sBBBBQII16s16s12x")
_STATUS_AND_ID = struct.Struct("<5xBxxQ")


class Customer(threading.Thread, abc.ABC):
    """One connection after the other until told to stop."""

    def __init__(self, node: Node, pause_seconds: float) -> None:
        super().__init__(daemon=True)
        self._node, self._pause_seconds = node, pause_seconds
        self._stopping = threading.Event()
        self.asked = self.answered = self.broken = 0
        self.ids: list[int] = []

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.settimeout(ANSWER_SECONDS)
                    for _ in range(BATCHES_A_CONNECTION):
                        self._ask_batch(connection)
                        if self._stopping.wait(self._pause_seconds):
                            break
            except OSError:
                self.broken += 1
                self._stopping.wait(RETRY_SECONDS)

    def tell_to_stop(self) -> None:
        self._stopping.set()

    @abc.abstractmethod
    def _connect(self) -> socket.socket:
        """A connection to the node's lookups."""

    @abc.abstractmethod
    def _ask_batch(self, connection: socket.socket) -> None:
        """Ask BATCH lookups, and count what was asked and answered."""


class HttpCustomer(Customer):
    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._node.ports["TCP_PORT_LPO"]), ANSWER_SECONDS)

    def _ask_batch(self, connection: socket.socket) -> None:
        self.asked += BATCH
        connection.sendall(_REQUESTS)
        received, wanted = b"", self.answered + BATCH
        while self.answered < wanted:
            more = connection.recv(1 << 16)
            if not more:
                raise ConnectionResetError
            received = self._take_answers(received + more)

    def _take_answers(self, received: bytes) -> bytes:
        """Count the whole answers; what is left behind them."""
        at = 0
        while (head := _HEAD.match(received, at)) is not None:
            length, request_id = _LENGTH.search(head[0]), _ID.search(head[0])
            assert length is not None
            assert request_id is not None
            if len(received) < head.end() + int(length[1]):
                break
            self.ids.append(int(request_id[1], 16))
            self.answered += 1
            at = head.end() + int(length[1])
        return received[at:]


class UdpCustomer(Customer):
    _numbers = itertools.count(1)

    def _connect(self) -> socket.socket:
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.connect(("127.0.0.1", self._node.ports["UDP_PORT_LPO"]))
        return asker

    def _ask_batch(self, connection: socket.socket) -> None:
        waiting = set(itertools.islice(self._numbers, BATCH))
        for number in waiting:
            self.asked += 1
            connection.send(_DATAGRAM.pack(b"\xd7TRQ", 1, 0, 2, 0, number, 0, 0, b"BTC", b"ETH"))
        while waiting:
            status, number = _STATUS_AND_ID.unpack_from(connection.recv(2048))
            assert status == 0
            waiting.remove(number)
            self.answered += 1


class Crowd:
    """All customers of one node together."""

    def __init__(self, node: Node, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._all: list[Customer] = [HttpCustomer(node, pause_seconds) for _ in range(HTTP_CUSTOMERS)]
        self._all += [UdpCustomer(node, pause_seconds) for _ in range(UDP_CUSTOMERS)]

    @property
    def answers(self) -> int:
        return sum(customer.answered for customer in self._all)

    @property
    def unanswered(self) -> int:
        """Asked, and not answered; while the customers are at it also what is on its way."""
        return sum(customer.asked for customer in self._all) - self.answers

    @property
    def broken(self) -> int:
        """Connections that broke, were refused or lost an answer."""
        return sum(customer.broken for customer in self._all)

    @property
    def ids(self) -> list[int]:
        return [request_id for customer in self._all for request_id in customer.ids]

    def start(self) -> None:
        for customer in self._all:
            customer.start()

    def stop(self) -> int:
        """The answers of all, once nothing is on its way any more."""
        for customer in self._all:
            customer.tell_to_stop()
        for customer in self._all:
            customer.join(2 * ANSWER_SECONDS)
            assert not customer.is_alive()
        return self.answers


@contextlib.contextmanager
def crowd_of(node: Node, pause_seconds: float = PAUSE_SECONDS) -> Iterator[Crowd]:
    """Customers who are all being answered, and have stopped at the end."""
    crowd = Crowd(node, pause_seconds)
    crowd.start()
    try:
        node.wait("first answers", lambda: crowd.answers > BATCH * (HTTP_CUSTOMERS + UDP_CUSTOMERS))
        yield crowd
    finally:
        crowd.stop()
