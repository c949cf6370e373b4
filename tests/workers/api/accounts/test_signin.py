"""workers/api/accounts/signin.py"""

from pathlib import Path

import httpx
import pytest

from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from workers.api.accounts.signin import KEY_COOKIE, SESSION_COOKIE, TOKEN_COOKIE
from workers.api.base.callers.throttle import TRIES_AT_ONCE


async def test_the_admin_key_opens_a_session_that_makes_the_caller_the_operator(
    optional_client: httpx.AsyncClient,
) -> None:
    """After the login the cookie alone is enough to read, until it is ended."""
    assert (await optional_client.get("/session")).json()["kind"] == "anonymous"
    answer = await optional_client.post("/session", json={"key": ADMIN_KEY})
    assert (answer.status_code, answer.json()) == (200, {"kind": "admin", "may_read": True, "key_id": None})
    cookies = answer.headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith(SESSION_COOKIE))
    assert "HttpOnly" in session
    assert "samesite=strict" in session.lower()
    assert ADMIN_KEY not in str(cookies)
    assert (await optional_client.get("/account")).json()["kind"] == "admin"
    token = {"X-CSRF-Token": optional_client.cookies[TOKEN_COOKIE]}
    assert (await optional_client.post("/session/end", headers=token)).status_code == 200
    assert (await optional_client.get("/account")).json()["kind"] == "anonymous"


async def test_a_change_without_its_token_is_refused(optional_client: httpx.AsyncClient) -> None:
    """Another site can make a browser send the cookie, but not the token."""
    await optional_client.post("/session", json={"key": ADMIN_KEY})
    for headers in ({}, {"X-CSRF-Token": "0" * 64}):
        answer = await optional_client.post("/session/end", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


@pytest.mark.parametrize("body", [{}, {"key": 1}, {"key": ADMIN_KEY, "more": 1}, [], "x"])
async def test_a_malformed_login_is_a_typed_400(optional_client: httpx.AsyncClient, body: object) -> None:
    """Nothing but {"key": text} is a login."""
    answer = await optional_client.post("/session", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


async def test_guessing_the_admin_key_is_slowed_down(optional_client: httpx.AsyncClient) -> None:
    """Wrong keys, also with any bytes, are 401s; after a few of them the address has to wait."""
    for guess in ["ü", "é", "x" * 1000, "' OR 1=1 --", "\u0000"][:TRIES_AT_ONCE]:
        assert (await optional_client.post("/session", json={"key": guess})).status_code == 401
    answer = await optional_client.post("/session", json={"key": ADMIN_KEY})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


async def test_an_empty_key_signs_nobody_in_and_is_no_guess(optional_client: httpx.AsyncClient) -> None:
    """A form that nobody filled in is told which field, as often as it comes."""
    for _ in range(2 * TRIES_AT_ONCE):
        answer = await optional_client.post("/session", json={"key": ""})
        assert (answer.status_code, answer.json()["field"]) == (400, "key")


async def test_an_api_key_opens_a_session_of_its_account(usage_url: str, tmp_path: Path) -> None:
    """Where keys are required a browser reads nothing before, its account's usage after, never the inside."""
    async with client_of(settings_of(tmp_path, database_url=usage_url)) as client:
        assert (await client.get("/session")).json() == {"kind": "anonymous", "may_read": False, "key_id": None}
        assert (await client.post("/session", json={"key": "key-9999"})).status_code == 401
        answer = await client.post("/session", json={"key": "key-2"})
        assert (answer.status_code, answer.json()) == (200, {"kind": "key", "may_read": True, "key_id": 2})
        cookies = answer.headers.get_list("set-cookie")
        assert "HttpOnly" in next(cookie for cookie in cookies if cookie.startswith(KEY_COOKIE))
        assert (await client.get("/session")).json()["key_id"] == 2
        assert (await client.get("/account")).json()["key_id"] == 2
        assert (await client.get("/node")).status_code == 200
        assert (await client.get("/node/inside")).status_code == 403
        assert (await client.get("/account", headers={"X-API-Key": ADMIN_KEY})).json()["kind"] == "admin"
        assert (await client.post("/session/end")).json()["code"] == "csrf"
        token = {"X-CSRF-Token": client.cookies[TOKEN_COOKIE]}
        assert (await client.post("/session/end", headers=token)).json()["may_read"] is False
        assert (await client.get("/node")).status_code == 401


async def test_a_session_with_a_key_ends_with_the_key(usage_url: str, tmp_path: Path) -> None:
    """A cookie of a key that nobody has any more is refused, and said to be nobody's where the page asks who it is."""
    async with client_of(settings_of(tmp_path, database_url=usage_url)) as client:
        client.cookies.set(KEY_COOKIE, "key-9999")
        assert (await client.get("/node")).json()["code"] == "invalid_key"
        answer = await client.get("/session")
        assert answer.json()["kind"] == "anonymous"
        assert any(cookie.startswith(f"{KEY_COOKIE}=") for cookie in answer.headers.get_list("set-cookie")), (
            "it is taken away"
        )


async def test_a_node_without_an_admin_key_has_no_operator(tmp_path: Path) -> None:
    """No text opens a session where no key was set."""
    async with client_of(settings_of(tmp_path, admin_key=None)) as client:
        answer = await client.post("/session", json={"key": "ü"})
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_disabled")


@pytest.mark.parametrize("key", [ADMIN_KEY, "key-2"])
async def test_a_session_that_was_ended_is_ended_for_whoever_has_its_cookie(
    usage_url: str, tmp_path: Path, key: str
) -> None:
    """In this process, in another one, and after a restart; another session of the same key goes on."""
    settings = settings_of(tmp_path, database_url=usage_url)
    async with client_of(settings) as client, client_of(settings) as other, client_of(settings) as second:
        await second.post("/session", json={"key": key})
        await client.post("/session", json={"key": key})
        stolen = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        assert (await other.get("/node", headers=stolen)).status_code == 200
        token = {"X-CSRF-Token": client.cookies[TOKEN_COOKIE]}
        assert (await client.post("/session/end", headers=token)).status_code == 200
        for each in (client, other):
            assert (await each.get("/node", headers=stolen)).status_code == 401
            assert (await each.get("/session", headers=stolen)).json()["kind"] == "anonymous"
        assert (await second.get("/node")).status_code == 200
    async with client_of(settings) as restarted:
        assert (await restarted.get("/node", headers=stolen)).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "body_not_accepted"),
        ({"Content-Type": "application/json", "Origin": "https://elsewhere.example"}, 403, "foreign_origin"),
        ({"Content-Type": "application/json", "Origin": "null"}, 403, "foreign_origin"),
        ({"Content-Type": "application/json", "Origin": "http://reports"}, 200, None),
        (
            {"Content-Type": "application/json", "Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"},
            200,
            None,
        ),
        ({"Content-Type": "application/json; charset=utf-8"}, 200, None),
    ],
)
async def test_signing_in_is_json_from_this_origin(
    optional_client: httpx.AsyncClient, headers: dict[str, str], status: int, code: str | None
) -> None:
    """A form of another site signs nobody in as somebody else; who is no browser needs no origin."""
    answer = await optional_client.post("/session", content=b'{"key":"%s"}' % ADMIN_KEY.encode(), headers=headers)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert bool(answer.headers.get_list("set-cookie")) == (status == 200)


@pytest.mark.parametrize("depth", [10, 2_000, 20_000])
@pytest.mark.parametrize("form", ["%s", '{"key":%s}', '{"other":%s}'])
async def test_a_nested_body_is_a_400(optional_client: httpx.AsyncClient, depth: int, form: str) -> None:
    """However deep it is: what the parser cannot follow is the sender's fault, and no traceback."""
    body = form % ("[" * depth + "]" * depth)
    answer = await optional_client.post("/session", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] in ("bad_request", "bad_parameter")
