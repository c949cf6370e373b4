"""workers/cluster/process.py"""

import asyncio
import os
import signal
import uuid
from collections.abc import Callable

import msgspec

from tests.support.contexts import OpenContext
from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyServer
from trinity.cache.keys import ADAPTIVE_LEASES, CLUSTER_NODES
from trinity.config import Config, StoresSection
from trinity.memory.control import HEARTBEAT_NS
from trinity.observe.metrics import CLUSTER
from trinity.process import ClusterMemory, NodeView
from workers.cluster.process import _serve


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE * 5):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_the_process_takes_part_and_an_outage_never_makes_it_look_stuck(
    process: OpenContext, valkey_server: ValkeyServer
) -> None:
    """It goes on beating while Valkey is paused, says so, is back by itself, and leaves at the end."""
    config = msgspec.structs.replace(Config(), stores=StoresSection(cache_url=valkey_server.url))
    memory = ClusterMemory(NodeView(process.memory), process.tables)
    serving = asyncio.create_task(_serve(process, memory, config, uuid.uuid4()))
    up = CLUSTER.index("cache_up")
    await until(lambda: process.block.read_gauge(up) == 1.0)
    valkey_server.pause()
    await until(lambda: process.block.read_gauge(up) == 0.0)
    for _ in range(2):
        before = process.block.read(HEARTBEAT_NS)
        await until(lambda before=before: process.block.read(HEARTBEAT_NS) > before)  # type: ignore[misc]
    valkey_server.resume()
    await until(lambda: process.block.read_gauge(up) == 1.0)
    with valkey_server.admin() as admin:
        await until(lambda: admin.zrange(CLUSTER_NODES.name(), 0, -1) == [process.node.encode()])
        await until(lambda: admin.hexists(ADAPTIVE_LEASES.name(), process.node))
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        assert admin.zrange(CLUSTER_NODES.name(), 0, -1) == []
        assert not admin.hexists(ADAPTIVE_LEASES.name(), process.node)
