"""All tasks of the cluster process, the sync and the doctor's question, under the deployed user over TLS and on a
Valkey Cluster: each does its work, so no command, no name and no script of theirs is refused there."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

from tests.support.contexts import OpenContext
from tests.support.limit_nodes import Node, digest_of
from tests.support.valkey_server import ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy, run_sync
from tests.workers.cluster.limits.test_months import PATIENCE_SECONDS, QUOTA, this_month, used
from trinity.access import keys
from trinity.cache.address import CacheSettings
from trinity.cache.client import CacheClient
from trinity.cache.keys import (
    ADAPTIVE_LEASES,
    ADAPTIVE_SUCCESSES,
    ADAPTIVE_TOTAL,
    API_KEY,
    CLUSTER_NODES,
    RATE_LIMIT,
    USAGE_COUNTER,
    USAGE_LOGS,
)
from trinity.cache.nodes import read_nodes
from trinity.clock import SystemClock
from trinity.memory.admission_table import ADMITTED, AdmissionTable, line_at
from trinity.process import ClusterMemory, NodeView
from workers.cluster.context import ClusterContext, Turns
from workers.cluster.governor import GovernorExchange
from workers.cluster.key_records import KeyRecords
from workers.cluster.limits.ledger_months import LedgerMonths
from workers.cluster.members import Members, MembersBeat
from workers.cluster.stats import StatsPublisher


@pytest.fixture(params=["the deployed user over TLS", "a Valkey Cluster"])
def settings(request: pytest.FixtureRequest) -> CacheSettings:
    """Of either; the other is not started."""
    if request.param == "a Valkey Cluster":
        found: CacheSettings = request.getfixturevalue("valkey_cluster").settings
        return found
    server: ValkeyServer = request.getfixturevalue("valkey_tls")
    return server.settings


@pytest.fixture
async def client(settings: CacheSettings) -> AsyncIterator[CacheClient]:
    made = CacheClient.open(settings, SystemClock())
    yield made
    await made.close()


@pytest.fixture
def cluster(process: OpenContext, client: CacheClient) -> ClusterContext:
    memory = ClusterMemory(NodeView(process.memory), process.tables)
    turns = Turns(process.block, process.clock)
    return ClusterContext(process, memory, client, Members(process.node, process.block), uuid.uuid4(), turns)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_rates_and_months_are_shared(settings: CacheSettings, client: CacheClient) -> None:
    """What one node gave the other knows of."""
    nodes = [Node(f"n{number}", 2, settings) for number in range(2)]
    for node in nodes:
        for key_id in (1, 2, 3):
            node.grant(key_id, 1_000, 1_000, QUOTA)
        node.start()
    for key_id in (1, 2, 3):
        assert nodes[0].look_up(key_id, this_month(), QUOTA, 10) >= 0
    for key_id in (1, 2, 3):
        await until(lambda key_id=key_id: [used(node, key_id) for node in nodes] == [10, 10])  # type: ignore[misc]
        digest = digest_of(key_id).hex()
        assert await client.get(USAGE_COUNTER.name(digest)) == b"10"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"n0" not in (await client.get(RATE_LIMIT.name(digest)) or b""):
                nodes[0].ask(key_id)
                await asyncio.sleep(0.001)
    for node in nodes:
        await node.close()


async def test_connections_are_leased_and_counted(cluster: ClusterContext, client: CacheClient) -> None:
    """The governor's hash and its counters."""
    admission = AdmissionTable.private(1)
    exchange = GovernorExchange("a", admission, client, cluster.members, cluster.clock, 6_000, lambda: None)
    admission.words[line_at(0) + ADMITTED] = 7
    await exchange.turn()
    assert await client.run([("HEXISTS", ADAPTIVE_LEASES.name(), "a")]) == [1]
    assert [int(await client.get(name.name()) or 0) for name in (ADAPTIVE_SUCCESSES, ADAPTIVE_TOTAL)] == [7, 7]
    assert admission.connections_limit > 0


async def test_who_lives_and_how_is_told(cluster: ClusterContext, client: CacheClient) -> None:
    """Members by the set, telemetry by the hash, read as `trinity cluster` does; and one that leaves is gone."""
    beat = MembersBeat(cluster.members, "a", client, cluster.clock, lambda: None)
    node = cluster.process.node
    running = [
        asyncio.create_task(task.run())
        for task in (
            beat,
            MembersBeat(cluster.members, node, client, cluster.clock, lambda: None),
            StatsPublisher(cluster),
        )
    ]
    await until(lambda: {"a", node} <= set(cluster.members.names))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while node not in [one.node for one in await read_nodes(client) if one.version]:
            await asyncio.sleep(0.05)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await beat.leave()
    assert b"a" not in (await client.run([("ZRANGE", CLUSTER_NODES.name(), 0, -1)]))[0]


async def test_keys_and_the_ledgers_months_are_written(
    cluster: ClusterContext, client: CacheClient, database_url: str
) -> None:
    """By the node that leads."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        key, _ = keys.create(connection, keys.NewKey("acme", "free"), 100)
        digest = connection.execute("SELECT encode(digest, 'hex') FROM api_keys").fetchall()[0][0]
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute(
            "INSERT INTO usage_day SELECT date_trunc('day', now(), 'UTC'), %s, 0, 0, 200, id, 4, 9, 1, '{}' FROM nodes",
            [key.id],
        )
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as asking:
        assert await KeyRecords(cluster, database_url).write(asking) == 1
    assert await client.get(API_KEY.name(digest)) is not None
    assert await LedgerMonths(cluster, database_url).bring() == 1
    assert await client.get(USAGE_COUNTER.name(digest)) == b"9"


async def test_the_ledger_is_brought(settings: CacheSettings, client: CacheClient, database_url: str) -> None:
    """By the sync, whole, and then what is new."""
    copy = LedgerCopy(database_url)
    rows = len(copy.load(200))
    copy.add_calls(5)
    await asyncio.to_thread(run_sync, database_url, settings, is_whole=True)
    assert await client.run([("ZCARD", USAGE_LOGS.name())]) == [rows]
    copy.load(50, ring=1)
    await asyncio.to_thread(run_sync, database_url, settings)
    assert await client.run([("ZCARD", USAGE_LOGS.name())]) == [rows + 50]
    copy.close()
