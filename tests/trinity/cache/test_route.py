"""trinity/cache/route.py: against a real Valkey Cluster of three, whose slots move and whose servers die."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from valkey.crc import key_slot

from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyCluster
from trinity.cache.client import CacheClient, CacheScript
from trinity.cache.slots import CacheServer
from trinity.clock import SystemClock
from trinity.errors import CacheUnavailableError

# One name on each of the three: the slots are cut in thirds.
NAMES = [next(name for name in map(str, range(99)) if key_slot(name.encode()) * 3 // 16_384 == i) for i in range(3)]
ADD = CacheScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
async def client(valkey_cluster: ValkeyCluster) -> AsyncIterator[CacheClient]:
    made = CacheClient.open(valkey_cluster.settings, SystemClock())
    yield made
    await made.close()


async def test_each_command_goes_to_the_server_that_has_its_name(client: CacheClient) -> None:
    """In one round trip with each, and the replies stand in the order of the commands."""
    commands = [("SET", name, i) for i, name in enumerate(NAMES)] + [("GET", name) for name in reversed(NAMES)]
    assert await client.run([*commands, ("PING",)]) == [b"OK"] * 3 + [b"2", b"1", b"0", b"PONG"]
    assert await client.script(ADD, [(name, [10]) for name in NAMES]) == [10, 11, 12]


async def test_a_slot_that_moves_is_followed_while_it_moves_and_after(
    client: CacheClient, valkey_cluster: ValkeyCluster
) -> None:
    """Each command is done once: ASK for what has moved already, MOVED for all of it."""
    name, slot = "{moving}:a", key_slot(b"moving")
    await client.run([("SET", name, 1), ("SET", "{moving}:b", 5)])
    owner = next(i for i in range(3) if i * 16_384 // 3 <= slot < (i + 1) * 16_384 // 3)
    source, target = valkey_cluster.servers[owner], valkey_cluster.servers[(owner + 1) % 3]
    with source.admin() as old, target.admin() as new:
        source_id, target_id = (one.execute_command("CLUSTER MYID").decode() for one in (old, new))
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source_id)
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target_id)
        old.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        assert await client.run([("INCRBY", name, 1), ("INCRBY", "{moving}:b", 1)]) == [2, 6]
        old.execute_command("MIGRATE", "127.0.0.1", target.port, "{moving}:b", 0, 5000)
        for one in (new, old):
            one.execute_command("CLUSTER SETSLOT", slot, "NODE", target_id)
        assert await client.run([("INCRBY", name, 1), ("INCRBY", "{moving}:b", 1)]) == [3, 7]
        # Back again, for the other tests.
        old.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", target_id)
        new.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", source_id)
        new.execute_command("MIGRATE", "127.0.0.1", source.port, "", 0, 5000, "KEYS", name, "{moving}:b")
        for one in (old, new):
            one.execute_command("CLUSTER SETSLOT", slot, "NODE", source_id)
    assert await client.run([("GET", name)]) == [b"3"]


async def test_a_dead_primary_is_an_outage_until_its_replica_has_taken_over(
    client: CacheClient, valkey_cluster: ValkeyCluster
) -> None:
    """Then all names are answered again, by itself, with what the replica had."""
    assert await client.run([("SET", NAMES[0], "kept")]) == [b"OK"]
    with valkey_cluster.servers[0].admin() as admin:
        admin.wait(1, 5000)
    valkey_cluster.servers[0].kill()
    with pytest.raises(CacheUnavailableError):
        await client.run([("GET", name) for name in NAMES])
    async with asyncio.timeout(PATIENCE * 15):
        while True:
            try:
                assert await client.run([("GET", NAMES[0])]) == [b"kept"]
                break
            except CacheUnavailableError:
                await asyncio.sleep(0.02)
    assert await client.run([("SET", name, 1) for name in NAMES]) == [b"OK"] * 3
    assert CacheServer("127.0.0.1", valkey_cluster.servers[3].port) in client._route._slots.values()  # type: ignore[attr-defined]
