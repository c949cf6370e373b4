"""workers/access/database.py, on a real PostgreSQL"""

import hashlib
from collections.abc import AsyncIterator

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.store.watch import Watch
from workers.access import database
from workers.access.database import AsyncConnection, Change, what_changed
from workers.access.rows import ACTIVE, END_NEVER, NULL, REVOKED, SUSPENDED, BlockRow, PlanRow, Rows


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    async with await database.connect(database_url, Watch(database_url)) as connected:
        yield connected


async def insert_keys(connection: AsyncConnection, count: int) -> None:
    """Keys 1 to `count` of plan 1, each with the SHA-256 of its number."""
    await connection.execute("INSERT INTO accounts (name) VALUES ('acme') ON CONFLICT DO NOTHING")
    await connection.execute(
        "INSERT INTO api_keys (account_id, plan_id, digest, prefix)"
        " SELECT 1, 1, sha256(n::text::bytea), 'trk_' FROM generate_series(1, %s) AS n",
        [count],
    )


async def all_keys(connection: AsyncConnection, since_us: int | None = None) -> Rows:
    chunks = [rows async for rows in database.read_keys(connection, since_us)]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=[("id", ">i4")])


async def test_every_key_comes_once_in_as_many_chunks_as_it_takes(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the last chunk is full, and with no keys at all."""
    monkeypatch.setattr(database, "KEYS_A_CHUNK", 10)
    assert len(await all_keys(connection)) == 0
    await insert_keys(connection, 30)
    rows = await all_keys(connection)
    assert rows["id"].tolist() == list(range(1, 31))
    assert rows["digest"][6].tobytes() == hashlib.sha256(b"7").digest()


async def test_every_field_of_a_key_arrives(connection: AsyncConnection) -> None:
    """States as numbers, null as NULL and END_NEVER, times in microseconds."""
    await insert_keys(connection, 3)
    await connection.execute(
        "UPDATE api_keys SET state = 'suspended', plan_id = 3, rate_requests = 5, burst = 6,"
        " monthly_quota = 10000000000, expires_at = to_timestamp(4000000000.000123) WHERE id = 2"
    )
    await connection.execute("UPDATE api_keys SET state = 'revoked' WHERE id = 3")
    first, second, third = await all_keys(connection)
    assert first.item()[:7] == (1, 1, ACTIVE, NULL, NULL, NULL, END_NEVER)
    assert second.item()[:7] == (2, 3, SUSPENDED, 5, 6, 10_000_000_000, 4_000_000_000_000_123)
    assert third["state"] == REVOKED
    await connection.execute("UPDATE api_keys SET expires_at = now() WHERE id = 2")
    assert (await all_keys(connection))["state"].tolist() == [ACTIVE, REVOKED, REVOKED], "its end has come"


async def test_a_row_with_a_time_of_its_own_is_a_change_of_now(connection: AsyncConnection) -> None:
    """A key that is copied in with an old changed_at is found by its notification all the same."""
    await insert_keys(connection, 1)
    assert await database.wait_for_change(connection, 5) is not None
    await connection.execute(
        "INSERT INTO api_keys (account_id, plan_id, digest, prefix, changed_at)"
        " SELECT account_id, plan_id, sha256('copied'), 'trk_copied', '2001-01-01' FROM api_keys"
    )
    change = await database.wait_for_change(connection, 5)
    assert change is not None
    assert (await all_keys(connection, change.keys_since_us))["id"].tolist() == [2]


async def test_a_change_is_found_by_what_its_notification_says(connection: AsyncConnection) -> None:
    """Only the changed key comes, however long its transaction took."""
    await insert_keys(connection, 5)
    assert await database.wait_for_change(connection, 5) is not None
    async with await psycopg.AsyncConnection.connect(connection.info.dsn, autocommit=False) as writer:
        await writer.execute("UPDATE api_keys SET state = 'suspended' WHERE id = 4")
        await connection.execute("UPDATE api_keys SET burst = 9 WHERE id = 5")  # a younger one, committed before
        change = await database.wait_for_change(connection, 5)
        assert change is not None
        assert (await all_keys(connection, change.keys_since_us))["id"].tolist() == [5]
        await writer.commit()
    change = await database.wait_for_change(connection, 5)
    assert change is not None
    assert not change.everything
    assert 4 in (await all_keys(connection, change.keys_since_us))["id"].tolist()


async def test_nothing_notified_is_no_change(connection: AsyncConnection) -> None:
    """The wait ends by itself."""
    assert await database.wait_for_change(connection, 0.01) is None


async def test_plans_and_blocks_arrive(connection: AsyncConnection) -> None:
    """Blocks that have ended stay away."""
    await connection.execute(
        "INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.0/24', NULL),"
        " ('2001:db8::/64', 'infinity'::timestamptz), ('203.0.113.9', now() - interval '1 s')"
    )
    assert (await database.read_plans(connection))[0] == PlanRow(1, 10, 20, 1_000_000, False, 0)
    found = await database.read_blocks(connection)
    assert {block.network for block in found} == {"203.0.113.0/24", "2001:db8::/64"}
    assert BlockRow("203.0.113.0/24", END_NEVER) in found
    change = await database.wait_for_change(connection, 5)
    assert change == Change(blocks=True)


@pytest.mark.parametrize(
    ("payloads", "change"),
    [
        (["plans UPDATE 5"], Change(plans=True)),
        (["blocks DELETE 5", "plans INSERT 5"], Change(plans=True, blocks=True)),
        (["api_keys UPDATE 7", "api_keys INSERT 5"], Change(keys_since_us=5)),
        (["api_keys DELETE 7"], Change(everything=True)),
        (["api_keys TRUNCATE 7", "blocks INSERT 1"], Change(everything=True, blocks=True)),
        (["api_keys UPDATE now"], Change(everything=True)),
        ([""], Change(everything=True)),
    ],
)
def test_payloads_say_what_to_read(payloads: list[str], change: Change) -> None:
    """Several are taken together; what is not understood stands for everything."""
    assert what_changed(payloads) == change


@given(st.lists(st.text(max_size=30)))
def test_no_payload_is_too_strange(payloads: list[str]) -> None:
    """Anybody who may connect may notify."""
    change = what_changed([*payloads, "api_keys UPDATE 0"])
    assert change.keys_since_us == 0
