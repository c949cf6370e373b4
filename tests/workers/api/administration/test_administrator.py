"""workers/api/administration/administrator.py: who may change something, and how it is written down."""

from pathlib import Path

import httpx
import pytest

from tests.workers.api.administration.conftest import PAGE, change, listed
from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from workers.api.accounts.signin import TOKEN_COOKIE

KEYS = "/administration/keys"
NEW = {"account": "acme"}


async def test_only_the_operator_may(operator: httpx.AsyncClient) -> None:
    """A customer and somebody without a key read nothing and change nothing, on any route."""
    key = (await change(operator, "keys", **NEW))["api_key"]
    operator.cookies.clear()
    paths = (await operator.get("/openapi.json")).json()["paths"]
    asked = 0
    for headers, status in (({}, 401), ({"X-API-Key": key}, 403)):
        for path, methods in paths.items():
            for method in methods if path.startswith("/v1/administration") else ():
                url = path.format(key="1", plan="free", account="acme", name="x")
                answer = await operator.request(method, url, json=NEW, headers=headers)
                assert answer.status_code == status, (method, path)
                asked += 1
    assert asked >= 2 * 13
    operator.headers["X-API-Key"] = ADMIN_KEY
    assert len((await listed(operator, "audit"))["entries"]) == 2, "the key and its account"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 201, None),
        ({"X-CSRF-Token": "0"}, 403, "csrf"),
        ({"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}, 403, "foreign_origin"),
        ({"Content-Type": "text/plain"}, 415, "body_not_accepted"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "body_not_accepted"),
    ],
)
async def test_no_other_site_changes_anything(
    operator: httpx.AsyncClient, headers: dict[str, str], status: int, code: str | None
) -> None:
    """With the operator's cookie alone, from another origin or as a form, a change is refused and not made."""
    sent = {"Content-Type": "application/json", **headers}
    answer = await operator.post(KEYS, content=b'{"account": "acme"}', headers=sent)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert len((await listed(operator, "keys"))["keys"]) == (status == 201)


async def test_each_change_is_written_down_with_who_made_it(database_url: str, tmp_path: Path) -> None:
    """By a page's session or by ADMIN_KEY alone; the address is that which a trusted proxy names; never a secret."""
    settings = settings_of(tmp_path, database_url=database_url, trusted_proxies=("127.0.0.1",))
    async with client_of(settings) as client:
        client.headers["X-Forwarded-For"] = "203.0.113.9"
        answer = await client.post(KEYS, json=NEW, headers={"X-API-Key": ADMIN_KEY})
        await client.post("/session", json={"key": ADMIN_KEY})
        client.headers.update({"X-CSRF-Token": client.cookies[TOKEN_COOKIE], **PAGE})
        await change(client, "keys/1/suspend")
        page = await listed(client, "audit")
        suspended, made, _ = page["entries"]
        assert (suspended["actor"], suspended["via"], suspended["address"]) == ("admin", "page", "203.0.113.9")
        assert (suspended["action"], suspended["before"]) == ("keys suspend", {"state": "active"})
        assert (made["actor"], made["via"], made["action"]) == ("admin", "api", "keys create")
        assert answer.json()["api_key"][12:] not in str(page)
        assert ADMIN_KEY not in str(page)


async def test_without_the_database_nothing_is_changed_and_it_says_so(tmp_path: Path) -> None:
    """503 with its own code, after the values were checked."""
    async with client_of(settings_of(tmp_path)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        assert (await client.post(KEYS, json={"account": ""})).json()["field"] == "account"
        answer = await client.post(KEYS, json=NEW)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
