"""Pages of single requests: none is missed, none comes twice, and cursors are only cursors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.reports.log_page import decode_cursor, encode_cursor
from workers.reports.problems import RefusedError

SPAN = {"from": "2026-03-28", "to": "2026-03-29"}


async def _walk(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = await client.get("/reports/log", params={**SPAN, **parameters, **cursor})
        page = response.json()
        found += [row["request_id"] for row in page["rows"]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({}, "true"),
        ({"key": 2}, "key_id = 2"),
        ({"account": 1, "status": 429}, "key_id = 1 AND status = 429"),
        ({"asset": "a0,A1"}, "asset_id IN (SELECT id FROM assets WHERE name IN ('A0', 'A1'))"),
    ],
)
async def test_pages_together_are_every_request_once(
    usage_client: httpx.AsyncClient, usage_url: str, parameters: dict[str, Any], where: str
) -> None:
    """Newest first, under every filter."""
    with psycopg.connect(usage_url) as connection:
        rows = connection.execute(
            "SELECT lpad(to_hex(request_id), 16, '0') FROM usage_log WHERE time >= '2026-03-28Z' AND "
            f"time < '2026-03-29Z' AND {where} ORDER BY time DESC, request_id DESC"
        ).fetchall()
    assert await _walk(usage_client, limit=700, **parameters) == [row[0] for row in rows]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-(2**63), 2**63 - 1), st.integers(0, 9))  # noqa: DTZ001
def test_a_cursor_is_its_position(moment: datetime, request_id: int, node_id: int) -> None:
    """There and back."""
    position = (moment.replace(tzinfo=UTC), request_id, node_id)
    assert decode_cursor(encode_cursor(position)) == position


@given(st.text())
def test_any_other_text_is_refused_by_name(text: str) -> None:
    """Never an error."""
    refusal = None
    try:
        assert decode_cursor(text)[0] - datetime(1970, 1, 1, tzinfo=UTC) != timedelta.max
    except RefusedError as error:
        refusal = error
    assert refusal is None or refusal.field == "cursor"


async def test_a_cursor_of_another_span_and_a_page_too_large_are_refused(usage_client: httpx.AsyncClient) -> None:
    """Both are named; CSV has no pages."""
    cursor = encode_cursor((datetime(2026, 1, 1, tzinfo=UTC), 1, 1))
    for query, field in (
        (f"cursor={cursor}", "cursor"), ("limit=5000", "limit"), (f"cursor={cursor}&format=csv", "cursor"),
    ):  # fmt: skip
        response = await usage_client.get(f"/reports/log?from=2026-03-28&to=2026-03-29&{query}")
        assert (response.status_code, response.json()["field"]) == (400, field)
