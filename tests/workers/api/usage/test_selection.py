"""Whose usage: the operator's choice and a key's own; the refusals are tested with the reports."""

from datetime import datetime
from typing import Any

import httpx
import pytest

SPAN = {"from": "2026-03-27", "to": "2026-03-31"}


async def _requests(client: httpx.AsyncClient, key: str | None = None, **parameters: Any) -> int:
    headers = {} if key is None else {"X-API-Key": key}
    response = await client.get("/reports/usage", params={**SPAN, **parameters}, headers=headers)
    rows = response.json()["rows"]
    assert all(datetime.fromisoformat(row["start"]) for row in rows)
    return sum(row["requests"] for row in rows)


async def test_the_parts_make_up_the_whole(usage_client: httpx.AsyncClient) -> None:
    """All keys one by one are the operator's total; an account's usage is that of its key."""
    parts = [await _requests(usage_client, key=f"key-{number}") for number in range(1, 7)]
    assert sum(parts) == await _requests(usage_client)
    assert parts == [await _requests(usage_client, account=number) for number in range(1, 7)]


@pytest.mark.parametrize("number", [1, 6])
async def test_the_operator_can_look_at_one_key(usage_client: httpx.AsyncClient, number: int) -> None:
    """By its id; callers without a key have the id 0."""
    parameters: dict[str, Any] = {"key": number}
    assert (
        await _requests(usage_client, account=number)
        == (await usage_client.get("/reports/summary", params={**SPAN, **parameters})).json()["requests"]
    )
    assert (await usage_client.get("/reports/summary", params={**SPAN, "key": 0})).json()["requests"] == 0
