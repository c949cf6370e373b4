"""workers/cluster/members.py"""

import asyncio

from tests.support.contexts import OpenContext
from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyServer
from trinity.cache.client import CacheClient
from trinity.cache.keys import CLUSTER_NODES
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.observe.metrics import CLUSTER
from workers.cluster.members import Members, MembersBeat


def test_members_are_those_whose_last_beat_is_not_ten_seconds_old(process: OpenContext) -> None:
    """A node that the others no longer name is forgotten when its last beat is old, not before; itself never."""
    members = Members("b", process.block)
    assert (members.names, members.count, members.index) == (("b",), 1, 0)
    members.take({"c": 0, "a": 9_000}, 0)
    assert (members.names, members.index) == (("a", "b", "c"), 1)
    members.take({}, NS_PER_SECOND)  # started anew, and empty
    assert members.names == ("a", "b", "c")
    members.take({}, 2 * NS_PER_SECOND)
    assert members.names == ("b", "c")
    members.take({}, 11 * NS_PER_SECOND)
    assert members.names == ("b",)
    assert process.block.read_gauge(CLUSTER.index("cluster_nodes")) == 1.0


async def test_nodes_find_each_other_and_miss_who_left(process: OpenContext, valkey_server: ValkeyServer) -> None:
    """Through Valkey, by its clock; without it the members stay."""
    turned: list[str] = []
    clients = [CacheClient.open(valkey_server.settings, SystemClock()) for _ in range(2)]
    members = [Members(node, process.block) for node in ("a", "b")]
    beats = [
        MembersBeat(one, node, client, SystemClock(), lambda: turned.append("turn"))
        for one, node, client in zip(members, ("a", "b"), clients, strict=True)
    ]
    tasks = [asyncio.create_task(beat.run()) for beat in beats]
    async with asyncio.timeout(PATIENCE * 5):
        while not all(one.count == 2 for one in members):
            await asyncio.sleep(0.01)
    assert [one.index for one in members] == [0, 1]
    tasks[1].cancel()
    await beats[1].leave()
    assert await clients[0].run([("ZRANGE", CLUSTER_NODES.name(), 0, -1)]) == [[b"a"]]
    valkey_server.kill()
    turns = len(turned)
    async with asyncio.timeout(PATIENCE * 5):
        while len(turned) < turns + 3:
            await asyncio.sleep(0.01)
    assert members[0].count == 2  # nobody told it otherwise
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        await client.close()
