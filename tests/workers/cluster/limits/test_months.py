"""workers/cluster/limits/months.py: months over three nodes and a real Valkey"""

import asyncio
import datetime
from collections.abc import Callable
from random import Random

import numpy as np

from tests.support.limit_nodes import Node, digest_of
from tests.support.valkey_server import ValkeyServer
from trinity.cache.keys import USAGE_COUNTER

PATIENCE_SECONDS = 60
QUOTA = 1_000_000


def this_month() -> int:
    today = datetime.datetime.now(datetime.UTC)
    return today.year * 12 + today.month - 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def counter(valkey: ValkeyServer, key_id: int) -> int:
    with valkey.admin() as client:
        value = client.get(USAGE_COUNTER.name(digest_of(key_id).hex()))
    return int(value or 0)


def used(node: Node, key_id: int) -> int:
    return int(node.tables.limits.used(np.array([key_id]), this_month())[0])


def begin(valkey: ValkeyServer, quota: int = QUOTA) -> list[Node]:
    nodes = [Node(f"n{i}", 3, valkey.settings) for i in range(3)]
    for node in nodes:
        for key_id in (1, 2, 3):
            node.grant(key_id, 1_000, 1_000, quota)
        node.start()
    return nodes


async def close(nodes: list[Node]) -> None:
    for node in nodes:
        await node.close()


def test_every_node_shows_what_a_key_used_at_all_of_them(valkey_server: ValkeyServer) -> None:
    """Also one that the key never asked; Valkey has the sum as an integer, which ends after the month."""

    async def scene() -> None:
        nodes = begin(valkey_server)
        for node, lookups in zip(nodes[:2], (5, 7), strict=True):
            assert node.look_up(1, this_month(), QUOTA, lookups) >= 0
        await until(lambda: [used(node, 1) for node in nodes] == [12, 12, 12])
        assert counter(valkey_server, 1) == 12
        with valkey_server.admin() as client:
            assert 0 < client.ttl(USAGE_COUNTER.name(digest_of(1).hex())) <= 31 * 86_400 + 3_600
        await close(nodes)

    asyncio.run(scene())


def test_a_month_that_is_used_up_elsewhere_is_used_up_here(valkey_server: ValkeyServer) -> None:
    """Within the turns that it takes to tell."""

    async def scene() -> None:
        nodes = begin(valkey_server, quota=20)
        assert nodes[0].look_up(1, this_month(), 20, 12) == 8
        await until(lambda: used(nodes[1], 1) == 12)
        assert nodes[1].look_up(1, this_month(), 20, 9) == -1
        assert nodes[1].look_up(1, this_month(), 20, 8) == 0
        await until(lambda: [used(node, 1) for node in nodes] == [20, 20, 20])
        assert [node.look_up(1, this_month(), 20) for node in nodes] == [-1, -1, -1]
        await close(nodes)

    asyncio.run(scene())


def test_sums_are_exact_after_settling_whatever_was_killed_or_emptied(valkey_server: ValkeyServer) -> None:
    """Random lookups at three nodes, while their tasks are killed and Valkey begins anew, twice empty."""

    async def scene() -> None:
        random, nodes, expected = Random(4), begin(valkey_server), {1: 0, 2: 0, 3: 0}
        for step in range(120):
            node, key_id, lookups = random.choice(nodes), random.choice((1, 2, 3)), random.randrange(1, 5)
            assert node.look_up(key_id, this_month(), QUOTA, lookups) >= 0
            expected[key_id] += lookups
            if step % 20 == 10:
                await node.stop()
                node.begin()
                node.start()
            if step in (40, 80):
                await asyncio.to_thread(valkey_server.restart, empty=True)
            await asyncio.sleep(0.02)
        for key_id, sum_of in expected.items():
            await until(lambda key_id=key_id, sum_of=sum_of: counter(valkey_server, key_id) == sum_of)  # type: ignore[misc]
            await until(lambda key_id=key_id, sum_of=sum_of: {used(n, key_id) for n in nodes} == {sum_of})  # type: ignore[misc]
        await close(nodes)

    asyncio.run(scene())


def test_a_node_that_lost_its_counts_has_them_back(valkey_server: ValkeyServer) -> None:
    """Its file was lost, or the last seconds of it: what Valkey has of this node counts on."""

    async def scene() -> None:
        nodes = begin(valkey_server)
        assert nodes[0].look_up(1, this_month(), QUOTA, 40) >= 0
        await until(lambda: counter(valkey_server, 1) == 40)
        await nodes[0].close()
        again = Node("n0", 3, valkey_server.settings)
        again.grant(1, 1_000, 1_000, QUOTA)
        again.start()
        await until(lambda: used(again, 1) == 40)
        assert again.look_up(1, this_month(), QUOTA, 2) >= 0
        await until(lambda: counter(valkey_server, 1) == 42 and used(nodes[1], 1) == 42)
        await close([again, *nodes[1:]])

    asyncio.run(scene())
