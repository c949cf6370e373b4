"""Reports against plain SQL over the same rows, in every format and zone, and everything that must be refused."""

import hashlib
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from trinity.vocabulary import CODES, PROTOCOLS
from workers.api.usage.usage import span_of_period

SPAN = {"from": "2026-03-27T05:17:00Z", "to": "2026-03-30T21:43:00Z"}
MEASURES = ("requests", "lookups", "billable", "errors")
MEMBERS = {
    "all": "'all'", "key": "key_id::text",
    "account": "(SELECT account_id::text FROM api_keys WHERE id = key_id)",
    "asset": "(SELECT name FROM assets WHERE id = asset_id)",
    "protocol": "(%(protocols)s::text[])[protocol + 1]", "status": "status::text",
}  # fmt: skip


def _plain(url: str, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    parameters |= {"protocols": list(PROTOCOLS), "codes": list(CODES), **SPAN}
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(statement, parameters).fetchall()


async def _get(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    response = await client.get(path, params={**SPAN, **parameters})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize(
    ("granularity", "group_by"),
    [
        ("day", "key"),
        ("day", "all"),
        ("hour", "protocol"),
        ("minute", "status"),
        ("month", "account"),
        ("hour", "account"),
    ],
)
async def test_usage_is_what_sql_counts(
    usage_client: httpx.AsyncClient, usage_url: str, zone: str, granularity: str, group_by: str
) -> None:
    """Every bucket of every zone, by whatever it is grouped."""
    report = await _get(usage_client, "/reports/usage", tz=zone, granularity=granularity, group_by=group_by)
    rows = [
        (
            datetime.fromisoformat(row["start"]),
            row["group"],
            row["requests"],
            row["lookups"],
            row["billable"],
            row["errors"],
        )
        for row in report["rows"]
    ]
    expected = _plain(
        usage_url,
        f"SELECT date_trunc(%(granularity)s, time, %(zone)s), {MEMBERS[group_by]}, count(*), sum(assets)::bigint, "
        "coalesce(sum(assets) FILTER (WHERE code = 0), 0)::bigint, "
        "count(*) FILTER (WHERE status >= 400) FROM usage_log WHERE time >= %(from)s AND time < %(to)s GROUP BY 1, 2",
        granularity=granularity, zone=zone,
    )  # fmt: skip
    assert sorted(rows) == sorted(expected)


async def test_a_day_has_as_many_hours_as_its_zone_says(usage_client: httpx.AsyncClient) -> None:
    """29 March 2026 has 23 hours in Berlin, and starts and ends with different offsets."""
    day = {"from": "2026-03-29", "to": "2026-03-30", "tz": "Europe/Berlin"}
    report = await _get(usage_client, "/reports/usage", granularity="hour", **day)
    starts = [row["start"] for row in report["rows"]]
    assert (len(starts), starts[0], starts[-1]) == (23, "2026-03-29T00:00:00+01:00", "2026-03-29T23:00:00+02:00")


async def test_every_format_has_the_same_rows(usage_client: httpx.AsyncClient) -> None:
    """JSON, CSV by name and by Accept, Parquet."""
    parameters = {**SPAN, "granularity": "hour", "group_by": "status"}
    rows = (await usage_client.get("/reports/usage", params=parameters)).json()["rows"]
    csv = await usage_client.get("/reports/usage", params=parameters, headers={"Accept": "text/csv"})
    parquet = await usage_client.get("/reports/usage", params={**parameters, "format": "parquet"})
    assert csv.headers["Content-Type"] == "text/csv; charset=utf-8"
    for row in rows:
        row["start"] = datetime.fromisoformat(row["start"])
    text = {"group": pyarrow.string()}
    options = pyarrow.csv.ConvertOptions(column_types=text)
    assert pyarrow.parquet.read_table(io.BytesIO(parquet.content)).to_pylist() == rows
    assert pyarrow.csv.read_csv(io.BytesIO(csv.content), convert_options=options).to_pylist() == rows


async def test_the_busiest_come_first(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """As many as asked for, by requests."""
    report = await _get(usage_client, "/reports/top", by="key", limit=3)
    expected = _plain(
        usage_url,
        "SELECT key_id::text, count(*) FROM usage_log WHERE time >= %(from)s AND time < %(to)s GROUP BY 1 "
        "ORDER BY 2 DESC, key_id::text::integer LIMIT 3",
    )
    assert [(row["group"], row["requests"]) for row in report["rows"]] == expected


async def test_percentiles_lie_in_the_bucket_of_the_true_ones(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """The kept histogram can be off by the width of one bucket, not more."""
    row = (await _get(usage_client, "/reports/latency"))["rows"][0]
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    true = _plain(
        usage_url,
        "SELECT percentile_disc(%(shares)s::float8[]) WITHIN GROUP (ORDER BY latency_ns), avg(latency_ns)::float8 "
        "FROM usage_log WHERE time >= %(from)s AND time < %(to)s",
        shares=list(shares.values()),
    )[0]
    for name, true_ns in zip(shares, true[0], strict=True):
        assert 0.4 <= row[f"latency_{name}_us"] * 1000 / true_ns <= 2.5
    assert row["latency_mean_us"] == pytest.approx(true[1] / 1000, abs=0.001)


async def test_errors_are_counted_by_code(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """With the last time that each was seen."""
    report = await _get(usage_client, "/reports/errors")
    rows = {(row["code"], row["status"], row["protocol"], row["requests"]) for row in report["rows"]}
    expected = _plain(
        usage_url,
        "SELECT (%(codes)s::text[])[code + 1], status, (%(protocols)s::text[])[protocol + 1], count(*) FROM usage_log "
        "WHERE code <> 0 AND time >= %(from)s AND time < %(to)s GROUP BY 1, 2, 3",
    )
    assert rows == set(expected)
    assert rows


async def test_refusals_without_a_key_are_counted_by_their_sums(database_url: str, tmp_path: Path) -> None:
    """Not by the sample in the log: exact, by code and on request by network; a customer sees none of them."""
    missing_key = CODES.index("missing_key")
    log_row = "'2026-03-30T10:00Z', 1, '::ffff:203.0.113.9', 0, 1, 1, 0, 0, 401, 0, 0"
    sums_row = "'2026-03-30T10:00Z', %s, %s, 401, 0, 1, %s, '2026-03-30T10:00:30Z'"
    key_row = "(account_id, plan_id, digest, prefix) VALUES (1, 1, %s, 'k')"
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE refusals PARTITION OF refusal_minute DEFAULT")
        connection.execute("CREATE TABLE log_runs PARTITION OF usage_runs DEFAULT")
        connection.execute("CREATE TEMPORARY TABLE log_rows AS SELECT * FROM usage_log WITH NO DATA")
        connection.execute(f"INSERT INTO log_rows VALUES ({log_row}, %s, 9)", [missing_key])
        connection.execute("SELECT pack_usage('log_rows')")
        for network, requests in (("::ffff:203.0.113.0/120", 900), ("2001:db8::/64", 90), ("::/0", 10)):
            connection.execute(f"INSERT INTO refusal_minute VALUES ({sums_row})", [network, missing_key, requests])
        connection.execute("INSERT INTO accounts (name) VALUES ('a')")
        connection.execute(f"INSERT INTO api_keys {key_row}", [hashlib.sha256(b"key-1").digest()])
    async with client_of(settings_of(tmp_path, database_url=database_url)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        (row,) = (await _get(client, "/reports/errors"))["rows"]
        assert (row["code"], row["status"], row["protocol"], row["requests"]) == ("missing_key", 401, "http", 1000)
        rows = (await client.get("/reports/errors", params={**SPAN, "by": "network"})).json()["rows"]
        assert [(row["network"], row["requests"]) for row in rows] == [
            ("203.0.113.0/24", 900), ("2001:db8::/64", 90), (None, 10),
        ]  # fmt: skip
        (row,) = (await client.get("/reports/log", params=SPAN)).json()["rows"]
        assert (row["code"], row["weight"]) == ("missing_key", 9)
        own = await client.get("/reports/errors", params=SPAN, headers={"X-API-Key": "key-1"})
        assert own.json()["rows"] == []


async def test_a_key_sees_its_own_account_and_nothing_else(usage_client: httpx.AsyncClient, usage_url: str) -> None:
    """Its usage is what SQL counts for it; another account is a 403, another key a 404, an absent one as well."""
    own = {"X-API-Key": "key-2"}
    response = await usage_client.get("/reports/usage", params=SPAN, headers=own)
    counted = _plain(
        usage_url, "SELECT count(*) FROM usage_log WHERE key_id = 2 AND time >= %(from)s AND time < %(to)s"
    )[0][0]
    assert sum(row["requests"] for row in response.json()["rows"]) == counted
    for path in ("usage", "summary", "top", "latency", "log", "errors"):
        for query, status, code in (
            ("account=1", 403, "foreign_account"), ("key=1", 404, "unknown_key"), ("key=0", 404, "unknown_key"),
        ):  # fmt: skip
            response = await usage_client.get(f"/reports/{path}?{query}", headers=own)
            assert (response.status_code, response.json()["code"]) == (status, code)
    for query, code in (
        ("account=999", "unknown_account"),
        ("account=1.5", "unknown_account"),
        ("account=%00", "unknown_account"),
        ("key=999", "unknown_key"),
    ):
        response = await usage_client.get(f"/reports/usage?{query}")
        assert (response.status_code, response.json()["code"]) == (404, code)
    assert (await usage_client.get("/reports/usage?key=2&account=2", headers=own)).status_code == 200


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("group=key", "group", "unknown_parameter"),
        ("tz=UTC&tz=UTC", "tz", "repeated_parameter"),
        ("granularity=week", "granularity", "bad_parameter"),
        ("group_by=address", "group_by", "bad_parameter"),
        ("from=2026-13-01", "from", "bad_parameter"),
        ("from=2026-03-02&to=2026-03-01", "to", "bad_parameter"),
        ("from=2001-01-01&to=2026-03-01", "from", "bad_parameter"),
        ("tz=Nowhere/None", "tz", "bad_parameter"),
        ("key=-1", "key", "bad_parameter"),
        ("key=99999999999999999999", "key", "bad_parameter"),
        ("format=xml", "format", "bad_parameter"),
    ],
)
async def test_what_is_wrong_is_named(usage_client: httpx.AsyncClient, query: str, field: str, code: str) -> None:
    """400 with the parameter's own name."""
    response = await usage_client.get(f"/reports/usage?{query}")
    body = response.json()
    assert (response.status_code, body["field"], body["code"]) == (400, field, code)


_SQL = (
    "'; DROP TABLE usage_log; --",
    "1 OR 1=1",
    "1) UNION SELECT digest FROM api_keys --",
    "%(key)s",
    "\0",
    "$1",
    "{0}",
)


@pytest.mark.parametrize("path", ["usage", "summary", "top", "latency", "log", "errors"])
async def test_sql_in_a_parameter_is_only_text(usage_client: httpx.AsyncClient, usage_url: str, path: str) -> None:
    """Each parameter of each report refuses it by name; nothing is executed."""
    document = (await usage_client.get("/openapi.json")).json()
    names = [parameter["name"] for parameter in document["paths"][f"/v1/reports/{path}"]["get"]["parameters"]]
    assert {"from", "to", "tz", "account", "key"} <= set(names)
    for name in names:
        for text in _SQL:
            response = await usage_client.get(f"/reports/{path}", params={name: text})
            status = 404 if name == "account" else 400  # which may be a name: nobody is called so
            assert (response.status_code, response.json()["field"]) == (status, name), response.text
    assert _plain(usage_url, "SELECT count(*) > 0 FROM usage_log") == [(True,)]


async def test_too_many_assets_are_refused(usage_client: httpx.AsyncClient) -> None:
    """10,000 names in a list."""
    response = await usage_client.get("/reports/log", params={"asset": ",".join(["BTC"] * 10_000)})
    assert (response.status_code, response.json()["code"]) == (400, "too_many_assets")


async def test_usage_is_not_public_where_keys_are_optional(optional_client: httpx.AsyncClient) -> None:
    """Anonymous callers may see prices, not usage."""
    for path in ("usage", "summary", "top", "latency", "log", "errors"):
        response = await optional_client.get(f"/reports/{path}")
        assert (response.status_code, response.json()["code"]) == (401, "missing_key")


def test_a_long_period_begins_with_a_full_hour() -> None:
    """Its sum is kept; a short one is as long as it says; one that begins before the hours do begins with a day."""
    now = datetime(2026, 3, 30, 21, 43, 7, tzinfo=UTC)
    zone, detail_from = ZoneInfo("UTC"), date(2026, 3, 1)
    assert span_of_period(timedelta(days=1), now, zone, detail_from).start == datetime(2026, 3, 29, 21, tzinfo=UTC)
    assert span_of_period(timedelta(minutes=15), now, zone, detail_from).start == now - timedelta(minutes=15)
    assert span_of_period(timedelta(days=93), now, zone, detail_from).start == datetime(2025, 12, 27, tzinfo=UTC)
