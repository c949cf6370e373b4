"""trinity/cache/nodes.py"""

import pytest

from tests.support.valkey_server import ValkeyServer
from tests.trinity.cache.test_stats import stats_of
from trinity.cache.client import CacheClient
from trinity.cache.keys import CLUSTER_NODES
from trinity.cache.nodes import read_nodes
from trinity.cache.stats import write_commands
from trinity.clock import SystemClock
from trinity.errors import CacheUnavailableError


async def test_all_nodes_are_read_as_they_told_of_themselves(valkey_server: ValkeyServer) -> None:
    """One that beats and has not told yet is not among them; without Valkey it is an error."""
    client = CacheClient.open(valkey_server.settings, SystemClock())
    assert await read_nodes(client) == []
    (time,) = await client.run([("TIME",)])
    now_ms = int(time[0]) * 1000
    await client.run([("ZADD", CLUSTER_NODES.name(), now_ms - 1000, node) for node in ("a", "b", "silent")])
    await client.run([command for node in ("a", "b") for command in write_commands(stats_of(node))])
    nodes = await read_nodes(client)
    assert [node.node for node in nodes] == ["a", "b"]
    assert all(node.age_ms >= 1000 for node in nodes)
    assert nodes[0].counters == stats_of("a").counters
    valkey_server.kill()
    with pytest.raises(CacheUnavailableError):
        await read_nodes(client)
