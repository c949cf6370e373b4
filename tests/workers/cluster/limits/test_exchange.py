"""workers/cluster/limits/exchange.py: three nodes around a real Valkey"""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.limit_nodes import Node, digest_of
from tests.support.valkey_server import ValkeyServer
from trinity.cache.keys import RATE_LIMIT
from trinity.limits import LIMIT_EXCHANGE_AGE_MAX_NS
from trinity.memory.limit_table import EXCHANGED_AT_NS
from trinity.observe.metrics import CLUSTER

PATIENCE_SECONDS = 30
# More than a node's share, a third: how near the plan it comes is measured by `trinity bench limits`, on a machine that
# nobody else uses.
AT_LEAST = 0.5
WINDOWS = 10
BOUNDED = CLUSTER.index("cluster_limits_bounded")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def three(valkey: ValkeyServer, rate: int, burst: int) -> list[Node]:
    nodes = [Node(f"n{i}", 3, valkey.settings) for i in range(3)]
    for node in nodes:
        node.grant(1, rate, burst)
        node.start()
    for node in nodes:
        await until(lambda node=node: is_fresh(node))  # type: ignore[misc]
    return nodes


def is_fresh(node: Node) -> bool:
    at_ns = int(node.tables.limits.words[EXCHANGED_AT_NS])
    return node.clock.monotonic_ns() - at_ns <= LIMIT_EXCHANGE_AGE_MAX_NS


async def close(nodes: list[Node]) -> None:
    for node in nodes:
        await node.close()


def is_bounded(node: Node) -> bool:
    return node.block.read_gauge(BOUNDED) == 1.0


async def admitted_in(nodes: list[Node], seconds: float, per_turn: int = 50) -> int:
    """What these nodes admit while each is asked without a pause."""
    loop, count = asyncio.get_running_loop(), 0
    end = loop.time() + seconds
    while loop.time() < end:
        count += sum(node.ask(1) for node in nodes for _ in range(per_turn))
        await asyncio.sleep(0.004)
    return count


async def admit_the_plan(nodes: list[Node], seconds: float, rate: int, burst: int, beyond: float) -> None:
    """Never more in a window than the plan and `beyond` it, and in one of them more than AT_LEAST of the plan.

    On a busy machine the test itself, or the exchange, may stand still for most of a window.
    """
    loop = asyncio.get_running_loop()
    for _ in range(WINDOWS):
        began = loop.time()
        count = await admitted_in(nodes, seconds)
        plan = burst + rate * (loop.time() - began)
        assert count < plan + beyond
        if count > AT_LEAST * plan:
            return
    pytest.fail(f"less than {AT_LEAST:.0%} of the plan in each of {WINDOWS} windows")


def test_a_node_that_has_all_the_load_has_all_of_the_plan(valkey_server: ValkeyServer) -> None:
    """The burst and the rate: nothing stays behind at the two that nobody asks."""

    async def scene() -> None:
        nodes = await three(valkey_server, 200, 400)
        await admit_the_plan(nodes[:1], 3.0, 200, 400, 2 * 10)
        (state,) = await nodes[0].cache.run([("GET", RATE_LIMIT.name(digest_of(1).hex()))])
        assert b" n0 " in state
        await close(nodes)

    asyncio.run(scene())


def test_three_nodes_that_are_asked_at_once_give_the_plan_once(valkey_server: ValkeyServer) -> None:
    """Over the plan by the credit of two nodes at the most."""

    async def scene() -> None:
        nodes = await three(valkey_server, 100, 100)
        await admit_the_plan(nodes, 3.0, 100, 100, (10 * 100 + 100) * 0.05)
        await close(nodes)

    asyncio.run(scene())


def test_a_paused_valkey_leaves_each_node_its_share_and_it_is_told_and_ends_by_itself(
    valkey_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the plan at each node nor nothing; when Valkey goes on, the nodes share again."""

    async def scene() -> None:
        nodes = await three(valkey_server, 300, 30)
        valkey_server.pause()
        for node in nodes:
            await until(lambda node=node: is_bounded(node))  # type: ignore[misc]
        await admit_the_plan(nodes, 2.0, 300, 0, 30 + 20)
        await admit_the_plan(nodes[:1], 1.0, 100, 0, 10 + 30)
        valkey_server.resume()
        for node in nodes:
            await until(lambda node=node: not is_bounded(node))  # type: ignore[misc]
        await admit_the_plan(nodes[:1], 3.0, 300, 0, 2 * 30)  # a share is a third of it
        await close(nodes)

    asyncio.run(scene())
    assert "no word from the other nodes" in caplog.text


def test_a_valkey_that_begins_empty_gives_no_burst_again(valkey_server: ValkeyServer) -> None:
    """The nodes know how far the rate was: an empty server learns it from the first of them."""

    async def scene() -> None:
        nodes = await three(valkey_server, 50, 500)
        await admitted_in(nodes[:1], 1.0)
        assert await admitted_in(nodes, 0.5) < 50  # all of the burst is used
        valkey_server.flush()
        loop = asyncio.get_running_loop()
        began = loop.time()
        count = await admitted_in(nodes, 2.0)
        assert count < 50 * (loop.time() - began) + 2 * 25 + 5
        await close(nodes)

    asyncio.run(scene())


def test_an_exchange_that_was_killed_is_followed_by_one_that_counts_nothing_twice(valkey_server: ValkeyServer) -> None:
    """What was counted before it began is settled, or known in Valkey."""

    async def scene() -> None:
        nodes = await three(valkey_server, 100, 100)
        await admitted_in(nodes[:1], 0.5)
        await nodes[0].stop()
        nodes[0].begin()
        nodes[0].start()
        await admit_the_plan(nodes[:1], 2.0, 100, 0, 100 + 30)
        await close(nodes)

    asyncio.run(scene())


def test_a_full_valkey_is_as_good_as_none(valkey_server: ValkeyServer) -> None:
    """It answers and takes nothing: each node its share, until there is room."""

    async def scene() -> None:
        nodes = await three(valkey_server, 300, 30)
        valkey_server.fill()
        for node in nodes:
            node.ask(1)
            await until(lambda node=node: node.ask(1) in (True, False) and is_bounded(node))  # type: ignore[misc]
        valkey_server.unfill()
        for node in nodes:
            await until(lambda node=node: not is_bounded(node))  # type: ignore[misc]
        await close(nodes)

    asyncio.run(scene())
