"""Who calls: where a key may stand, what no key is, and what happens without a database."""

import contextlib
import hashlib
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.api.conftest import ADMIN_KEY, client_of, client_to, service, settings_of, table_of, tables_of
from trinity.limits import API_KEY_BYTES_MAX
from workers.api.base.callers.auth import ADMIN, ANONYMOUS, ApiCaller, digest_of, require_usage_reader
from workers.api.base.callers.throttle import TRIES_AT_ONCE, TRY_AGAIN_SECONDS
from workers.api.base.problems import ProblemError
from workers.api.server import POOL_CONNECTIONS_MAX


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"X-API-Key": ADMIN_KEY}, ""),
        ({"Authorization": f"Bearer {ADMIN_KEY}"}, ""),
        ({"authorization": f"bearer  {ADMIN_KEY} "}, ""),
        ({}, f"?api_key={ADMIN_KEY}"),
    ],
)
async def test_a_key_is_found_where_it_may_stand(
    optional_client: httpx.AsyncClient, headers: dict[str, str], query: str
) -> None:
    """In a header of its own, as Bearer, in the query."""
    assert (await optional_client.get(f"/account{query}", headers=headers)).json() == {"kind": "admin"}


@pytest.mark.parametrize("query", ["%ff%fe", "%C3%BC", "a%20b", "%00", "x" * (API_KEY_BYTES_MAX + 1)])
async def test_what_no_key_looks_like_is_invalid(optional_client: httpx.AsyncClient, query: str) -> None:
    """Bytes outside ASCII, blanks and zeros are a 401, never an error."""
    response = await optional_client.get(f"/account?api_key={query}")
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")


async def test_a_header_that_is_not_ascii_is_invalid(optional_client: httpx.AsyncClient) -> None:
    """Raw bytes in a header cannot break the comparison."""
    response = await optional_client.get("/account", headers={"X-API-Key": b"\xff\xfe"})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")


async def test_a_key_that_nobody_can_look_up_is_not_refused_as_wrong(optional_client: httpx.AsyncClient) -> None:
    """With the database down the answer is 503 with its own code."""
    response = await optional_client.get("/account", headers={"X-API-Key": "some-key"})
    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert "some-key" not in response.text


@given(st.text())
def test_a_digest_is_sha256_of_printable_ascii(key: str) -> None:
    """Everything else has none."""
    valid = 0 < len(key) <= API_KEY_BYTES_MAX and all(0x21 <= ord(letter) <= 0x7E for letter in key)
    assert digest_of(key) == (hashlib.sha256(key.encode()).digest() if valid else None)


def test_usage_is_never_public() -> None:
    """A key reads its usage, the operator reads all, nobody else reads any."""
    require_usage_reader(ADMIN)
    require_usage_reader(ApiCaller("key", 1, 2))
    with pytest.raises(ProblemError, match="missing_key"):
        require_usage_reader(ANONYMOUS)


async def test_a_key_whose_account_nobody_knows_gets_no_half_report(usage_url: str, tmp_path: Path) -> None:
    """All connections are taken: the node's table says that the key is good, and the report is a 503."""
    async with (
        service(settings_of(tmp_path, database_url=usage_url), tables_of(table_of("key-1"))) as (parts, app),
        contextlib.AsyncExitStack() as held,
        client_to(app) as client,
    ):
        for _ in range(POOL_CONNECTIONS_MAX):
            await held.enter_async_context(parts.pool.connection())
        response = await client.get("/reports/summary", headers={"X-API-Key": "key-1"})
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        found = (await client.get("/account", headers={"X-API-Key": "key-1"})).json()
        assert set(found) == {"kind", "key_id", "limits"}, "what this node knows by itself"
        assert (await client.get("/account", headers={"X-API-Key": "wrong"})).status_code == 401


async def test_guessing_is_slowed_down_wherever_the_key_stands(tmp_path: Path) -> None:
    """ADMIN_KEY itself is no longer taken from that address, a customer's key is, and other addresses do not wait."""
    async with (
        service(settings_of(tmp_path, trusted_proxies=("127.0.0.1",)), tables_of(table_of("good"))) as (_, app),
        client_to(app) as client,
    ):

        async def ask(key: str, address: str, path: str = "/account") -> httpx.Response:
            return await client.get(path, headers={"X-API-Key": key, "X-Forwarded-For": address})

        for number in range(TRIES_AT_ONCE):
            path = ("/account", "/stream/prices", "/nowhere", "/reports/summary", "/history?asset=BTC")[number % 5]
            assert (await ask(f"guess-{number}", f"2001:db8::{number}", path)).status_code in (401, 404)
        assert (await ask("guess", "2001:db8::77")).status_code == 401  # the path that is none looked at no key
        for key in ("guess", ADMIN_KEY, "x" * 200):
            response = await ask(key, "2001:db8::78")
            assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
            assert 0 < int(response.headers["Retry-After"]) <= TRY_AGAIN_SECONDS
        assert (await ask("good", "2001:db8::78")).status_code == 200
        assert (await ask(ADMIN_KEY, "2001:db8:1::")).status_code == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?api_key=a", [("X-API-Key", "b")]),
        ("", [("X-API-Key", "a"), ("X-API-Key", "a")]),
        ("", [("X-API-Key", "a"), ("Authorization", "Bearer a")]),
        ("?api_key=a", [("X-CG-Demo-API-Key", "b")]),
        ("?api_key=a", [("Authorization", "Bearer b")]),
    ],
)
async def test_several_keys_in_one_call_are_refused(
    optional_client: httpx.AsyncClient, query: str, headers: list[tuple[str, str]]
) -> None:
    """As on 8080: nobody guesses which one was meant."""
    for path in ("/account", "/stream/prices"):
        answer = await optional_client.get(f"{path}{query}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?api_key=", {}),
        ("?x_cg_demo_api_key=", {}),
        ("", {"X-API-Key": ""}),
        ("", {"Authorization": "Bearer "}),
        ("", {"Authorization": "Bearer"}),
    ],
)
async def test_an_empty_key_alone_is_no_key(tmp_path: Path, query: str, headers: dict[str, str]) -> None:
    """It is what a form sends that nobody filled in: no guess, and beside another one of several."""
    for auth, status, code in (("optional", 200, None), ("required", 401, "missing_key")):
        async with client_of(settings_of(tmp_path, auth=auth)) as client:
            for _ in range(2 * TRIES_AT_ONCE):
                answer = await client.get(f"/api/v3/ping{query}", headers=headers)
                assert (answer.status_code, answer.headers.get("Retry-After")) == (status, None)
            beside = await client.get(f"/api/v3/ping{query}", headers=[*headers.items(), ("X-API-Key", ADMIN_KEY)])
            assert beside.status_code == 400, code


async def test_answers_about_an_account_are_kept_by_nobody(optional_client: httpx.AsyncClient) -> None:
    """Refusals too; the page alone may be asked for again by its mark."""
    for path, status in (("/account", 200), ("/session", 200), ("/reports/usage", 401), ("/nothing", 404)):
        answer = await optional_client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
    assert (await optional_client.get("/")).headers["cache-control"] == "no-cache"
