"""Logins of people: what each role may ask for, and that a revoked one is out within a second."""

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest

from tests.support.clocks import ManualClock
from tests.workers.api.conftest import ADMIN_KEY, application_of, client_to, opened, settings_of
from trinity.access import logins
from workers.api.accounts.signin import KEY_COOKIE, SESSION_COOKIE, TOKEN_COOKIE
from workers.api.base.callers.auth import BILLING_PATHS
from workers.api.base.callers.logins import LOGIN_BELIEVED_NS, Logins
from workers.api.base.callers.throttle import TRIES_AT_ONCE

# What anybody may read, who they are notwithstanding.
PUBLIC = ("/docs", "/openapi.json", "/v1/docs", "/v1/openapi.json")


class People(NamedTuple):
    """A database with a login of each role, and their secrets."""

    connection: "psycopg.Connection[object]"
    url: str
    billing: str
    operator: str


@pytest.fixture
def people(database_url: str) -> Iterator[People]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        secrets = [
            logins.create(connection, name, role)[1] for name, role in (("Anna", "billing"), ("Olga", "operator"))
        ]
        yield People(connection, database_url, *secrets)


@contextlib.asynccontextmanager
async def _client(people: People, tmp_path: Path, **changes: object) -> AsyncIterator[httpx.AsyncClient]:
    settings = settings_of(tmp_path, database_url=people.url, **changes)
    async with opened(settings) as made, client_to(application_of(made)) as client:
        yield client


async def test_who_bills_reads_bills_and_nothing_else(people: People, tmp_path: Path) -> None:
    """Every route of the document, with the secret as a header: reports are read, all others refused for the role."""
    async with _client(people, tmp_path, auth="optional") as client:
        document = (await client.get("/openapi.json")).json()
        client.headers["X-API-Key"] = people.billing
        asked = 0
        for path, item in document["paths"].items():
            bare = path.removeprefix("/v1")
            # What has servers of its own is of another port.
            if "servers" in item or bare in PUBLIC or any(bare.startswith(root) for root in BILLING_PATHS):
                continue
            for method in item:
                filled = re.sub(r"{[^}]*}", "1", path.replace("{order_id}", str(uuid.UUID(int=1))))
                response = await client.request(method, filled, json={})
                if response.status_code in (400, 422):  # refused for a parameter before anybody looked who asks
                    continue
                assert (response.status_code, response.json()["code"]) == (403, "not_your_role"), (method, path)
                asked += 1
        assert asked > 5
        month = f"{datetime.now(UTC):%Y-%m}"
        for path in (
            f"billing?month={month}",
            "accounts",
            "plans",
            "summary",
            "usage",
            "top",
            "latency",
            "log",
            "errors",
        ):
            assert (await client.get(f"/reports/{path}")).status_code == 200, path
        assert (await client.get("/account")).json()["kind"] == "billing"


async def test_a_login_of_the_operator_is_the_operator(people: People, tmp_path: Path) -> None:
    """It may what ADMIN_KEY may, also where there is none; others may not."""
    async with _client(people, tmp_path, admin_key=None) as client:
        for secret, status in ((people.operator, 200), (people.billing, 403)):
            response = await client.get("/node/inside", headers={"X-API-Key": secret})
            assert response.status_code == status
        assert (await client.get("/node/inside", headers={"X-API-Key": ADMIN_KEY})).status_code == 401


async def test_name_and_secret_open_a_session_that_knows_the_role(people: People, tmp_path: Path) -> None:
    """Until it is ended or the login revoked: then within a second, for whoever has the cookie."""
    async with _client(people, tmp_path, admin_key=None) as client:
        answer = await client.post("/session", json={"name": " Anna ", "key": people.billing})
        expected = {"kind": "billing", "may_read": False, "key_id": None, "name": "Anna"}
        assert (answer.status_code, answer.json()) == (200, expected)
        assert KEY_COOKIE in client.cookies
        assert SESSION_COOKIE not in client.cookies
        assert (await client.get("/reports/accounts")).status_code == 200
        assert (await client.get("/node/inside")).json()["code"] == "not_your_role"
        assert (await client.get("/session")).json()["name"] == "Anna"
        token = {"X-CSRF-Token": client.cookies[TOKEN_COOKIE]}
        logins.revoke(people.connection, "Anna")  # type: ignore[arg-type]
        async with asyncio.timeout(60):  # what is known of a login is believed for a second
            while (response := await client.get("/reports/accounts", headers=token)).status_code == 200:
                await asyncio.sleep(0.02)
        assert (response.status_code, response.json()["code"]) == (403, "login_revoked")
        assert (await client.get("/session")).json()["kind"] == "anonymous"


@pytest.mark.parametrize("name", ["", "Bert", "Olga", "anna"])
async def test_a_secret_without_its_name_signs_nobody_in(people: People, tmp_path: Path, name: str) -> None:
    """It is a guess like a wrong key, and slowed down as one; then the right one has to wait as well."""
    async with _client(people, tmp_path) as client:
        for _ in range(TRIES_AT_ONCE):
            answer = await client.post("/session", json={"name": name, "key": people.billing})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
        answer = await client.post("/session", json={"name": "Anna", "key": people.billing})
        assert answer.status_code == 429


async def test_wrong_secrets_are_guesses(people: People, tmp_path: Path) -> None:
    """As wrong keys are."""
    async with _client(people, tmp_path) as client:
        statuses = [
            (await client.get("/account", headers={"X-API-Key": f"trl_{number}"})).status_code
            for number in range(TRIES_AT_ONCE + 1)
        ]
        assert statuses == [401] * TRIES_AT_ONCE + [429]


async def test_a_login_is_believed_for_a_second(people: People, tmp_path: Path) -> None:
    """A burst costs one question; then the database is asked again, and knows that it is revoked."""
    clock = ManualClock(10 * LOGIN_BELIEVED_NS, 0)
    async with opened(settings_of(tmp_path, database_url=people.url)) as made:
        found = Logins(made.parts.pool, clock)
        row = people.connection.execute("SELECT digest FROM logins WHERE name = 'Anna'").fetchone()
        digest = bytes(row[0])  # type: ignore[index]
        assert (first := await found.find(digest)) is not None
        assert not first.is_revoked
        logins.revoke(people.connection, "Anna")  # type: ignore[arg-type]
        clock.now_ns += LOGIN_BELIEVED_NS - 1
        assert await found.find(digest) == first
        clock.now_ns += 1
        assert (after := await found.find(digest)) is not None
        assert after.is_revoked
        assert await found.find(bytes(32)) is None
