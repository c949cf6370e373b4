"""workers/reports/signin.py"""

from pathlib import Path

import httpx
import pytest

from tests.workers.reports.conftest import ADMIN_KEY, client_of, settings_of
from workers.reports.session import TRIES_AT_ONCE
from workers.reports.signin import SESSION_COOKIE, TOKEN_COOKIE


async def test_the_admin_key_opens_a_session_that_makes_the_caller_the_operator(
    optional_client: httpx.AsyncClient,
) -> None:
    """After the login the cookie alone is enough to read, until it is ended."""
    assert (await optional_client.get("/session")).json() == {"admin": False}
    answer = await optional_client.post("/session", json={"key": ADMIN_KEY})
    assert (answer.status_code, answer.json()) == (200, {"admin": True})
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
    for guess in ["", "é", "x" * 1000, "' OR 1=1 --", "\u0000"][:TRIES_AT_ONCE]:
        assert (await optional_client.post("/session", json={"key": guess})).status_code == 401
    answer = await optional_client.post("/session", json={"key": ADMIN_KEY})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_node_without_an_admin_key_has_no_operator(tmp_path: Path) -> None:
    """No text opens a session where no key was set."""
    async with client_of(settings_of(tmp_path, admin_key=None)) as client:
        answer = await client.post("/session", json={"key": ""})
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_disabled")
