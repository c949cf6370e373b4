"""Keys as the database knows them: found by digest, believed for a second, bounded."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.workers.api.conftest import client_of, client_to, service, settings_of, table_of, tables_of
from trinity.memory.key_table import KeyTable
from trinity.vocabulary import KeyState
from workers.api.base.callers import keys

KEY = "a-key-of-this-test"


@pytest.fixture
async def client(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service over a database with one key."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO accounts (name) VALUES ('one')")
        connection.execute(
            "INSERT INTO api_keys (account_id, plan_id, digest, prefix) VALUES (1, 1, %s, 'a')",
            [hashlib.sha256(KEY.encode()).digest()],
        )
    async with client_of(settings_of(tmp_path, database_url=database_url)) as made:
        yield made


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("state = 'active'", 200, None),
        ("state = 'suspended'", 403, "key_suspended"),
        ("state = 'revoked'", 403, "key_revoked"),
        ("expires_at = now() - interval '1 s'", 403, "key_revoked"),
        ("expires_at = now() + interval '1 h'", 200, None),
    ],
)
async def test_a_key_is_what_its_row_says(
    client: httpx.AsyncClient, database_url: str, change: str, status: int, code: str | None
) -> None:
    """Active, suspended, revoked, rotated away."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"UPDATE api_keys SET {change}")
    response = await client.get("/account", headers={"X-API-Key": KEY})
    assert (response.status_code, response.json().get("code")) == (status, code)
    if status == 200:
        assert response.json() | {"kind": "key", "account_id": 1, "key_id": 1} == response.json()


async def test_a_wrong_key_is_refused_and_never_shown(client: httpx.AsyncClient) -> None:
    """Also when it looks like a right one."""
    response = await client.get("/account", headers={"X-API-Key": KEY[:-1] + "X"})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")
    assert KEY[:-1] not in response.text


async def test_an_answer_is_believed_for_a_moment_only(
    client: httpx.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst costs one query; a revoked key is refused soon after."""
    headers = {"X-API-Key": KEY}
    monkeypatch.setattr(keys, "KEY_BELIEVED_NS", 10**15)
    assert (await client.get("/account", headers=headers)).status_code == 200
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE api_keys SET state = 'revoked'")
    assert (await client.get("/account", headers=headers)).status_code == 200
    monkeypatch.setattr(keys, "KEY_BELIEVED_NS", 0)
    assert (await client.get("/account", headers=headers)).status_code == 403


async def test_few_keys_are_remembered(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses cannot fill the memory."""
    monkeypatch.setattr(keys, "KEYS_REMEMBERED_MAX", 3)
    for number in range(5):
        await client.get("/account", headers={"X-API-Key": f"guess-{number}"})
    assert (await client.get("/account", headers={"X-API-Key": KEY})).status_code == 200


async def test_the_nodes_table_stands_in_for_an_absent_database(tmp_path: Path) -> None:
    """A good key is good, a revoked one is not, an unknown one is unknown; whose it is nobody knows."""
    async with service(settings_of(tmp_path)) as (parts, _):
        table = KeyTable.private(10)
        digests = {key_id: hashlib.sha256(f"key-{key_id}".encode()).digest() for key_id in (1, 2)}
        for key_id, state in ((1, KeyState.ACTIVE), (2, KeyState.REVOKED)):
            table.write(key_id, digests[key_id], state, 0, 0, 0, False)
        found = keys.Keys(parts.pool, parts.context.clock, table)
        with pytest.raises(psycopg.OperationalError):
            await found.find(digests[1])
        table.mark_loaded()
        first, second = await found.find(digests[1]), await found.find(digests[2])
        assert first == keys.KeyRow(digests[1], 1, 0, "active", None, [1])
        assert second is not None
        assert second.state == "revoked"
        assert await found.find(bytes(32)) is None


async def test_whose_key_it_is_is_asked_seldom_and_whether_it_is_good_always(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    """The node's table says the latter at once; the database is asked once for the former."""
    table, headers = table_of(KEY), {"X-API-Key": KEY}
    async with (
        service(settings_of(tmp_path, database_url=database_url), tables_of(table)) as (parts, app),
        client_to(app) as served,
    ):
        for _ in range(3):
            for digest, (at_ns, row) in parts.keys._remembered.items():
                parts.keys._remembered[digest] = at_ns - 2 * keys.KEY_BELIEVED_NS, row
            assert (await served.get("/node", headers=headers)).status_code == 200
        assert parts.pool.get_stats()["requests_num"] == 1
        table.write(1, hashlib.sha256(KEY.encode()).digest(), KeyState.SUSPENDED, 0, 0, 0, False)
        assert (await served.get("/node", headers=headers)).json()["code"] == "key_suspended"


async def test_a_key_that_is_not_in_the_nodes_table_asks_nobody(database_url: str, tmp_path: Path) -> None:
    """A flood of wrong keys costs no connection to the database."""
    async with service(settings_of(tmp_path, database_url=database_url), tables_of(table_of("a"))) as (parts, _):
        asked = parts.pool.get_stats().get("requests_num", 0)
        for number in range(100):
            assert await parts.keys.find(hashlib.sha256(b"%d" % number).digest()) is None
        assert parts.pool.get_stats().get("requests_num", 0) == asked
