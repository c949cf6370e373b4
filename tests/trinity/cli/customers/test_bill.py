"""`trinity bill`, as it is typed, on a real PostgreSQL; what it says is tested with the reports."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import psycopg
import pyarrow.parquet
import pytest

from tests.trinity.cli.conftest import Run
from trinity.__main__ import main

MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def billed(typed: Run, database_url: str) -> Run:
    """Two customers on a plan with a price."""
    for account in ("acme", "=1+1"):
        code, said, errors = typed("keys", "create", "--account", account, "--plan", "standard")
        assert code == 0, (said, errors)
    assert typed("plans", "price", "standard", "--price", "49.90", "--currency", "eur")[0] == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO usage_day VALUES (date_trunc('day', now()), 1, 0, 0, 200, 1, 3, 7, 1, '{}')")
    return typed


def test_every_kind_of_file_has_the_same_rows(billed: Run, tmp_path: Path) -> None:
    """By its name; a month that is not over says so."""
    for end in ("csv", "xlsx", "parquet", "json"):
        code, said, _ = billed("bill", "--month", MONTH, "--out", str(tmp_path / f"bill.{end}"))
        assert (code, said["rows"], said["complete"]) == (0, 2, False)
    rows = json.loads((tmp_path / "bill.json").read_text())["rows"]
    assert [(row["account"], row["base_amount"], row["answers"], row["billable"]) for row in rows] == [
        ("=1+1", "49.90", 0, 0), ("acme", "49.90", 3, 7),
    ]  # fmt: skip
    with (tmp_path / "bill.csv").open(newline="") as file:
        assert [row["account"] for row in csv.DictReader(file)] == ["'=1+1", "acme"]
    sheet = openpyxl.load_workbook(tmp_path / "bill.xlsx")["report"]
    assert [cell.value for cell in sheet["C"]] == ["account", "=1+1", "acme"]
    assert pyarrow.parquet.read_table(tmp_path / "bill.parquet").column("account").to_pylist() == ["=1+1", "acme"]
    assert not list(tmp_path.glob("xlsx-*"))


def test_people_get_a_table(billed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a customer and plan."""
    assert main(["bill", "--month", MONTH]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["acme", "standard", "49.90", "EUR", "49.90", "100000000", "3", "7", "0"]


def test_what_is_wrong_is_named(billed: Run, tmp_path: Path) -> None:
    """The month, the kind of file, and a place that takes none; nothing is left behind."""
    for start, words in (
        ("--month: ", ["--month", "2026-13"]),
        ("--month: ", ["--month", "2099-01"]),
        ("--out: ", ["--month", MONTH, "--out", "bill.pdf"]),
        ("--out: ", ["--month", MONTH, "--out", str(tmp_path / "nowhere" / "bill.csv")]),
        ("--out: ", ["--month", MONTH, "--out", str(tmp_path / "nowhere" / "bill.xlsx")]),
    ):
        code, _, error = billed("bill", *words)
        assert code == 2, words
        assert error["error"]["message"].startswith(start), words
