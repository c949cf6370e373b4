"""Several nodes, one key, one Valkey, in virtual time: what the nodes admit together when everything may go wrong.

The nodes' code is the real one: the limit table, and what the exchange collects and makes of the answers. The network
between them delays and loses asks and answers, Valkey is away for a time, or begins anew and empty.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from tests.simulation.share_law import KeyState, answer
from trinity.memory.gcra import FOUND_WORDS, interval_of
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import EXCHANGED_AT_NS, NODES, LimitTable, consume_key_rate
from trinity.vocabulary import KeyState as State
from workers.cluster.limits.shares import LEASE_NS, Ask, Shares

MS, SECOND = 1_000_000, 1_000_000_000
EXCHANGE_NS, WINDOW_NS = 20 * MS, 10 * SECOND
KEY = 1


@dataclass(frozen=True)
class Network:
    """What happens to each ask and each answer."""

    delay_ms: tuple[float, float] = (0.2, 2.0)
    lost: float = 0.0


class SimulatedNode:
    """A node with its clock, its table and its exchange."""

    def __init__(self, name: str, nodes: int, rate: int, burst: int, start_ns: int) -> None:
        self.name, self.clock_offset_ns = name, start_ns
        self.keys, self.limits = KeyTable.private(KEY), LimitTable.private(KEY)
        self.plan(rate, burst)
        self.limits.words[NODES] = nodes
        self.shares = Shares(self.keys, self.limits, start_ns)
        self.waits_for: int | None = None  # the number of the exchange that is on its way
        self.answered_at_ns = start_ns
        self.found = np.zeros(FOUND_WORDS, dtype=np.int64)

    def plan(self, rate: int, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.keys.write(KEY, bytes(32), State.ACTIVE, rate, burst, 0, dry_run=False)

    def ask(self, now_ns: int) -> bool:
        now_ns += self.clock_offset_ns
        return bool(consume_key_rate(self.limits.words, KEY, now_ns, self.rate, self.burst, self.found))


@dataclass
class World:
    """Nodes around one Valkey."""

    rate: int
    burst: int
    nodes: int = 3
    seed: int = 0
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now_ns = 0
        self.admitted_at_ns: list[int] = []
        self.alone, self.found = LimitTable.private(KEY), np.zeros(FOUND_WORDS, dtype=np.int64)
        self.admitted_alone = 0  # by one node that sees every request
        self.asked = 0
        self.state: KeyState | None = None
        self.state_ends_at_us = 0.0
        self.is_valkey_up = True
        self.exchanges = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self.members = [
            SimulatedNode(f"n{i}", self.nodes, self.rate, self.burst, self.random.randrange(10**6) * SECOND)
            for i in range(self.nodes)
        ]
        for node in self.members:
            self.at(self.random.randrange(EXCHANGE_NS), self._exchange(node))

    def at(self, at_ns: int, what: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (at_ns, self._numbers, what))

    def run(self, until_ns: int) -> None:
        while self._events and self._events[0][0] <= until_ns:
            self.now_ns, _, what = heapq.heappop(self._events)
            what()
        self.now_ns = until_ns

    def load(self, node: int, per_second: float, from_ns: int, seconds: float) -> None:
        """Requests at about even distances, as many clients make them."""
        count = int(per_second * seconds)
        for i in range(count):
            at_ns = from_ns + int((i + self.random.random()) * SECOND / per_second)
            self.at(at_ns, lambda: self.request(node))

    def request(self, node: int) -> None:
        self.asked += 1
        self.admitted_alone += bool(
            consume_key_rate(self.alone.words, KEY, self.now_ns + SECOND, self.rate, self.burst, self.found)
        )
        if self.members[node].ask(self.now_ns):
            self.admitted_at_ns.append(self.now_ns)

    def empty_valkey(self) -> None:
        self.state = None

    # --- the exchange ---------------------------------------------------------------------------------------------

    def _exchange(self, node: SimulatedNode) -> Callable[[], None]:
        def turn() -> None:
            self.at(self.now_ns + EXCHANGE_NS, turn)
            local_ns = self.now_ns + node.clock_offset_ns
            if node.waits_for is not None:
                return
            if local_ns - node.answered_at_ns > LEASE_NS:
                node.shares.expire(self.nodes)
            asks = node.shares.collect(local_ns, self.nodes)
            self.exchanges += bool(asks)
            self._numbers += 1
            number = node.waits_for = self._numbers
            self.at(self.now_ns + 100 * MS, lambda: self._give_up(node, number, asks))
            if self.random.random() >= self.network.lost:
                self.at(self._later(), lambda: self._arrive(node, number, asks, local_ns))

        return turn

    def _later(self) -> int:
        return self.now_ns + int(self.random.uniform(*self.network.delay_ms) * MS)

    def _arrive(self, node: SimulatedNode, number: int, asks: list[Ask], asked_at_ns: int) -> None:
        if not self.is_valkey_up:
            return
        now_us = 1_700_000_000_000_000 + self.now_ns // 1_000
        replies: list[Any] = []
        for ask in asks:
            if self.state is not None and now_us >= self.state_ends_at_us:
                self.state = None
            self.state, reply = answer(self.state, ask.arguments(node.name), now_us)
            self.state_ends_at_us = self.state.ends_at_us(now_us)
            replies.append(reply)
        if self.random.random() >= self.network.lost:
            self.at(self._later(), lambda: self._answer(node, number, asks, replies, asked_at_ns))

    def _answer(self, node: SimulatedNode, number: int, asks: list[Ask], replies: list[Any], asked_at_ns: int) -> None:
        if node.waits_for != number:
            return  # given up
        node.waits_for = None
        node.shares.take(asks, replies, asked_at_ns)
        node.limits.words[EXCHANGED_AT_NS] = asked_at_ns
        node.answered_at_ns = asked_at_ns

    def _give_up(self, node: SimulatedNode, number: int, asks: list[Ask]) -> None:
        if node.waits_for == number:
            node.waits_for = None
            node.shares.fail(asks)

    # --- what came of it ------------------------------------------------------------------------------------------

    def most_in_a_window(self) -> int:
        """The most that was admitted in any 10 s."""
        times = np.array(sorted(self.admitted_at_ns), dtype=np.int64)
        if times.size == 0:
            return 0
        return int((np.arange(1, times.size + 1) - np.searchsorted(times, times - WINDOW_NS, side="right")).max())

    def admitted(self, from_ns: int, to_ns: int) -> int:
        return sum(from_ns <= at_ns < to_ns for at_ns in self.admitted_at_ns)

    def plan_in_a_window(self) -> float:
        return WINDOW_NS / int(interval_of(self.rate)) + self.burst

    def bound(self) -> float:
        """What the plan gives in 10 s, and the most over it that is promised."""
        return self.plan_in_a_window() + max(self.plan_in_a_window() * 0.05, self.nodes - 1)
