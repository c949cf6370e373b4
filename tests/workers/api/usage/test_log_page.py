"""Pages of single requests: none is missed, none comes twice, and cursors are only cursors."""

import base64
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.store.queries import load
from trinity.vocabulary import CODE_OK, HTTP_STATUSES
from workers.api.base.parameters import SPAN_DAYS_MAX
from workers.api.base.problems import ProblemError
from workers.api.usage import log_page
from workers.api.usage.log_page import Cursor, decode_cursor, encode_cursor
from workers.request import ledger
from workers.request.http import response
from workers.request.udp import problems as datagram_problems

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


async def test_every_request_says_whose_it_is(usage_client: httpx.AsyncClient) -> None:
    """By the account's name, on a page and in a file; an account is asked for by its name as well as by its number."""
    page = (await usage_client.get("/reports/log", params={**SPAN, "account": "account 2"})).json()
    assert {(row["key_id"], row["account"]) for row in page["rows"]} == {(2, "account 2")}
    file = await usage_client.get("/reports/log", params={**SPAN, "account": 2, "format": "csv"})
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert {(row["key_id"], row["account"]) for row in rows} == {("2", "account 2")}
    assert len(rows) == len(await _walk(usage_client, limit=1_000, account="account 2"))


def test_a_file_of_single_requests_is_not_sorted_as_a_whole(usage_url: str) -> None:
    """Its first rows are sent while the last ones are still read."""
    parameters: dict[str, Any] = dict.fromkeys(
        ("key_ids", "status", "assets", "limit", "codes", "protocols", "sources")
    )
    parameters |= {"start": datetime(2026, 3, 28, tzinfo=UTC), "end": datetime(2026, 3, 30, tzinfo=UTC)}
    parameters["errors_only"] = False
    with psycopg.connect(usage_url) as connection:
        lines = connection.execute(f"EXPLAIN {load('reports.log_rows')}", parameters).fetchall()  # type: ignore[arg-type]
    plan = "\n".join(line for (line,) in lines)
    assert "Incremental Sort" in plan


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001
    st.timedeltas(timedelta(seconds=1), timedelta(days=100)),
    st.floats(0, 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 9),
)
def test_a_cursor_is_its_position(
    start: datetime, length: timedelta, share: float, request_id: int, node_id: int
) -> None:
    """There and back, with its span."""
    start = start.replace(tzinfo=UTC)
    cursor = Cursor(start, start + length, start + length * share, request_id, node_id)
    assert decode_cursor(encode_cursor(cursor)) == cursor


@given(st.text() | st.binary(min_size=34, max_size=34).map(lambda octets: base64.urlsafe_b64encode(octets).decode()))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    """Never an error, and never a span that could not be asked for."""
    refusal = cursor = None
    try:
        cursor = decode_cursor(text)
    except ProblemError as error:
        refusal = error
    assert (cursor is None) != (refusal is None)
    assert refusal is None or refusal.field == "cursor"
    assert cursor is None or cursor.end - cursor.start <= timedelta(days=SPAN_DAYS_MAX)


async def test_a_cursor_of_another_span_and_a_page_too_large_are_refused(usage_client: httpx.AsyncClient) -> None:
    """Both are named; CSV has no pages."""
    january = datetime(2026, 1, 1, tzinfo=UTC)
    cursor = encode_cursor(Cursor(january, january + timedelta(days=1), january, 1, 1))
    for query, field in (
        (f"cursor={cursor}", "cursor"), ("limit=5000", "limit"), (f"cursor={cursor}&format=csv", "cursor"),
    ):  # fmt: skip
        response = await usage_client.get(f"/reports/log?from=2026-03-28&to=2026-03-29&{query}")
        assert (response.status_code, response.json()["field"]) == (400, field)


async def test_a_cursor_alone_goes_on_in_its_span(usage_client: httpx.AsyncClient) -> None:
    """`next` is followed without repeating the span, which the page then says itself."""
    first = (await usage_client.get("/reports/log", params={**SPAN, "limit": 50})).json()
    for following in ({**SPAN}, {}):
        parameters = {**following, "cursor": first["next"], "limit": "50"}
        page = (await usage_client.get("/reports/log", params=parameters)).json()
        assert (page["from"], page["to"]) == (first["from"], first["to"])
        assert len(page["rows"]) == 50
        assert page["rows"][0]["time"] <= first["rows"][-1]["time"]


async def test_a_page_has_one_deadline(usage_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many windows it looks into."""
    slow = "SELECT 1 FROM pg_sleep(0.2) OFFSET 1"
    monkeypatch.setattr(log_page, "PAGE_SECONDS", 0.3)
    monkeypatch.setattr(log_page, "load", lambda _: slow)
    response = await usage_client.get("/reports/log?from=2026-01-01&to=2026-03-31")
    assert (response.status_code, response.json()["code"]) == (503, "query_timeout")


def test_every_answer_with_the_status_of_an_error_has_a_code() -> None:
    """So the narrow index of errors holds all that a filter by such a status can find."""
    statuses, codes = np.array([int(status) for status in HTTP_STATUSES]), []
    for status, code in (
        (ledger._STATUS_OF_VERDICT, ledger._CODE_OF_VERDICT),
        (datagram_problems._PROBLEM_STATUS, datagram_problems._PROBLEM_CODE),
        (response._ERROR_STATUS, response._ERROR_CODE),
    ):
        assert ((statuses[status] >= 400) == (code != CODE_OK)).all()
        codes.append(code)
    assert len(codes) == 3
