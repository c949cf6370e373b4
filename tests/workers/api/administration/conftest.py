"""The reporting service over a migrated database of the test's own, and its operator, signed in as on the page."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from workers.api.accounts.signin import TOKEN_COOKIE

PAGE = {"Origin": "http://reports", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def operator(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in, with the token and the headers of a page of this service."""
    async with client_of(settings_of(tmp_path, database_url=database_url)) as client:
        assert (await client.post("/session", json={"key": ADMIN_KEY})).status_code == 200
        client.headers.update({"X-CSRF-Token": client.cookies[TOKEN_COOKIE], **PAGE})
        yield client


async def change(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    """A change that succeeds; its answer."""
    answer = await client.post(f"/administration/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def refused(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, str | None, str]:
    """A change that fails: status, field, sentence."""
    answer = await client.post(f"/administration/{path}", json=body)
    assert answer.status_code >= 400, answer.text
    problem = answer.json()
    return answer.status_code, problem.get("field"), problem["detail"]


async def listed(client: httpx.AsyncClient, path: str, **parameters: str | int) -> Any:
    answer = await client.get(f"/administration/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()
