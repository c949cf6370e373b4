"""workers/cluster/governor.py, against a real Valkey."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.support.contexts import OpenContext
from tests.support.valkey_server import ValkeyServer
from trinity.cache.client import CacheClient
from trinity.cache.keys import ADAPTIVE_LEASES, ADAPTIVE_SUCCESSES, ADAPTIVE_THROTTLE, ADAPTIVE_TOTAL
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.admission_table import ADMITTED, OPEN, REFUSED, WANTED, AdmissionTable, line_at
from workers.cluster import governor
from workers.cluster.governor import GovernorExchange
from workers.cluster.members import Members

TOTAL = 6_000


class Clock(SystemClock):
    """A clock that can be moved on."""

    ahead_ns = 0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self.ahead_ns


class Node:
    """A node of one worker that has as many connections as it wants and may have."""

    def __init__(self, name: str, client: CacheClient, members: Members) -> None:
        self.clock, self.admission = Clock(), AdmissionTable.private(1)
        self.admission.tell_limit(TOTAL, 0)
        self.exchange = GovernorExchange(name, self.admission, client, members, self.clock, TOTAL, lambda: None)
        self.demand = 0

    @property
    def limit(self) -> int:
        return self.admission.connections_limit

    @property
    def open(self) -> int:
        return int(self.admission.words[line_at(0) + OPEN])

    def connect(self, closes: int = 256) -> None:
        """Take what comes, up to the limit; give up some of what is over it."""
        words, at = self.admission.words, line_at(0)
        turned_away = max(0, self.demand - max(self.limit, self.open))
        words[at + WANTED] += turned_away
        taken = min(self.demand, max(self.limit, 1))
        words[at + OPEN] = max(taken, min(self.open - closes, self.demand))


@pytest.fixture
async def nodes(process: OpenContext, valkey_server: ValkeyServer) -> AsyncIterator[list[Node]]:
    """Three nodes that know of each other."""
    clients = [CacheClient.open(valkey_server.settings, SystemClock()) for _ in range(3)]
    members = Members("a", process.block)
    members.take({"b": 0, "c": 0}, SystemClock().monotonic_ns())
    yield [Node(name, client, members) for name, client in zip("abc", clients, strict=True)]
    for client in clients:
        await client.close()


async def settle(nodes: list[Node], turns: int, gap_seconds: float = 0.0) -> None:
    for _ in range(turns):
        for node in nodes:
            node.connect()
            await node.exchange.turn()
        await asyncio.sleep(gap_seconds)


def sums(nodes: list[Node]) -> tuple[int, int]:
    return sum(node.limit for node in nodes), sum(node.open for node in nodes)


async def test_connections_move_to_where_the_demand_is_and_never_sum_to_more(nodes: list[Node]) -> None:
    """Limits at every turn, open connections once they moved; who alone has demand gets nearly all, equals the same."""
    await settle(nodes, 3)
    assert [node.limit for node in nodes] == [TOTAL // 3] * 3
    await asyncio.sleep(governor._SETTLES_MS / 1_000 + 0.1)  # what an empty Valkey is given to hear of all leases
    dice = random.Random(7)
    for turn in range(120):
        if turn % 30 == 0:
            heavy = turn // 30 % 4
            for i, node in enumerate(nodes):
                node.demand = 9_000 if i == heavy or heavy == 3 else dice.randrange(200)
        await settle(nodes, 1)
        limits, is_open = sums(nodes)
        assert limits <= TOTAL
        if turn > 2:
            assert is_open <= TOTAL
        if turn % 30 == 29 and heavy < 3:
            assert nodes[heavy].open >= 0.9 * (TOTAL - 3 * 264)
        if turn % 30 == 29 and heavy == 3:
            assert min(node.open for node in nodes) >= 0.9 * TOTAL / 3


async def test_without_valkey_a_node_goes_down_to_its_even_share(
    nodes: list[Node], valkey_server: ValkeyServer
) -> None:
    """Not at once: a lease that others still see is its own."""
    await settle(nodes[:1], 2)
    await asyncio.sleep(governor._SETTLES_MS / 1_000 + 0.1)
    nodes[0].demand = 9_000
    await settle(nodes[:1], 3)
    assert nodes[0].limit == TOTAL
    valkey_server.kill()
    await settle(nodes[:1], 1)
    assert nodes[0].limit == TOTAL
    nodes[0].clock.ahead_ns = int(governor.ALONE_SECONDS + 1) * NS_PER_SECOND
    await settle(nodes[:1], 1)
    assert nodes[0].limit == TOTAL // 3
    await settle(nodes[1:2], 1)
    assert nodes[1].limit == TOTAL // 3  # one that has never had a lease


async def test_a_valkey_that_was_emptied_is_told_the_leases_again(
    nodes: list[Node], valkey_server: ValkeyServer
) -> None:
    """Before anybody gets what another one holds: the limits never sum to more than the total."""
    await settle(nodes, 2)
    await asyncio.sleep(governor._SETTLES_MS / 1_000 + 0.1)
    nodes[0].demand = 9_000
    await settle(nodes, 20)
    before = nodes[0].limit
    assert before > 0.8 * TOTAL
    valkey_server.flush()
    nodes[1].demand = 9_000  # it asks first, and must not get what another has
    for _ in range(3):
        await settle([nodes[1], nodes[2], nodes[0]], 1)
        assert sums(nodes)[0] <= TOTAL
    assert nodes[0].open > 0.8 * TOTAL


async def test_what_was_admitted_and_refused_is_added_to_three_counters(nodes: list[Node]) -> None:
    """What was refused is the sum of all classes; a node that leaves takes its lease with it and leaves the counts."""
    words = nodes[0].admission.words
    words[line_at(0) + ADMITTED], words[line_at(0) + REFUSED : line_at(0) + REFUSED + 2] = 70, (20, 10)
    await settle(nodes[:1], 2)
    client = nodes[0].exchange._cache
    names = ADAPTIVE_SUCCESSES.name(), ADAPTIVE_TOTAL.name(), ADAPTIVE_THROTTLE.name()
    assert await client.run([("GET", name) for name in names]) == [b"70", b"100", b"30"]
    await nodes[0].exchange.leave()
    assert (await client.run([("HGET", ADAPTIVE_LEASES.name(), "a")])) == [None]
