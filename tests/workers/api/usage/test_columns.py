"""Columns: how values are written; the files themselves are tested with the bill and the reports."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from workers.api.usage.columns import Column, Format, copy_statement, dated, head_line

COLUMNS = (Column("time", "time"), Column("start", "day"), Column("group", "name"), Column("code", "text"))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("csv", "2026-03-29T00:00:00+01:00,2026-03-29,'=1+1,=1+1\n"),
        ("xlsx", "2026-03-29T00:00:00+01:00,2026-03-29,=1+1,=1+1\n"),
        ("parquet", "2026-03-29T00:00:00+01:00,2026-03-29T00:00:00+01:00,=1+1,=1+1\n"),
    ],
)
def test_a_value_is_written_as_its_file_needs_it(database_url: str, wanted: Format, expected: str) -> None:
    """Moments as ISO 8601, days as dates for people, and no formula of a customer's in CSV."""
    moment = "TIMESTAMPTZ '2026-03-28T23:00:00Z'"
    statement = f"SELECT {moment}, {moment}, %(text)s::text, %(text)s::text"
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        connection.execute("SET timezone = 'Europe/Berlin'")
        with cursor.copy(copy_statement(statement, COLUMNS, wanted), {"text": "=1+1"}) as copy:
            assert b"".join(copy).decode() == expected
    assert head_line(COLUMNS) == b"time,start,group,code\n"


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@a", "＝1", "＋1", "－1", "＠a", "\t=1", "\r1"])  # noqa: RUF001
def test_what_a_spreadsheet_reckons_with_is_guarded(database_url: str, name: str) -> None:
    """By an apostrophe before it, as a person would type it; other names stay, also those with such signs within."""
    columns = (Column("name", "name"),)
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        for text, expected in ((name, f"'{name}"), (f"a{name.strip()}", f"a{name.strip()}")):
            with cursor.copy(copy_statement("SELECT %(name)s::text", columns, "csv"), {"name": text}) as copy:
                assert b"".join(copy).decode().strip('"\n') == expected


def test_a_file_is_named_by_its_days() -> None:
    """The last one is the last of which there is something; a day alone stands once."""
    start, zone = datetime(2026, 3, 27, tzinfo=UTC), ZoneInfo("UTC")
    assert dated("usage", start, start + timedelta(days=4), zone) == "trinity-usage-2026-03-27-2026-03-30"
    assert dated("log", start, start + timedelta(hours=1), zone) == "trinity-log-2026-03-27"
    assert dated("log", start, start + timedelta(hours=23, minutes=30), ZoneInfo("Europe/Berlin")) == (
        "trinity-log-2026-03-27-2026-03-28"
    )
