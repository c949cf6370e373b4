"""What the columns of a report hold, and how a value stands in each kind of file. Pure.

    time     a moment: JSON, CSV and Parquet with its offset from UTC, ISO 8601; Excel knows no zones: the zone's clock
    day      the beginning of a day or month in the report's zone: a moment for programs (JSON, Parquet), a date for
             people (CSV, XLSX)
    date     a date
    text     codes, numbers, addresses, names of assets: nothing that a spreadsheet could take for a formula
    name     what people called something: where a spreadsheet would reckon with it, CSV puts an apostrophe before it
    amount   money: exact decimals, text in JSON

Rules: PostgreSQL writes the CSV (COPY), so what differs from its own way of writing is said in SQL; the other files are
made of that CSV.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import sql

Format = Literal["json", "csv", "xlsx", "parquet"]
Kind = Literal["time", "day", "date", "text", "name", "integer", "number", "amount"]

_MOMENT = "to_json({column}) #>> '{{}}'"
# Of these first letters Excel, LibreOffice and Google Sheets make formulas, some of the broad ones of East Asia too.
_GUARDED = "CASE WHEN {column} ~ '^[-=+@\\t\\r\uff0d\uff1d\uff0b\uff20]' THEN '''' || {column} ELSE {column} END"
# What is written otherwise than as it is, by the file that the CSV is for.
_WRITTEN: dict[Format, dict[Kind, str]] = {
    "csv": {"time": _MOMENT, "day": "{column}::date", "name": _GUARDED},
    "xlsx": {"time": _MOMENT, "day": "{column}::date"},
    "parquet": {"time": _MOMENT, "day": _MOMENT},
}


class Column(NamedTuple):
    """One column of a report."""

    name: str
    kind: Kind


def copy_statement(statement: str, columns: Sequence[Column], wanted: Format) -> sql.Composed:
    """COPY of a statement's rows as the CSV that such a file is made of."""
    names = [sql.Identifier(column.name) for column in columns]
    written = [
        sql.SQL(_WRITTEN[wanted].get(column.kind, "{column}")).format(column=name)
        for column, name in zip(columns, names, strict=True)
    ]
    return sql.SQL("COPY (SELECT {} FROM ({}) AS report ({})) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(written),
        sql.SQL(statement),
        sql.SQL(", ").join(names),
    )


def head_line(columns: Sequence[Column]) -> bytes:
    """The names of the columns as the first line of CSV."""
    return ",".join(column.name for column in columns).encode() + b"\n"


def dated(name: str, start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """A file's name with the days that it is about: trinity-usage-2026-03-27-2026-03-30."""
    first, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
    return f"trinity-{name}-{_range(first, last)}"


def _range(first: date, last: date) -> str:
    return f"{first}" if first == last else f"{first}-{last}"
