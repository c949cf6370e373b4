"""Connections over socket pairs, driven step by step without the loop around them."""

import select
import socket
from typing import Any

import numpy as np

from trinity.compiled import refer_to
from trinity.memory.answer_table import SLOT_WORDS
from trinity.memory.cell import publish
from trinity.native.addresses import address_words
from trinity.native.libc import EPOLLIN, EVENT_WORDS, event_bits, event_tag
from trinity.observe import metrics
from workers.request.http import connection as connections
from workers.request.http import slots

NOW = 10**18
PRICE = b"GET /price?asset=BTC HTTP/1.1\r\nHost: x\r\n\r\n"
ASSETS = b"GET /assets HTTP/1.1\r\nHost: x\r\n\r\n"


class Bench:
    """Two connections' worth of memory, also for one address, a good BTC, and the client ends of what was opened."""

    def __init__(self, private: Any, make_answer: Any, proxy_protocol: bool = False) -> None:
        record = make_answer("BTC", valid_until_ns=NOW * 2, received_at_ns=NOW)
        publish(private.words, 0, SLOT_WORDS, record.view(np.uint64))
        self.epoll = select.epoll()
        self.private, self.context, self.counters = private, private.context, private.counters
        self.at = slots.make_connections(self.epoll.fileno(), self.context, 2, proxy_protocol)
        self.at.state[slots.OF_ADDRESS_MAX] = 2
        self.clients: list[socket.socket] = []

    def open(self, peer: str = "203.0.113.9", now_ns: int = NOW) -> socket.socket:
        """A client whose other end was just accepted, from an IPv6 or mapped address."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(5)
        self.clients.append(theirs)
        self.at.sockaddr[0] = socket.AF_INET6
        self.at.sockaddr[1:3] = address_words(peer)
        connections.open_connection(refer_to(self.at), refer_to(self.context), self.counters, ours.detach(), now_ns)
        return theirs

    def serve(self, slot: int = 0, bits: int = EPOLLIN, now_ns: int = NOW) -> None:
        connections.serve_event(refer_to(self.at), refer_to(self.context), self.counters, slot, bits, now_ns)

    def serve_ready(self) -> int:
        """One turn of the ready list; how many were on it."""
        events = np.zeros(8 * EVENT_WORDS, dtype=np.uint32)
        count = slots.take_ready(refer_to(self.at), events, 0)
        for i in range(count):
            self.serve(event_tag(events, i), event_bits(events, i))
        return count

    def count(self, name: str, *labels: str) -> int:
        return int(self.counters[metrics.REQUEST.index(name, *labels)])

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for slot in range(2):
            slots.close_connection(self.at, slot)
        self.epoll.close()


def read_all(client: socket.socket) -> bytes:
    """Everything that is there now."""
    client.setblocking(False)
    received = b""
    try:
        while part := client.recv(1 << 20):
            received += part
    except BlockingIOError:
        pass
    return received
