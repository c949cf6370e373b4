"""Batches of datagrams over real sockets, without the loop around them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trinity.compiled import jit_enabled, refer_to
from trinity.limits import DATAGRAMS_MAX
from trinity.memory.answer_table import SLOT_WORDS
from trinity.memory.cell import publish
from trinity.native.addresses import address_words
from trinity.native.networks import trusted_networks
from trinity.net.ports import bind_socket, is_any
from trinity.observe import metrics
from workers.request.udp import batch
from workers.request.udp.context import make_datagram_context

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

NOW = 10**18


class Post:
    """A bound server socket with its mailbox, and a client."""

    def __init__(self, private: Any, make_answer: Any) -> None:
        self.private = private
        publish(private.words, 0, SLOT_WORDS, make_answer("BTC", valid_until_ns=NOW * 2).view(np.uint64))
        self.mailbox = batch.make_mailbox(make_datagram_context(private.context), trusted_networks(()))
        self.counters = private.counters
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(self.server.getsockname())
        self.client.settimeout(5)

    def serve(self) -> None:
        batch.serve_datagrams(refer_to(self.mailbox), self.counters, self.server.fileno(), NOW)

    def count(self, name: str, *labels: str) -> int:
        return int(self.counters[metrics.REQUEST.index(name, *labels)])


@pytest.fixture
def post(warm: None, make_private: Any, make_answer: Any) -> Iterator[Post]:
    made = Post(make_private(), make_answer)
    yield made
    made.server.close()
    made.client.close()


def test_several_batches_are_answered_in_order(post: Post) -> None:
    """More datagrams than one system call takes are answered each, to their sender."""
    count = 2 * DATAGRAMS_MAX + 5
    for i in range(count):
        post.client.send(b'{"asset":"BTC","id":%d}' % i)
    post.serve()
    assert [json.loads(post.client.recv(4096))["id"] for _ in range(count)] == list(range(count))
    assert post.count("udp_datagrams_total", "answered") == count
    assert post.count("lookups_total") == count


def test_each_sender_gets_its_own_answer(post: Post) -> None:
    """Replies of one batch go to different addresses."""
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with other:
        other.connect(post.server.getsockname())
        other.settimeout(5)
        post.client.send(b"BTC")
        other.send(b"nope")
        post.client.send(b"btc")
        post.serve()
        assert json.loads(other.recv(4096))["error"]["code"] == "unknown_asset"
        assert [json.loads(post.client.recv(4096))["asset"] for _ in range(2)] == ["BTC", "BTC"]


def test_an_oversized_datagram_is_dropped_and_the_next_one_answered(post: Post) -> None:
    """What is longer than a request may be is no request, and costs nothing else."""
    post.client.send(b"B" * 5000)
    post.client.send(b"BTC")
    post.serve()
    assert json.loads(post.client.recv(4096))["status"] == "fresh"
    assert post.count("udp_datagrams_total", "dropped") == 1


def test_an_internal_error_costs_one_datagram(post: Post) -> None:
    """An index out of range is counted, its sender gets nothing, and the socket goes on being served."""
    broken = post.mailbox._replace(outbox=np.zeros(4, dtype=np.uint8))
    post.client.send(b"BTC")
    batch.serve_datagrams(refer_to(broken), post.counters, post.server.fileno(), NOW)
    assert post.count("internal_errors_total") == 1
    post.client.send(b"BTC")
    post.serve()
    assert json.loads(post.client.recv(4096))["asset"] == "BTC"


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.0.0.3"]),
        ("::", ["127.0.0.1", "127.0.0.2", "::1"]),
        ("127.0.0.2", ["127.0.0.2"]),
        ("::1", ["::1"]),
    ],
)
def test_a_reply_leaves_from_the_address_that_was_asked(post: Post, bound: str, asked: list[str]) -> None:
    """In one batch and in several: a connected socket takes no other address's word."""
    with bind_socket(bound, 0, socket.SOCK_DGRAM) as server:
        box = batch.make_mailbox(post.mailbox.context, post.mailbox.networks, is_any(server))
        port = server.getsockname()[1]
        clients = []
        for host in asked:
            client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(5)
            client.connect((host, port))
            clients.append(client)
        for turn in range(3):
            for number, client in enumerate(clients):
                client.send(b'{"asset":"BTC","id":%d}' % (10 * turn + number))
            batch.serve_datagrams(refer_to(box), post.counters, server.fileno(), NOW)
            for number, client in enumerate(clients):
                assert json.loads(client.recv(4096))["id"] == 10 * turn + number
        for client in clients:
            client.close()


def test_through_a_socket_of_both_families_an_ipv4_sender_is_that(post: Post) -> None:
    """What limits, blocks and usage records see is its IPv4 address."""
    with bind_socket("::", 0, socket.SOCK_DGRAM) as server:
        box = batch.make_mailbox(post.mailbox.context, post.mailbox.networks, is_any(server))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("127.0.0.7", 0))
            client.sendto(b"BTC", ("127.0.0.1", server.getsockname()[1]))
            batch.serve_datagrams(refer_to(box), post.counters, server.fileno(), NOW)
    record = post.private.ring.read(post.private.ring.written - 1, 1)[0]
    assert record["address"].tobytes() == address_words("127.0.0.7").tobytes()


def test_nobody_waiting_is_no_work(post: Post) -> None:
    """An empty socket changes nothing."""
    post.serve()
    assert post.counters.sum() == 0


def test_a_worker_keeps_its_queue_for_what_may_be_answered(post: Post) -> None:
    """Thousands of empty and oversized datagrams, more than the queue holds: the question among them is answered."""
    batch.prepare_queue(post.server)
    assert post.server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 200_000
    for _ in range(10_000):
        post.client.send(b"")
        post.client.send(bytes(3_000))
    post.client.send(b"BTC".ljust(512))
    post.serve()
    assert json.loads(post.client.recv(4096))["asset"] == "BTC"
    assert post.count("udp_datagrams_total", "dropped") == 0  # the loop adds what the kernel says, each second
