"""workers/cluster/stats.py"""

import asyncio
import os
import uuid

from tests.support.contexts import OpenContext
from tests.support.node_fixture import CATALOG, ENTRIES, NOW_NS, busy_node
from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyServer
from tests.trinity.observe.test_status import ring_with
from trinity.cache.client import CacheClient
from trinity.cache.keys import CLUSTER_STATS
from trinity.cache.stats import COUNTER_NAMES
from trinity.clock import SystemClock
from trinity.memory.control import PID
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import OPERATOR, REGISTERS
from trinity.observe.readings import read_processes
from trinity.observe.status import read_node
from trinity.process import ClusterMemory, NodeView
from workers.cluster.context import ClusterContext, Turns
from workers.cluster.members import Members
from workers.cluster.stats import StatsPublisher, counters_of, is_leading

KINDS = [entry.kind for entry in ENTRIES]


def count(memory: NodeMemory, process: int, name: str, *values: str, amount: int) -> None:
    memory.control.block(process).count(REGISTERS[KINDS[process]].index(name, *values), amount)


def test_the_counters_are_those_of_all_processes() -> None:
    """Requests of every worker, refusals by their kind, the ledger, the kernel's figures; 24, in the table's order."""
    with busy_node() as memory:
        first, second = (i for i, kind in enumerate(KINDS) if kind == "worker")
        for worker in (first, second):
            count(memory, worker, "http_responses_total", "200", amount=10)
            count(memory, worker, "udp_datagrams_total", "answered", amount=5)
            count(memory, worker, "lookups_total", amount=20)
            memory.control.block(worker).set_gauge(REGISTERS["worker"].index("http_connections"), 3.0)
        count(memory, first, "udp_datagrams_total", "dropped", amount=99)
        count(memory, first, "access_refusals_total", "rate_limited", amount=2)
        count(memory, second, "access_refusals_total", "quota_exceeded", amount=4)
        count(memory, second, "access_refusals_total", "invalid_key", amount=8)
        count(memory, second, "http_connections_refused_total", amount=16)
        memory.control.block(first).write(PID, os.getpid())
        counters = counters_of(read_node(memory, NOW_NS, (ring_with(512),)))
    assert tuple(counters) == COUNTER_NAMES
    assert (counters["http_requests"], counters["udp_requests"], counters["lookups"]) == (20, 10, 40)
    refused = [counters[f"refused_{kind}"] for kind in ("rate", "quota", "access", "load")]
    assert refused == [2, 4, 8, 16]
    assert counters["connections"] == 6
    assert (counters["fresh_assets"], counters["stale_assets"]) == (len(CATALOG.assets), 0)
    assert (counters["feeds_up"], counters["feeds_down"]) == (len(CATALOG.exchanges), 0)
    assert counters["cpu_ms"] > 0
    assert counters["memory_bytes"] > 1_000_000


def test_a_node_leads_while_its_operator_lives_and_has_the_lock() -> None:
    """Nobody else does what is done once."""
    with busy_node() as memory:
        assert not is_leading(memory, read_processes(memory, NOW_NS))
        memory.control.block(KINDS.index("operator")).set_gauge(OPERATOR.index("operator_active"), 1.0)
        assert is_leading(memory, read_processes(memory, NOW_NS))
        assert not is_leading(memory, read_processes(memory, NOW_NS + 60 * 10**9))


async def test_the_telemetry_is_in_valkey_and_lives_ten_seconds(
    process: OpenContext, valkey_server: ValkeyServer
) -> None:
    """With the rate of the last seconds; while Valkey is away the task goes on turning."""
    client = CacheClient.open(valkey_server.settings, SystemClock())
    members = Members(process.node, process.block)
    memory = ClusterMemory(NodeView(process.memory), process.tables)
    turns = Turns(process.block, process.clock)
    publisher = StatsPublisher(ClusterContext(process, memory, client, members, uuid.uuid4(), turns))
    task = asyncio.create_task(publisher.run())
    name = CLUSTER_STATS.name(process.node)
    with valkey_server.admin() as admin:
        async with asyncio.timeout(PATIENCE * 5):
            while not admin.exists(name):
                await asyncio.sleep(0.01)
        fields = {key.decode(): value.decode() for key, value in admin.hgetall(name).items()}
        assert 0 < admin.ttl(name) <= 10
    assert set(COUNTER_NAMES) <= set(fields)
    assert (fields["server_type"], fields["leads"], fields["members"]) == ("APP_REPORT_SERVER", "0", "1")
    valkey_server.kill()
    before = len(publisher._requests)
    async with asyncio.timeout(PATIENCE * 5):
        while len(publisher._requests) < before + 2:
            await asyncio.sleep(0.01)
    task.cancel()
    await client.close()
