"""The bill of a month against plain SQL over the single requests, in every format, also when those are gone."""

import csv
import io
import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openpyxl
import psycopg
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from tests.trinity.store.test_partitions import NodeClock
from tests.workers.api.conftest import ADMIN_KEY, client_of, settings_of
from tests.workers.ledger.ledger_fixture import make_ledger, make_records
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import Retention, first_day_of_sums, make_ahead, retire
from trinity.vocabulary import CODES
from workers.api.usage.bill import COLUMNS
from workers.ledger.usage.usage_tables import UsageTables

NOW = NodeClock()
TODAY = datetime.now(UTC).date()
# The second of two months whose single requests are over age by now.
SECOND = first_day_of_sums(TODAY - timedelta(days=100), 0)
FIRST = first_day_of_sums(SECOND, 1)
BORDER = datetime(SECOND.year, SECOND.month, 1, tzinfo=UTC)
START = datetime(FIRST.year, FIRST.month, 1, tzinfo=UTC)
KEPT = Retention(detail_days=93, sums_months=36)
DAY = timedelta(days=1)
LONG_AGO = START - 90 * DAY
# With names that Excel would reckon with, and that CSV has to quote.
NAMES = (
    "=SUM(A1:A9)", "+49 Taxi", "-1 GmbH", "@home", 'Acme, "Inc"', "Jürgen & 子", "Ärzte", "gamma", "delta", "epsilon",
    "zeta", "eta",
)  # fmt: skip
PLANS = ("free", "standard", "pro", "unlimited")
# Status and code of a record, and whether it has prices.
OUTCOMES = (
    (200, "ok"), (200, "ok"), (200, "ok"), (404, "unknown_asset"), (400, "bad_parameter"), (429, "rate_limited"),
    (503, "stale_price"), (403, "key_revoked"),
)  # fmt: skip


class Customers:
    """Twelve accounts of one to three keys, since long ago, each key on a plan; and what they asked."""

    def __init__(self, connection: AnyConnection) -> None:
        self.connection = connection
        self.keys: dict[int, tuple[str, str]] = {}  # account and plan in both months
        for number, name in enumerate(NAMES):
            account_id = _one(
                connection, "INSERT INTO accounts (name, created_at) VALUES (%s, %s) RETURNING id", name, LONG_AGO
            )
            for key in range(1 + number % 3):
                plan = PLANS[(number + key // 2) % len(PLANS)]
                key_id = _one(
                    connection,
                    "INSERT INTO api_keys (account_id, plan_id, digest, prefix) "
                    "SELECT %s, id, sha256(%s), 'trk_' FROM plans WHERE name = %s RETURNING id",
                    account_id, f"key-{number}-{key}".encode(), plan,
                )  # fmt: skip
                self.keys[key_id] = name, plan
        connection.execute("UPDATE key_terms SET since = %s", [LONG_AGO])
        self.tables = UsageTables(connection, make_ledger(connection).node_id)
        connection.execute("CREATE TABLE raw AS SELECT * FROM usage_log")

    def ask(self, count: int, seed: int) -> None:
        """Some thousand answers within three days of the border, and a copy of them that nobody drops."""
        records = make_records(count, first=seed * 1_000_000, seed=seed, keys=1 + max(self.keys))
        random = np.random.default_rng(seed)
        records["time_ns"] = int(BORDER.timestamp()) * 10**9 + random.integers(-3 * 86_400, 3 * 86_400, count) * 10**9
        outcome = random.integers(0, len(OUTCOMES), count)
        records["status"] = np.array([status for status, _ in OUTCOMES])[outcome]
        records["code"] = np.array([CODES.index(code) for _, code in OUTCOMES])[outcome]
        self._load(records)

    def _load(self, records: NDArray[np.void]) -> None:
        change = self.tables.of_records(records)
        with self.connection.transaction():
            change.write()
        change.committed()
        ids = [int(number) for number in records["request_id"]]
        self.connection.execute("INSERT INTO raw SELECT * FROM usage_log WHERE request_id = ANY(%s)", [ids])

    def expected(self, first: date) -> dict[tuple[str, str], tuple[int, int, date, date]]:
        """By plain SQL over the copy: answers, those that cost, first and last day of each account and plan."""
        rows = self.connection.execute(
            "SELECT key_id, count(*), coalesce(sum(assets) FILTER (WHERE code = 0), 0)::bigint, "
            "min((time AT TIME ZONE 'UTC')::date), max((time AT TIME ZONE 'UTC')::date) FROM raw "
            "WHERE key_id <> 0 AND date_trunc('month', time AT TIME ZONE 'UTC') = %s GROUP BY key_id",
            [first],
        ).fetchall()
        found: dict[tuple[str, str], tuple[int, int, date, date]] = {}
        for key_id, *figures in rows:
            before = found.get(self.keys[key_id])
            if before is not None:
                figures = [
                    before[0] + figures[0], before[1] + figures[1], min(before[2], figures[2]),
                    max(before[3], figures[3]),
                ]  # fmt: skip
            found[self.keys[key_id]] = tuple(figures)  # type: ignore[assignment]
        return found


def _one(connection: AnyConnection, statement: str, *values: Any) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def customers(database_url: str) -> Iterator[Customers]:
    with connect(database_url, "tests", autocommit=True) as connection:
        made = Customers(connection)
        make_ahead(connection, datetime.now(UTC))
        yield made


@pytest.fixture
async def biller(database_url: str, tmp_path: Path) -> Any:
    async with client_of(settings_of(tmp_path, database_url=database_url, retention=KEPT)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        yield client


async def _bill(client: httpx.AsyncClient, first: date, **headers: str) -> list[dict[str, Any]]:
    response = await client.get("/reports/billing", params={"month": f"{first:%Y-%m}"}, headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["complete"] is True
    rows: list[dict[str, Any]] = response.json()["rows"]
    return rows


def _figures(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int, date, date]]:
    return {
        (row["account"], row["plan"]): (
            row["answers"], row["billable"], date.fromisoformat(row["first_day"]), date.fromisoformat(row["last_day"]),
        )
        for row in rows if row["answers"]
    }  # fmt: skip


async def test_the_bill_is_what_sql_counts_also_when_the_detail_is_gone(
    customers: Customers, biller: httpx.AsyncClient, database_url: str, tmp_path: Path
) -> None:
    """Twelve customers over a month's border: equal to the row, with late answers too, before and after the drop."""
    customers.ask(4_000, seed=1)
    assert _figures(await _bill(biller, FIRST)) == customers.expected(FIRST)
    customers.ask(1_000, seed=2)  # of a spool that was away for months
    connection = customers.connection
    for _ in range(6):
        retire(connection, NOW, logging.getLogger("tests"), KEPT)
        connection.execute("UPDATE application_parameters SET changed_at = changed_at - interval '12 h'")
    assert _one(connection, "SELECT count(*) FROM usage_log") == 0
    assert _one(connection, "SELECT count(*) FROM usage_hour") == 0
    assert _one(connection, "SELECT count(*) FROM raw") == 5_000
    # Another process: the first one gives what it answered a moment ago.
    async with client_of(settings_of(tmp_path, database_url=database_url, retention=KEPT)) as other:
        other.headers["X-API-Key"] = ADMIN_KEY
        for month in (FIRST, SECOND):
            rows = await _bill(other, month)
            expected = customers.expected(month)
            assert _figures(rows) == expected
            assert {row["account"] for row in rows} == set(NAMES)
            assert sum(row["billable"] for row in rows) == sum(figures[1] for figures in expected.values())
        span = {"from": str(FIRST), "to": str(SECOND)}
        report = await other.get("/reports/usage", params=span | {"granularity": "month", "group_by": "account"})
    of_accounts: dict[str, int] = {}
    for (account, _), figures in customers.expected(FIRST).items():
        of_accounts[account] = of_accounts.get(account, 0) + figures[1]
    assert {row["name"]: row["billable"] for row in report.json()["rows"] if row["group"] != "0"} == of_accounts


async def test_every_format_says_the_same(customers: Customers, biller: httpx.AsyncClient) -> None:
    """JSON, CSV, XLSX and Parquet, to the row: money exact, dates as dates, names as customers wrote them."""
    customers.ask(2_000, seed=3)
    connection = customers.connection
    for plan, since, price in (("standard", LONG_AGO, "49.00"), ("pro", LONG_AGO, "499.0005")):
        connection.execute(
            "INSERT INTO plan_prices SELECT id, %s, %s, 'EUR' FROM plans WHERE name = %s", [since.date(), price, plan]
        )
    rows = await _bill(biller, FIRST)
    assert {row["price"] for row in rows} == {None, "49.00", "499.0005"}
    files = {}
    for wanted in ("csv", "xlsx", "parquet"):
        response = await biller.get("/reports/billing", params={"month": f"{FIRST:%Y-%m}", "format": wanted})
        disposition = f'attachment; filename="trinity-bill-{FIRST:%Y-%m}.{wanted}"'
        assert (response.status_code, response.headers["Content-Disposition"]) == (200, disposition)
        files[wanted] = response.content
    assert list(_of_csv(files["csv"])) == rows
    assert list(_of_xlsx(files["xlsx"])) == rows
    assert list(_of_parquet(files["parquet"])) == rows


_BY_KIND = {column.name: column.kind for column in COLUMNS}


def _of_csv(data: bytes) -> Iterator[dict[str, Any]]:
    """As JSON has it, but for the apostrophe that keeps a spreadsheet from reckoning."""
    for row in csv.DictReader(io.StringIO(data.decode())):
        found: dict[str, Any] = {}
        for name, text in row.items():
            found[name] = None if text == "" else int(text) if _BY_KIND[name] == "integer" else text
        assert found["account"][0] not in "=+-@"
        yield found | {"account": found["account"].removeprefix("'")}


def _of_xlsx(data: bytes) -> Iterator[dict[str, Any]]:
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["report", "about"]
    head, *lines = book["report"].iter_rows()
    names = [cell.value for cell in head]
    for line in lines:
        found: dict[str, Any] = {}
        for name, cell in zip(names, line, strict=True):
            kind, value = _BY_KIND[name], cell.value
            assert cell.data_type != "f", "no cell is a formula"
            if value is not None and kind == "date":
                assert cell.is_date
                value = value.date().isoformat()
            elif value is not None and kind == "amount":
                value = str(Decimal(str(value)).quantize(Decimal("0.01" if Decimal(str(value)) % 1 == 0 else "0.0001")))
            found[name] = value
        yield found


def _of_parquet(data: bytes) -> Iterator[dict[str, Any]]:
    for row in pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist():
        found = {}
        for name, value in row.items():
            if isinstance(value, Decimal):
                value = str(value.quantize(Decimal("0.01" if value % 1 == 0 else "0.0001")))
            found[name] = value.isoformat() if isinstance(value, date) else value
        yield found


async def test_price_plan_and_quota_are_those_of_the_first_second(
    customers: Customers, biller: httpx.AsyncClient
) -> None:
    """Or, begun later in the month, the first ones; a change within it is told, and holds from the next month on."""
    connection = customers.connection
    customers.ask(500, seed=4)
    for price, since in (("49", LONG_AGO.date()), ("59.90", SECOND)):
        connection.execute(
            "INSERT INTO plan_prices SELECT id, %s, %s, 'EUR' FROM plans WHERE name = 'standard'", [since, price]
        )
    connection.execute(
        "INSERT INTO plan_prices SELECT id, %s, 99, 'USD' FROM plans WHERE name = 'pro'", [FIRST + 9 * DAY]
    )
    key_id = next(key for key, (name, _) in customers.keys.items() if name == "+49 Taxi")
    connection.execute(
        "INSERT INTO key_terms SELECT key_id, %s, account_id, (SELECT id FROM plans WHERE name = 'pro'), 1, false "
        "FROM key_terms WHERE key_id = %s", [START + 14 * DAY, key_id],
    )  # fmt: skip
    connection.execute("INSERT INTO plan_terms SELECT id, %s, 7 FROM plans WHERE name = 'standard'", [START + 2 * DAY])
    first = {(row["account"], row["plan"]): row for row in await _bill(biller, FIRST)}
    second = {(row["account"], row["plan"]): row for row in await _bill(biller, SECOND)}
    changed = first["+49 Taxi", "standard"]
    wanted = {
        "price": "49",
        "price_since": str(LONG_AGO.date()),
        "next_plan": "pro",
        "included": 100_000_000,
        "overage": 0,
    }
    assert changed | wanted == changed
    assert changed["plan_since"] == str(LONG_AGO.date())
    after = second["+49 Taxi", "pro"]
    wanted = {"price": "99", "currency": "USD", "price_since": str(FIRST + 9 * DAY), "included": 1, "next_plan": None}
    assert after | wanted == after
    assert (after["plan_since"], after["overage"]) == (str(FIRST + 14 * DAY), after["billable"] - 1)
    stayed = second["Jürgen & 子", "standard"]
    assert (stayed["price"], stayed["base_amount"], stayed["included"]) == ("59.90", "59.90", 7)
    assert stayed["overage"] == stayed["billable"] - 7 > 0
    assert first["gamma", "unlimited"]["included"] is None


async def test_who_has_no_good_key_pays_nothing(customers: Customers, biller: httpx.AsyncClient) -> None:
    """A key that was revoked before costs nothing, its late answers are shown; a customer without a key is a row."""
    connection = customers.connection
    customers.ask(500, seed=5)
    connection.execute("INSERT INTO plan_prices SELECT id, '2020-01-01', 49, 'EUR' FROM plans")
    key_id = next(key for key, (name, _) in customers.keys.items() if name == "@home")
    connection.execute(
        "UPDATE api_keys SET state = 'revoked' WHERE account_id = (SELECT id FROM accounts WHERE name = '@home')"
    )
    connection.execute("UPDATE key_terms SET since = %s WHERE is_revoked", [BORDER - DAY])
    connection.execute("INSERT INTO accounts (name, created_at) VALUES ('nobody yet', %s)", [LONG_AGO])
    first = [row for row in await _bill(biller, FIRST) if row["account"] == "@home"]
    second = [row for row in await _bill(biller, SECOND) if row["account"] == "@home"]
    assert [row["base_amount"] for row in first] == ["49"]
    assert [row["base_amount"] for row in second] == ["0"]
    assert second[0]["answers"] > 0
    assert customers.keys[key_id][0] == "@home"
    (nobody,) = [row for row in await _bill(biller, FIRST) if row["account"] == "nobody yet"]
    assert (nobody["plan"], nobody["keys"], nobody["base_amount"], nobody["answers"]) == (None, 0, None, 0)


async def test_a_customer_sees_their_own_bill_alone(customers: Customers, biller: httpx.AsyncClient) -> None:
    """Of all their keys; without a key there is none, and accounts are theirs alone as well."""
    customers.ask(1_000, seed=6)
    every = await _bill(biller, FIRST)
    own = {"X-API-Key": "key-2-1"}
    assert await _bill(biller, FIRST, **own) == [row for row in every if row["account"] == NAMES[2]]
    accounts = (await biller.get("/reports/accounts", headers=own)).json()["rows"]
    assert [row["account"] for row in accounts] == [NAMES[2]]
    assert len((await biller.get("/reports/accounts")).json()["rows"]) == len(NAMES)
    del biller.headers["X-API-Key"]
    assert (await biller.get("/reports/billing", params={"month": "2026-01"})).status_code == 401


async def test_customers_stand_in_the_order_of_their_names(customers: Customers, biller: httpx.AsyncClient) -> None:
    """As people look for them: small letters among the large ones, in bills and in the list of accounts."""
    accounts = (await biller.get("/reports/accounts")).json()["rows"]
    for rows in (accounts, await _bill(biller, FIRST)):
        shown = list(dict.fromkeys(row["account"] for row in rows))
        assert shown == sorted(NAMES, key=lambda name: (name.lower(), name))
        assert shown.index("delta") < shown.index("Jürgen & 子")


async def test_plans_are_listed_with_their_prices(customers: Customers, biller: httpx.AsyncClient) -> None:
    """One row a price, in the order of their days; a plan without one has a row too."""
    for price, since in (("49", "2026-01-01"), ("59.90", "2026-06-01")):
        customers.connection.execute("INSERT INTO plan_prices VALUES (2, %s, %s, 'EUR')", [since, price])
    rows = (await biller.get("/reports/plans")).json()["rows"]
    assert [(row["plan"], row["price"], row["since"]) for row in rows] == [
        ("free", None, None), ("standard", "49", "2026-01-01"), ("standard", "59.90", "2026-06-01"),
        ("pro", None, None), ("unlimited", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("month", ["", "2026-13", "2026", "26-11", "2026-11-01", "2099-01", "2000-01", "２０２６-01"])  # noqa: RUF001
async def test_a_month_that_has_no_bill_is_refused(biller: httpx.AsyncClient, month: str) -> None:
    """By the name of the parameter, and with what is wrong: malformed, not begun, or kept no more."""
    response = await biller.get("/reports/billing", params={"month": month})
    assert (response.status_code, response.json()["field"]) == (400, "month")


async def test_the_database_keeps_the_terms_itself(database_url: str) -> None:
    """Whoever changes a plan or a key, also by plain SQL: when it was made, changed and revoked, and nothing else."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO accounts (name) VALUES ('a')")
        connection.execute(
            "INSERT INTO api_keys (account_id, plan_id, digest, prefix) VALUES (1, 1, sha256('x'), 'trk_')"
        )
        for change in ("name = 'n'", "plan_id = 2", "monthly_quota = 5", "state = 'suspended'", "state = 'revoked'"):
            connection.execute(f"UPDATE api_keys SET {change}")
        terms = connection.execute("SELECT plan_id, monthly_quota, is_revoked FROM key_terms ORDER BY since").fetchall()
        assert terms == [(1, None, False), (2, None, False), (2, 5, False), (2, 5, True)]
        connection.execute("UPDATE plans SET burst = 3 WHERE id = 1")
        connection.execute("UPDATE plans SET monthly_quota = 3 WHERE id = 1")
        quotas = connection.execute("SELECT monthly_quota FROM plan_terms WHERE plan_id = 1 ORDER BY since").fetchall()
        assert quotas == [(1_000_000,), (3,)]
