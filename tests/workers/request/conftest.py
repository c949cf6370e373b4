"""A node's shared memory with answers written by hand, and a real request worker forked over it."""

import hashlib
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.patience import PATIENCE
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.config import AccessSection, PortsSection, RequestSection
from trinity.limits import COUNTER_WORDS, PARKED_MAX, SPARE_ASSETS
from trinity.markets import Asset, AssetRules, Catalog, Market
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import ANSWER_DTYPE, ROW_WORDS, AnswerState
from trinity.memory.control import HEARTBEAT_NS
from trinity.memory.miss_queue import MissWakes
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.usage_ring import UsageRing
from trinity.process import AskerMemory, ProcessContext, WorkerMemory
from trinity.vocabulary import KeyState

HOST = "127.0.0.1"
OPEN_TO_ALL = AccessSection(auth="optional")
ASSETS = ("BTC", "ETH", "SOL", "DOGE")
EXCHANGES = ("kraken", "okx")
_RULES = AssetRules(max_age_ms=5000, min_sources=1, majority_window_bps=100, outlier_floor_bps=20, max_spread_bps=100)
CATALOG = Catalog(
    EXCHANGES,
    tuple(Asset(name, _RULES) for name in ASSETS),
    tuple(Market(exchange, name, "USD") for exchange in EXCHANGES for name in ASSETS),
)


def answer_of(asset: str, price: str = "71002.5", **fields: int) -> NDArray[np.void]:
    """One good ANSWER_DTYPE record as the consensus process would render it; `fields` replace its numbers."""
    now_ns = time.monotonic_ns()
    timestamp_ms = time.time_ns() // NS_PER_MS
    body = (
        f'{{"asset":"{asset}","price":{price},"currency":"USD","confidence":17.5,"sources":5,"rejected":1,'
        f'"source":"consensus","timestamp":{timestamp_ms},"newest_timestamp":{timestamp_ms},"status":"fresh"}}'
    ).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        f"Access-Control-Allow-Origin: *\r\nContent-Length: {len(body)}\r\n"
    ).encode()
    whole, _, decimals = price.partition(".")
    answer = np.zeros(1, dtype=ANSWER_DTYPE)
    numbers = {
        "state": AnswerState.GOOD,
        "valid_until_ns": now_ns + 3600 * NS_PER_SECOND,
        "received_at_ns": now_ns,
        "timestamp_ms": timestamp_ms,
        "price": int(whole + decimals),
        "scale": len(decimals),
        "confidence": 175,
        "confidence_milli_bps": 2465,
        "sources": 5,
        "rejected": 1,
        "has_last_good": 1,
    }
    for name, value in (numbers | fields).items():
        answer[name] = value
    for name, text in (("price_text", price.encode()), ("head", head), ("body", body)):
        answer[name][0, : len(text)] = np.frombuffer(text, dtype=np.uint8)
        answer[f"{name}_length"] = len(text)
    return answer


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Node:
    """Shared memory of a node without feeds, and its forked request workers; their records are kept in `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.access = AccessMemory.create(name.removeprefix("trinity-"), folder, 100, SystemClock())
        self.rings = tuple(UsageRing.open(folder / f"ring-{i}", i, 1 << 16, time.time_ns() // 10**9) for i in range(2))
        entries = tuple(ProcessEntry(f"worker-{index}", "worker") for index in range(2))
        self.memory = NodeMemory.create(Card(name.removeprefix("trinity-"), True, entries, CATALOG))
        self.answers, self.prices, self.control = self.memory.answers, self.memory.prices, self.memory.control
        self.ports = PortsSection(tcp_port_lpo=free_port(), udp_port_lpo=free_port(socket.SOCK_DGRAM))
        self.wakes = MissWakes.create(self.memory.misses.count)
        self.contexts: list[ProcessContext] = []
        self.processes: list[Any] = []

    def write(self, asset: str, answer: NDArray[np.void], exchange: int | None = None) -> None:
        self.answers.write(self.answers.row_of(ASSETS.index(asset), exchange), answer)

    def context(self, index: int) -> ProcessContext:
        return ProcessContext.of(self.memory, index, SystemClock(), os.eventfd(0, os.EFD_NONBLOCK))

    def asker(self, index: int) -> AskerMemory:
        """What worker `index` asks a resolver with, which is the test itself."""
        queue = self.memory.misses.queue(index)
        return AskerMemory(self.memory.assets, queue, self.wakes.resolver_fd, self.wakes.asker_fds[index])

    def start(
        self,
        index: int = 0,
        request: RequestSection | None = None,
        access: AccessSection = OPEN_TO_ALL,
        beyond_catalog: bool = False,
    ) -> None:
        """Fork worker `index` and wait for its first heartbeat."""
        from workers.request import loop

        context = self.context(index)
        memory = WorkerMemory(self.answers, self.access, self.rings[index], self.asker(index))
        fork = multiprocessing.get_context("fork")
        section = request or RequestSection(pin=False)
        arguments = (context, memory, self.ports, section, access, HOST, index)
        process = fork.Process(target=loop.run, args=arguments, kwargs={"beyond_catalog": beyond_catalog}, daemon=True)
        process.start()
        self.contexts.append(context)
        self.processes.append(process)
        wait_until(lambda: context.block.read(HEARTBEAT_NS) > 0, "the worker's first heartbeat")

    def counter(self, name: str, *labels: str) -> int:
        from trinity.observe import metrics

        return sum(context.block.read_counter(metrics.REQUEST.index(name, *labels)) for context in self.contexts)

    def records(self, index: int = 0) -> NDArray[np.void]:
        """All usage records of worker `index`."""
        ring = self.rings[index]
        return ring.read(ring.released, ring.capacity)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()
        self.memory.unlink()
        self.access.unlink()


def wait_until(condition: Any, what: str, seconds: float = 10.0) -> None:
    """Poll until the condition holds; fails naming what was awaited."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds * PATIENCE} s for {what}"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def warm() -> None:
    """The loop's machine code, compiled on two cores or loaded from the cache."""
    from workers.request import loop

    loop.warm_up()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose BTC, ETH and SOL are good and whose DOGE has never had a price; its workers end with the test."""
    made = Node(f"trinity-test-request-{os.getpid()}", tmp_path)
    for asset in ASSETS[:3]:
        made.write(asset, answer_of(asset))
    made.write("BTC", answer_of("BTC", "71000.25", sources=1), 0)
    made.write("BTC", answer_of("BTC", state=AnswerState.NOT_LISTED, has_last_good=0), 1)
    yield made
    made.stop()


@pytest.fixture
def worker(warm: None, node: Node) -> Node:
    """The node with one worker that answers."""
    node.start()
    return node


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Four assets on two exchanges."""
    return CATALOG


@pytest.fixture(scope="session")
def make_answer() -> Callable[..., NDArray[np.void]]:
    """`answer_of`, for tests that write answers of their own."""
    return answer_of


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


@pytest.fixture(name="free_port")
def free_port_fixture() -> Callable[..., int]:
    return free_port


class Private:
    """A context without a node: its answers, its tables of who may ask, its counters and its usage records."""

    def __init__(
        self, section: AccessSection = OPEN_TO_ALL, catalog: Catalog = CATALOG, asker: AskerMemory | None = None
    ) -> None:
        from workers.request.http.context import make_private_context

        columns = 1 + len(catalog.exchanges)
        self.words = np.zeros((len(catalog.assets) + SPARE_ASSETS) * columns * ROW_WORDS, dtype=np.uint64)
        self.counters = np.zeros(COUNTER_WORDS, dtype=np.uint64)
        self.access = AccessMemory.private(100)
        self.context = make_private_context(
            self.words, catalog, self.counters, section, self.access, asker, PARKED_MAX if asker else 0
        )
        self.ring = UsageRing(Path(), self.context.ledger.ring)

    def add_key(self, key_id: int, key: bytes, state: KeyState = KeyState.ACTIVE, **terms: int) -> None:
        """A key that the access process would have loaded; without limits unless `terms` says so."""
        free = {"rate": 0, "burst": 0, "monthly_quota": 0, "dry_run": False}
        self.access.keys.write(key_id, hashlib.sha256(key).digest(), state, **(free | terms))
        self.access.keys.mark_loaded()

    def record(self, now_ns: int = 0, done_ns: int = 0) -> np.void:
        """Publish the record of the answer that was just made, and read it back."""
        from workers.request import ledger

        assert ledger.record(self.context.ledger, self.context.caller, now_ns, done_ns)
        return self.ring.read(self.ring.written - 1, 1)[0]


@pytest.fixture(scope="session")
def make_private() -> type[Private]:
    """`Private`, for tests of a worker's parts."""
    return Private
