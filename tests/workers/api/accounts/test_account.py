"""What the service says about its caller."""

from pathlib import Path

import httpx

from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of


async def test_the_operator_and_the_anonymous_are_told_so(optional_client: httpx.AsyncClient) -> None:
    """Neither has an account."""
    assert (await optional_client.get("/account")).json() == {"kind": "anonymous"}
    response = await optional_client.get("/account", headers={"X-API-Key": ADMIN_KEY})
    assert response.json() == {"kind": "admin"}


async def test_where_keys_are_required_nobody_is_anonymous(tmp_path: Path) -> None:
    """401 with a code that says what is missing."""
    async with client_of(settings_of(tmp_path)) as client:
        response = await client.get("/account")
        assert (response.status_code, response.json()["code"]) == (401, "missing_key")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
