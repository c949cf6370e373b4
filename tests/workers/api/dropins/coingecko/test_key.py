"""`/key`: the limits of the key that asks, in CoinGecko's words."""

import hashlib
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.workers.api.conftest import ADMIN_KEY, unlimited_keys
from tests.workers.api.dropins.coingecko.conftest import KEY, ask, client_of, keys_with
from tests.workers.api.live import live
from trinity.access.keys import NewKey, create
from trinity.rates import rate_of
from trinity.vocabulary import KeyState


async def test_a_key_is_told_its_plan_its_limits_and_what_is_left(tmp_path: Path, database_url: str) -> None:
    """Used and left follow what was asked for; to ask for it costs nothing."""
    with psycopg.connect(database_url) as connection:
        made, text = create(connection, NewKey("shop", "free"), 16)
    keys = unlimited_keys()
    digest = hashlib.sha256(text.encode()).digest()
    keys.write(made.id, digest, KeyState.ACTIVE, rate_of(3, 2), 5, 100, False)
    keys.mark_loaded()
    async with live(tmp_path, keys, auth="required", database_url=database_url) as service:
        client = client_of(service.url, demo_api_key=text)
        assert (await ask(client.key))["current_total_monthly_calls"] == 0
        await ask(client.get_price, ids="bitcoin,ethereum", vs_currencies="usd")
        for _ in range(2):
            assert await ask(client.key) == {
                "plan": "free",
                "rate_limit_request_per_minute": 90,
                "monthly_call_credit": 100,
                "current_total_monthly_calls": 2,
                "current_remaining_monthly_calls": 98,
                "api_key_rate_limit_request_per_minute": 90,
                "api_key_monthly_call_credit": 100,
                "api_key_current_total_monthly_calls": 2,
            }


async def test_a_limit_that_a_key_has_not_is_null(tmp_path: Path) -> None:
    """The operator's key has none at all; while the database is away, a plan has no name."""
    async with live(tmp_path, keys_with(rate=7, burst=7), auth="required") as service:
        free = await ask(client_of(service.url, demo_api_key=KEY).key)
        assert (free["plan"], free["rate_limit_request_per_minute"], free["monthly_call_credit"]) == ("", 420, None)
        admin = await ask(client_of(service.url, api_key=ADMIN_KEY).key)
        assert {name for name, value in admin.items() if value is not None} == {"plan"}


async def test_a_spent_month_can_still_be_looked_at(tmp_path: Path) -> None:
    """That is when people look."""
    async with live(tmp_path, keys_with(quota=1), auth="required") as service:
        client = client_of(service.url, demo_api_key=KEY)
        await ask(client.get_price, ids="bitcoin", vs_currencies="usd")
        with pytest.raises(ValueError, match="quota_exceeded"):
            await ask(client.get_price, ids="bitcoin", vs_currencies="usd")
        shown = await ask(client.key)
        assert (shown["current_total_monthly_calls"], shown["current_remaining_monthly_calls"]) == (1, 0)


async def test_who_has_no_key_is_told_so(optional_client: httpx.AsyncClient) -> None:
    """Also where none is needed for prices."""
    answer = await optional_client.get("/api/v3/key")
    assert (answer.status_code, answer.json()["status"]["error_code"]) == (401, 10002)
