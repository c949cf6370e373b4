"""workers/api/accounts/account.py: what a customer is told of its key, and when it can be asked."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.workers.api.conftest import ADMIN_KEY, client_to, service, settings_of, tables_of
from trinity.memory.access import AccessMemory
from trinity.memory.limit_table import take_lookups
from trinity.rates import rate_of
from trinity.vocabulary import KeyState
from workers.api.accounts.account import warning_of
from workers.api.base.context import Parts

QUOTA = 1000


class Asked:
    """A service over a database whose key 1 has a quota, and a client with that key."""

    def __init__(self, parts: Parts, tables: AccessMemory, client: httpx.AsyncClient) -> None:
        self.parts, self.tables, self.client = parts, tables, client

    async def get(self, path: str = "/account") -> dict[str, Any]:
        response = await self.client.get(path)
        assert response.status_code == 200
        found: dict[str, Any] = response.json()
        return found

    def use(self, lookups: int) -> None:
        month = int(self.parts.admission._gate.own["month"])
        assert take_lookups(self.tables.limits.words, 1, month, QUOTA, lookups) >= 0


@pytest.fixture
async def asked(database_url: str, tmp_path: Path) -> AsyncIterator[Asked]:
    digests = [hashlib.sha256(f"key-{number}".encode()).digest() for number in (1, 2)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO accounts (name) VALUES ('acme')")
        insert = (
            "INSERT INTO api_keys (account_id, plan_id, digest, prefix, name, monthly_quota, expires_at)"
            " SELECT 1, id, %s, 'trk_a', %s, %s, %s FROM plans WHERE name = %s"
        )
        connection.execute(insert, [digests[0], "shop", QUOTA, "2999-01-02T03:04:05Z", "free"])
        connection.execute(insert, [digests[1], "own", None, None, "unlimited"])
    tables = tables_of()
    tables.keys.write(1, digests[0], KeyState.ACTIVE, 10, 20, QUOTA, dry_run=False)
    async with service(settings_of(tmp_path, database_url=database_url), tables) as (parts, app), client_to(app) as one:
        one.headers["X-API-Key"] = "key-1"
        await one.get("/account")  # turns the month
        yield Asked(parts, tables, one)


async def test_a_key_is_told_its_name_plan_limits_use_and_reset(asked: Asked) -> None:
    """All of it, under both names, and never the key itself."""
    asked.use(30)
    for path in ("/account", "/key"):
        found = await asked.get(path)
        resets_at = datetime.fromisoformat(found["month"].pop("resets_at"))
        now = datetime.now(UTC)
        assert (resets_at.day, resets_at.hour, resets_at.minute, resets_at.tzinfo) == (1, 0, 0, UTC)
        assert now < resets_at <= now.replace(day=1).replace(month=now.month % 12 + 1, year=now.year + now.month // 12)
        assert found == {
            "kind": "key",
            "account_id": 1,
            "key_id": 1,
            "name": "shop",
            "account": "acme",
            "plan": "free",
            "limits": {"requests": 10, "seconds": 1, "burst": 20, "month": QUOTA, "dry_run": False},
            "month": {"used": 30, "left": QUOTA - 30, "warning_percent": None},
            "expires_at": "2999-01-02T03:04:05Z",
        }


async def test_use_is_exact_at_once_and_a_spent_month_can_be_read(asked: Asked) -> None:
    """With the warning that it has reached; asking costs nothing."""
    for lookups, used, warning in ((799, 799, None), (1, 800, 80), (199, 999, 80), (1, 1000, 100)):
        asked.use(lookups)
        month = (await asked.get())["month"]
        assert (month["used"], month["left"], month["warning_percent"]) == (used, QUOTA - used, warning)
    assert (await asked.client.get("/node/asset?asset=BTC")).status_code == 429


async def test_a_key_without_a_quota_is_told_the_ledger_s_sum_and_its_last_use(asked: Asked, database_url: str) -> None:
    """Lookups of good answers of this month's days; the time is that of its newest single request."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE all_runs PARTITION OF usage_runs DEFAULT")
        day = (
            "INSERT INTO usage_day SELECT date_trunc('month', now(), 'UTC') + make_interval(days => %s), %s, 1, 0, %s,"
            " 1, 5, %s, 0, array_fill(0, ARRAY[15])"
        )
        # Before the month, its first day, another status, another key.
        for days, key_id, status, lookups in ((-1, 2, 200, 1000), (0, 2, 200, 7), (0, 2, 404, 100), (0, 1, 200, 50)):
            connection.execute(day, [days, key_id, status, lookups])
        run = "INSERT INTO usage_runs VALUES (%s, 0, 2, 1, 1, 0, 200, 0, 1, '{}')"
        for second in ("2026-01-02T00:00:00Z", "2026-03-04T05:06:07Z"):
            connection.execute(run, [second])
    asked.client.headers["X-API-Key"] = "key-2"
    found = await asked.get()
    assert found["limits"] == {"requests": None, "seconds": 1, "burst": None, "month": None, "dry_run": False}
    assert (found["month"]["used"], found["month"]["left"], found["month"]["warning_percent"]) == (7, None, None)
    assert found["last_used_at"] == "2026-03-04T05:06:07Z"
    assert "expires_at" not in found


async def test_who_is_no_key_is_told_so_and_a_database_that_is_away_stops_nobody(asked: Asked, tmp_path: Path) -> None:
    """The operator has no plan; without a database a key is told who it is, its limits and what they have counted."""
    assert (await asked.client.get("/key", headers={"X-API-Key": ADMIN_KEY})).json() == {"kind": "admin"}
    tables = tables_of()
    tables.keys.write(2, hashlib.sha256(b"key-2").digest(), KeyState.ACTIVE, rate_of(1, 5), 20, QUOTA, dry_run=True)
    tables.keys.mark_loaded()
    async with service(settings_of(tmp_path), tables) as (_, app), client_to(app) as client:
        limits = {"requests": None, "seconds": 1, "burst": None, "month": None, "dry_run": False}
        found = (await client.get("/key", headers={"X-API-Key": "key-1"})).json()
        assert found == {"kind": "key", "key_id": 1, "limits": limits}
        found = (await client.get("/key", headers={"X-API-Key": "key-2"})).json()
        assert found["limits"] == {"requests": 1, "seconds": 5, "burst": 20, "month": QUOTA, "dry_run": True}
        assert (found["month"]["used"], found["month"]["left"]) == (0, QUOTA)


def test_a_warning_is_due_from_the_first_lookup_that_reaches_its_share() -> None:
    """80 and 100 percent, of odd and small quotas too; without a quota never."""
    assert [warning_of(used, 7) for used in range(9)] == [None] * 6 + [80, 100, 100]
    assert [warning_of(used, 0) for used in (0, 10**9)] == [None, None]
    assert [warning_of(used, 2) for used in (0, 1, 2)] == [None, None, 100]
