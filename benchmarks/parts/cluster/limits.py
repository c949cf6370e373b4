"""A key's limit over three real nodes, counted from outside; and what the exchange costs, beside a Valkey of its own.

    jumping     three times the plan's rate, all of it at one node, a second later at the next: the most in any 10 s
    one node    all of it at one node: what it gave, of what the plan has for that time
    exchange    processor time of finding what moved among 100,000 and 1,000,000 keys, and of one key's exchange

Rules: clients are threads with one question at a time on kept connections; an answer counts at the moment that it was
read. Loopback only, bounded in time. A cluster that ends is a PeerError.
"""

import http
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.cluster.clients import HttpWay
from benchmarks.progress import Progress
from benchmarks.servers.local_cluster import MeasuredCluster
from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory import limit_shares
from trinity.memory.key_table import DIGEST_BYTES, KeyTable
from trinity.memory.limit_table import (
    ADMITTED,
    CEILING,
    ENTRY_WORDS,
    EXCHANGED_AT_NS,
    HEADER_WORDS,
    MOVED_AT,
    NODES,
    LimitTable,
)
from trinity.vocabulary import KeyState
from workers.cluster.limits.shares import Shares

RATE, BURST = 100, 100
LOAD = 3  # times the rate
WINDOW_SECONDS = 10.0
JUMP_SECONDS = 1.0
_CLIENTS = 6
# The plan gives this much over, and under, at the most.
OVER_MAX, UNDER_MAX = 0.05, 0.02
_TURNS = 50
_TURN_NS = 20_000_000


class _Crowd:
    """Clients who all ask the same node, at so many questions a second together."""

    def __init__(self, hosts: Sequence[str], key: str, clock: Clock) -> None:
        self._hosts, self._key, self._clock = hosts, key, clock
        self._at, self._ends = 0, threading.Event()
        self._lock = threading.Lock()
        self.admitted: list[float] = []
        self.refused = self.unanswered = 0
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(_CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def turn_to(self, node: int) -> None:
        self._at = node

    def stop(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self) -> None:
        ways = [HttpWay([host]) for host in self._hosts]
        pause_ns = int(NS_PER_SECOND * _CLIENTS / (RATE * LOAD))
        due_ns = self._clock.monotonic_ns()
        while not self._ends.is_set():
            reply = ways[self._at].ask("BTC", self._key)
            with self._lock:
                if reply is None:
                    self.unanswered += 1
                elif reply.status == http.HTTPStatus.OK:
                    self.admitted.append(self._clock.monotonic_ns() / NS_PER_SECOND)
                else:
                    self.refused += 1
            due_ns = max(due_ns + pause_ns, self._clock.monotonic_ns())
            self._clock.sleep_ns(max(0, due_ns - self._clock.monotonic_ns()))
        for way in ways:
            way.close()


def measure_limits(folder: Path, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Both loads over a cluster, so many seconds each; and the exchange's cost."""
    progress.step("the cost of the exchange")
    exchange = [_cost_of_exchange(keys) for keys in (100_000, 1_000_000)]
    progress.step("starting a cluster")
    cluster = MeasuredCluster(folder)
    try:
        cluster.wait_ready()
        jumping = _load(cluster, seconds, clock, JUMP_SECONDS)
        one = _load(cluster, seconds, clock, seconds)
    finally:
        cluster.stop()
    return {"rate": RATE, "burst": BURST, "seconds": seconds, "jumping": jumping, "one": one, "exchange": exchange}


def _load(cluster: MeasuredCluster, seconds: float, clock: Clock, stays_seconds: float) -> dict[str, Any]:
    _, key = cluster.make_key(rate_requests=RATE, burst=BURST)
    cluster.wait_known(key)
    clock.sleep_ns(int(2 * BURST / RATE * NS_PER_SECOND))  # what asking for it took is there again
    crowd = _Crowd([node.host for node in cluster.layout.answering], key, clock)
    began = clock.monotonic_ns() / NS_PER_SECOND
    crowd.start()
    node = 0
    while (at := clock.monotonic_ns() / NS_PER_SECOND - began) < seconds:
        node = int(at / stays_seconds) % len(cluster.layout.answering)
        crowd.turn_to(node)
        clock.sleep_ns(NS_PER_SECOND // 100)
    crowd.stop()
    return judge(sorted(crowd.admitted), began) | {"refused": crowd.refused, "unanswered": crowd.unanswered}


def judge(admitted: Sequence[float], began: float) -> dict[str, Any]:
    """The most in any window against the plan's, and all of it against what the plan has for the whole time."""
    times = np.array(admitted)
    in_window = np.arange(1, times.size + 1) - np.searchsorted(times, times - WINDOW_SECONDS, side="right")
    most, planned = int(in_window.max(initial=0)), WINDOW_SECONDS * RATE + BURST
    whole = (times[-1] - began) * RATE + BURST if times.size else 0.0
    return {
        "admitted": times.size,
        "most_in_10_s": most,
        "planned_in_10_s": planned,
        "over": round(most / planned - 1, 4),
        "planned": round(whole, 1),
        "under": round(1 - times.size / whole, 4) if whole else 1.0,
    }


def _cost_of_exchange(keys: int) -> dict[str, Any]:
    """Of one core: looking for what moved 50 times a second where nothing did; and a moved key's way to its ask."""
    limit_shares.warm_up()
    table, key_table = LimitTable.private(keys), KeyTable.private(keys)
    ids = np.arange(1, keys + 1)
    digests = np.random.default_rng(1).integers(0, 256, (keys, DIGEST_BYTES), dtype=np.uint8)
    terms = [np.full(keys, value) for value in (KeyState.ACTIVE, RATE, BURST, 0, 0, 0)]
    key_table.write_many(ids, digests, *terms)
    table.words[NODES], table.words[EXCHANGED_AT_NS] = 3, 1
    shares = Shares(key_table, table, 0)
    began = time.process_time_ns()
    for turn in range(_TURNS):
        shares.collect(turn * _TURN_NS, 3)
    idle_ns = (time.process_time_ns() - began) / _TURNS
    entries = table.words[HEADER_WORDS:].reshape(-1, ENTRY_WORDS)
    moved = np.random.default_rng(2).choice(ids, 1_000, replace=False)
    entries[moved, ADMITTED], entries[moved, CEILING] = 100, 100
    np.bitwise_or.at(table.words, MOVED_AT + (moved >> 6), np.uint64(1) << (moved & 63).astype(np.uint64))
    began = time.process_time_ns()
    asks = shares.collect(_TURNS * _TURN_NS, 3)
    asked_ns = (time.process_time_ns() - began) / max(len(asks), 1)
    began = time.process_time_ns()
    shares.take(asks, [[10, 10, 1_000_000, 1_000_000]] * len(asks), _TURNS * _TURN_NS)
    taken_ns = (time.process_time_ns() - began) / max(len(asks), 1)
    return {
        "keys": keys,
        "looking_us": round(idle_ns / 1_000, 1),
        "looking_share_of_a_core": round(idle_ns / _TURN_NS, 5),
        "asked_us_a_key": round(asked_ns / 1_000, 2),
        "taken_us_a_key": round(taken_ns / 1_000, 2),
    }
