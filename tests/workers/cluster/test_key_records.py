"""workers/cluster/key_records.py: on PostgreSQL and Valkey."""

import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.contexts import OpenContext
from tests.support.valkey_server import ValkeyServer
from trinity.access import keys, plans
from trinity.cache.client import CacheClient
from trinity.cache.keys import API_KEY
from trinity.clock import SystemClock
from trinity.errors import CacheUnavailableError
from trinity.process import ClusterMemory, NodeView
from trinity.vocabulary import KeyState
from workers.cluster.context import ClusterContext, Turns
from workers.cluster.key_records import KeyRecords
from workers.cluster.members import Members


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def asking(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def records(process: OpenContext, valkey_server: ValkeyServer, database_url: str) -> AsyncIterator[KeyRecords]:
    client = CacheClient.open(valkey_server.settings, SystemClock())
    memory = ClusterMemory(NodeView(process.memory), process.tables)
    turns = Turns(process.block, process.clock)
    cluster = ClusterContext(process, memory, client, Members("a", process.block), uuid.uuid4(), turns)
    yield KeyRecords(cluster, database_url)
    await client.close()


def name_of(secret: str) -> str:
    return API_KEY.name(hashlib.sha256(secret.encode()).hexdigest())


async def test_a_record_follows_its_key_and_is_all_there_again_after_valkey_was_emptied(
    records: KeyRecords,
    connection: psycopg.Connection[Any],
    asking: psycopg.AsyncConnection[Any],
    valkey_server: ValkeyServer,
) -> None:
    """After the commit, with nothing in it that lets anybody in, for a day."""
    key, secret = keys.create(connection, keys.NewKey("acme", "free", "shop"), 1000)
    assert await records.write(asking) == 1
    with valkey_server.admin() as admin:

        def record() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(admin.get(name_of(secret)) or b"{}")
            return found

        told = record()
        assert (told["id"], told["account"], told["plan"], told["state"]) == (key.id, "acme", "free", "active")
        assert (told["rate_requests"], told["rate_seconds"], told["monthly_quota"]) == (10, 1, key.monthly_quota)
        assert secret not in json.dumps(told)
        assert "digest" not in told
        assert 0 < admin.ttl(name_of(secret)) <= 24 * 3600
        with connection.transaction():
            keys.set_state(connection, key.id, KeyState.SUSPENDED)
            await records.write(asking)
            assert record()["state"] == "active", "not before the commit"
        await records.write(asking)
        assert record()["state"] == "suspended"
        valkey_server.flush()
        await records.write(asking)
        assert record()["state"] == "suspended"
        plans.set_plan(connection, "free", plans.PlanChange(burst=77))
        await records.write(asking)
        assert record()["burst"] == 77


async def test_a_full_valkey_is_an_outage_after_which_all_are_written(
    records: KeyRecords,
    connection: psycopg.Connection[Any],
    asking: psycopg.AsyncConnection[Any],
    valkey_server: ValkeyServer,
) -> None:
    """Nothing is skipped: what was refused is asked for again."""
    secrets = [keys.create(connection, keys.NewKey("acme", "free"), 1000)[1] for _ in range(3)]
    valkey_server.fill()
    with pytest.raises(CacheUnavailableError, match="OOM"):
        await records.write(asking)
    valkey_server.unfill()
    assert await records.write(asking) == 3
    with valkey_server.admin() as admin:
        assert all(admin.exists(name_of(secret)) for secret in secrets)
