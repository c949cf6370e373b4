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
    for seconds, said, names in (
        (0, {"c": 0, "a": 9_000}, ("a", "b", "c")),
        (1, {}, ("a", "b", "c")),  # started anew, and empty
        (2, {}, ("b", "c")),
        (11, {}, ("b",)),
    ):
        members.take(said, {}, seconds * NS_PER_SECOND)
        assert (members.names, members.index) == (names, names.index("b"))
    assert process.block.read_gauge(CLUSTER.index("cluster_nodes")) == 1.0


def test_what_is_shared_is_divided_by_the_nodes_that_answer(process: OpenContext) -> None:
    """Not by push servers; at least by one, and before Valkey has said anything nobody knows."""
    answering, pushing = Members("a", process.block), Members("p", process.block, answers=False)
    assert not answering.is_known
    for members in (answering, pushing):
        members.take({"a": 0, "b": 0, "p": 0}, {"a": 0, "b": 0}, 0)
        assert (members.count, members.sharers, members.is_known) == (3, 2, True)
        members.take({}, {}, NS_PER_SECOND)  # started anew, and empty
        assert members.sharers == 2
        members.take({}, {}, 11 * NS_PER_SECOND)
        assert members.sharers == 1


async def test_nodes_find_each_other_and_miss_who_left(process: OpenContext, valkey_server: ValkeyServer) -> None:
    """Through Valkey, by its clock; without it the members stay."""
    turned: list[str] = []
    clients = [CacheClient.open(valkey_server.settings, SystemClock()) for _ in range(2)]
    members = [Members("a", process.block), Members("b", process.block, answers=False)]
    beats = [
        MembersBeat(one, client, SystemClock(), lambda: turned.append("turn"))
        for one, client in zip(members, clients, strict=True)
    ]
    tasks = [asyncio.create_task(beat.run()) for beat in beats]
    async with asyncio.timeout(PATIENCE * 5):
        while not all(one.count == 2 for one in members):
            await asyncio.sleep(0.01)
    assert [one.index for one in members] == [0, 1]
    assert [one.sharers for one in members] == [1, 1], "the second answers nobody"
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
