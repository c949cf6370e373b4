"""Requests that wait for an asset beyond the catalog, on real sockets; the test is the resolver."""

import json
import os
import socket
import time
from typing import Any

import pytest

from tests.workers.request.conftest import CATALOG, HOST, Node, answer_of, wait_until
from tests.workers.request.test_loop import connect, read_responses, request
from trinity.compiled import jit_enabled
from trinity.limits import PARKED_OF_CALLER_MAX
from trinity.memory.control import COMMAND, Command
from trinity.vocabulary import CODES

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="the loop exists only compiled")


class Resolver:
    """What the resolver does, by hand; each act also says that it is there."""

    def __init__(self, node: Node) -> None:
        self.node, self.table = node, node.memory.assets
        self.names: list[str] = []
        self.beat()

    def beat(self) -> None:
        self.table.beat(time.monotonic_ns())

    def wait_for(self, count: int) -> list[str]:
        """The names that were asked for since the start, at least so many."""
        os.set_blocking(self.node.wakes.resolver_fd, False)

        def asked() -> bool:
            self.beat()
            self.names += [miss.name for miss in self.node.memory.misses.take(0)]
            return len(self.names) >= count

        wait_until(asked, f"{count} names to be asked for")
        return self.names

    def resolve(self, *names: str) -> None:
        for name in names:
            cell = self.table.reserve(name, time.monotonic_ns())
            assert cell is not None
            row = self.node.answers.row_of(len(CATALOG.assets) + cell)
            self.node.answers.write(row, answer_of(name))
            self.table.answer(cell, time.monotonic_ns() + 60 * 10**9)
        self.wake()

    def refuse(self, name: str) -> None:
        self.table.refuse(name, CODES.index("unknown_asset"), time.monotonic_ns() + 60 * 10**9)
        self.wake()

    def wake(self) -> None:
        self.beat()
        os.eventfd_write(self.node.wakes.asker_fds[0], 1)


@pytest.fixture
def resolver(warm: None, node: Node) -> Resolver:
    made = Resolver(node)
    node.start(beyond_catalog=True)
    return made


def udp(node: Node) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect((HOST, node.ports.udp_port_lpo))
    made.settimeout(10)
    return made


def records(node: Node, count: int) -> Any:
    wait_until(lambda: len(node.records()) >= count, f"{count} usage records")
    return node.records()


def test_a_request_that_waits_holds_up_nobody(resolver: Resolver, node: Any) -> None:
    """Others are answered meanwhile, on the same worker; what is pipelined behind it keeps its order."""
    with connect(node) as waiting, connect(node) as other:
        waiting.sendall(request("/price?asset=BTC") + request("/price?asset=pepe") + request("/price?asset=ETH"))
        assert read_responses(waiting, 1)[0][1]["asset"] == "BTC"
        assert resolver.wait_for(1) == ["PEPE"]
        for asset in ("BTC", "ETH", "SOL") * 20:
            other.sendall(request(f"/price?asset={asset}"))
            assert read_responses(other, 1)[0][1]["asset"] == asset
        waiting.sendall(request("/price?asset=SOL"))
        resolver.resolve("PEPE")
        assert [body["asset"] for _, body in read_responses(waiting, 3)] == ["PEPE", "ETH", "SOL"]
        waiting.sendall(request("/price?asset=PEPE"))
        assert read_responses(waiting, 1)[0][0] == 200
    found = records(node, 65)
    assert [bytes(record["asset"]) for record in found].count(b"PEPE") == 2
    assert len({int(record["request_id"]) for record in found}) == len(found) == 65
    late = found[found["asset"] == b"PEPE"][0]
    assert late["latency_ns"] > found[found["asset"] == b"SOL"]["latency_ns"].min()


def test_datagrams_wait_and_go_back_to_their_senders(resolver: Resolver, node: Any) -> None:
    """Each to its own socket, when its name is decided; others overtake it."""
    with udp(node) as one, udp(node) as two, udp(node) as three:
        one.send(b"PEPE".ljust(600))
        two.send(b'{"assets":["BTC","NOPE"],"id":2}'.ljust(900))
        assert sorted(resolver.wait_for(2)) == ["NOPE", "PEPE"]
        three.send(b"BTC".ljust(600))
        assert json.loads(three.recv(4096))["asset"] == "BTC"
        resolver.refuse("NOPE")
        body = json.loads(two.recv(4096))
        assert (body["id"], [price["status"] for price in body["prices"]]) == (2, ["fresh", "unknown_asset"])
        resolver.resolve("PEPE")
        assert json.loads(one.recv(4096))["asset"] == "PEPE"
    assert len(records(node, 3)) == 3


def test_a_flood_of_unknown_names_never_delays_the_catalog(resolver: Resolver, node: Any) -> None:
    """While not one of them is decided, every lookup of the catalog is answered, before all of them."""
    with connect(node) as client, udp(node) as flood:
        waiting = [connect(node) for _ in range(PARKED_OF_CALLER_MAX)]
        for i, crowd in enumerate(waiting):
            crowd.sendall(request(f"/price?asset=NEW{i % 10}"))
        for i in range(500):
            flood.send(f"NEW{i % 10}".encode().ljust(600))
            client.sendall(request("/price?asset=BTC"))
            assert read_responses(client, 1)[0][1]["asset"] == "BTC"
        assert resolver.wait_for(10)
        flood.setblocking(False)
        replies = []
        while True:
            try:
                replies.append(flood.recv(4096))
            except BlockingIOError:
                break
        assert all(b"asset_resolving" in reply or b"miss_budget" in reply for reply in replies)
        resolver.resolve(*(f"NEW{i}" for i in range(10)))
        statuses = [read_responses(crowd, 1)[0][0] for crowd in waiting]
        assert set(statuses) <= {200, 429, 503}
        assert statuses.count(200) >= 10
        for crowd in waiting:
            crowd.close()


def test_nobody_waits_longer_than_the_deadline(resolver: Resolver, node: Any) -> None:
    """The answer then says that it is being looked for, over both protocols, and the connection stays."""
    with connect(node) as client, udp(node) as sender:
        client.sendall(request("/price?asset=PEPE") + request("/price?asset=BTC"))
        sender.send(b"PEPE".ljust(600))
        resolver.wait_for(2)
        (status, body), (_, btc) = read_responses(client, 2)
        assert (status, body["status"], btc["asset"]) == (503, "asset_resolving", "BTC")
        assert json.loads(sender.recv(4096))["status"] == "asset_resolving"


def test_who_leaves_answers_what_waits(resolver: Resolver, node: Any) -> None:
    """Told to drain, a worker answers every parked request before it ends."""
    with connect(node) as client, udp(node) as sender:
        client.sendall(request("/price?asset=PEPE"))
        sender.send(b"PEPE".ljust(600))
        resolver.wait_for(2)
        node.contexts[0].block.write(COMMAND, Command.DRAIN)
        os.eventfd_write(node.contexts[0].control_fd, 1)
        assert json.loads(sender.recv(4096))["status"] == "asset_resolving"
        assert read_responses(client, 1)[0][1]["status"] == "asset_resolving"
        assert client.recv(10) == b""
        node.processes[0].join(10)
    assert node.processes[0].exitcode == 0
    assert len(node.records()) == 2


def test_a_client_that_is_gone_leaves_nothing_behind(resolver: Resolver, node: Any) -> None:
    """No record, no answer to whoever has its slot next; one that only sends no more gets its answer."""
    gone, half = connect(node), connect(node)
    gone.sendall(request("/price?asset=PEPE"))
    half.sendall(request("/price?asset=PEPE"))
    resolver.wait_for(2)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    half.shutdown(socket.SHUT_WR)
    with connect(node) as client:
        client.sendall(request("/price?asset=BTC"))
        assert read_responses(client, 1)[0][1]["asset"] == "BTC"
        resolver.resolve("PEPE")
        assert read_responses(half, 1)[0][1]["asset"] == "PEPE"
        client.sendall(request("/price?asset=PEPE"))
        assert read_responses(client, 1)[0][1]["asset"] == "PEPE"
    half.close()
    assert len(records(node, 3)) == 3


def test_what_became_of_names_is_counted(resolver: Resolver, node: Any) -> None:
    """Of the catalog, in the table, asked for, and refused at once."""
    with connect(node) as client:
        client.sendall(request("/price?asset=PEPE"))
        resolver.wait_for(1)
        resolver.resolve("PEPE")
        resolver.refuse("NOPE")
        client.sendall(b"".join(request(f"/price?asset={asset}") for asset in ("BTC", "ETH", "PEPE", "NOPE")))
        assert [status for status, _ in read_responses(client, 5)] == [200, 200, 200, 200, 404]
        found = lambda: [node.counter("asset_lookups_total", of) for of in ("catalog", "table", "miss", "refused")]  # noqa: E731
        wait_until(lambda: found() == [2, 1, 1, 1], "the counters of a second")
