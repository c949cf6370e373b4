"""The summary against plain SQL, and that it is remembered for a moment."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pyarrow.parquet
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.api.conftest import ADMIN_KEY, client_to, service, settings_of
from trinity.vocabulary import LATENCY_BOUNDS_NS, LATENCY_BUCKETS
from workers.api.base.parameters import TimeSpan
from workers.api.usage.export import MEDIA_TYPES
from workers.api.usage.summary import quantile_us, summary_of

SPAN = {"from": "2026-03-27T05:17:00Z", "to": "2026-03-30T21:43:00Z"}


async def test_the_summary_is_what_sql_counts(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """Whole, statuses, protocols and assets of the same rows."""
    report = (await usage_client.get("/reports/summary", params=SPAN)).json()
    with psycopg.connect(usage_url) as connection:

        def count(what: str) -> dict[Any, int]:
            statement = f"SELECT {what}, count(*) FROM usage_log WHERE time >= %(from)s AND time < %(to)s GROUP BY 1"
            return dict(connection.execute(statement, SPAN).fetchall())  # type: ignore[arg-type]

        statuses = count("status::text")
        assert report["statuses"] == statuses
        assert report["requests"] == sum(statuses.values()) == report["lookups"]
        assert report["errors"] == sum(number for status, number in statuses.items() if status != "200")
        assert report["protocols"] == count("(ARRAY['http','udp_text','udp_json','udp_binary'])[protocol + 1]")
        assets = count("(SELECT name FROM assets WHERE id = asset_id)")
        top = sorted(assets.values(), reverse=True)[:10]
    assert list(report["top_assets"].values()) == top
    assert report["latency_us"]["p50"] <= report["latency_us"]["p90"] <= report["latency_us"]["p99"]


async def test_a_period_is_an_alternative_to_from_and_to(usage_client: httpx.AsyncClient) -> None:
    """Both at once are refused; alone it ends now."""
    response = await usage_client.get("/reports/summary", params={**SPAN, "period": "24h"})
    assert (response.status_code, response.json()["field"]) == (400, "period")
    assert (await usage_client.get("/reports/summary?period=93d")).json()["requests"] >= 0


async def test_an_empty_span_is_all_zero(usage_client: httpx.AsyncClient) -> None:
    """No usage is an answer."""
    report = (await usage_client.get("/reports/summary?from=2026-01-01&to=2026-01-02")).json()
    assert (report["requests"], report["errors"], report["statuses"], report["latency_us"]["p99"]) == (0, 0, {}, None)


async def test_the_same_question_is_answered_out_of_memory(usage_url: str, tmp_path: Path) -> None:
    """Without the database, for a moment."""
    async with service(settings_of(tmp_path, database_url=usage_url)) as (parts, app), client_to(app) as client:
        headers = {"X-API-Key": ADMIN_KEY}
        first = await client.get("/reports/summary", params=SPAN, headers=headers)
        await parts.pool.close()
        assert (await client.get("/reports/summary", params=SPAN, headers=headers)).content == first.content


def test_rows_without_a_name_are_no_asset() -> None:
    """Lists of prices and requests without an asset are in the whole only."""
    rows = [(part, name, 5, 5, 5_000, 4, [0, 5, *[0] * 13]) for part, name in ((7, "0"), (6, ""), (6, "BTC"))]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = summary_of(rows, {"minute_from": now, "minute_to": now}, TimeSpan(now, now, ZoneInfo("UTC")))
    assert (found["requests"], found["billable"], found["top_assets"]) == (5, 4, {"BTC": 5})
    assert found["latency_us"] == {"mean": 1.0, "p50": 1.5, "p90": 1.9, "p99": 1.99}


@given(
    st.lists(st.integers(0, 10**6), min_size=LATENCY_BUCKETS, max_size=LATENCY_BUCKETS).filter(any),
    st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]),
)
def test_a_quantile_lies_in_its_bucket(buckets: list[int], share: float) -> None:
    """As many requests as the share says are in the buckets up to its own, and fewer in those before."""
    found_ns = quantile_us(buckets, share) * 1000
    before = sum(count for count, bound in zip(buckets, LATENCY_BOUNDS_NS, strict=False) if bound < found_ns - 1)
    assert before <= share * sum(buckets) + 1e-6
    assert 0 <= found_ns <= LATENCY_BOUNDS_NS[-1]


def test_database_and_service_reckon_the_same(usage_url: str) -> None:
    """Empty buckets, one bucket, the open one."""
    with psycopg.connect(usage_url) as connection:
        for buckets in ([0] * 14 + [3], [7] + [0] * 14, list(range(15)), [1, 0] * 7 + [1]):
            for share in (0.5, 0.9, 0.999):
                row = connection.execute(
                    "SELECT round((latency_quantile(%s, %s, %s) / 1000)::numeric, 3)::float8",
                    [buckets, list(LATENCY_BOUNDS_NS), share],
                ).fetchone()
                assert row is not None
                assert abs(row[0] - quantile_us(buckets, share)) <= 0.001


async def test_a_summary_is_a_table_as_well(usage_client: httpx.AsyncClient) -> None:
    """CSV and Parquet say the same as JSON."""
    report = (await usage_client.get("/reports/summary", params=SPAN)).json()
    text = (await usage_client.get("/reports/summary", params={**SPAN, "format": "csv"})).text
    rows = list(csv.DictReader(io.StringIO(text)))
    parquet = await usage_client.get("/reports/summary", params=SPAN, headers={"Accept": MEDIA_TYPES["parquet"]})
    assert [row["requests"] for row in pyarrow.parquet.read_table(io.BytesIO(parquet.content)).to_pylist()] == [
        int(row["requests"]) for row in rows
    ]
    found = {part: {row["member"]: int(row["requests"]) for row in rows if row["part"] == part} for part in
             ("all", "status", "protocol", "asset")}  # fmt: skip
    assert found["all"] == {"all": report["requests"]}
    assert float(rows[0]["latency_mean_us"]) == report["latency_us"]["mean"]
    assert (found["status"], found["protocol"]) == (report["statuses"], report["protocols"])
    assert list(found["asset"].items())[:10] == list(report["top_assets"].items())
