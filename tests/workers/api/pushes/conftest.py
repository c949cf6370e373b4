"""The reporting service over a migrated database with two customers, and their keys."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from litestar.types import ASGIApp

from tests.workers.api.conftest import ADMIN_KEY, client_to, service, settings_of
from trinity.access import keys
from trinity.access.keys import NewKey

PUBLIC = "https://93.184.216.34/prices"  # an address, so nobody is asked for a name
WANTED = {"target": PUBLIC, "assets": ["BTC", "ETH"], "interval_s": 10}


@pytest.fixture
def customer_keys(database_url: str) -> dict[str, str]:
    """An API key of each customer."""
    with psycopg.connect(database_url) as connection:
        return {name: keys.create(connection, NewKey(name, "free"), 100)[1] for name in ("acme", "rival")}


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[ASGIApp]:
    """A service whose operator allows one private network."""
    settings = settings_of(tmp_path, database_url=database_url, allowed_targets=("127.0.0.0/8",))
    async with service(settings) as (_, found):
        yield found


@pytest.fixture
async def acme(app: ASGIApp, customer_keys: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_to(app) as client:
        client.headers["X-API-Key"] = customer_keys["acme"]
        yield client


@pytest.fixture
async def rival(app: ASGIApp, customer_keys: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_to(app) as client:
        client.headers["X-API-Key"] = customer_keys["rival"]
        yield client


@pytest.fixture
async def operator(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with client_to(app) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        yield client


async def made(client: httpx.AsyncClient, **changes: Any) -> Any:
    """A new subscription and its secret."""
    answer = await client.post("/subscriptions", json=WANTED | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code, field."""
    problem = answer.json()
    return answer.status_code, problem["code"], problem.get("field")
