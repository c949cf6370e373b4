"""`trinity bill --month 2026-11 [--out FILE]`: a month of every customer, as lines for people or as a file.

Rules: the statement, the columns and the files are those of `GET /reports/billing`; what kind of file it is, its name
says. The database is asked, not the node.
"""

import argparse
import datetime
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from trinity.access.keys import Connection
from trinity.cli.actions import Action, ActionOutcome, Argument, Parsed, Work, add_action, perform
from trinity.cli.text import table
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import AccessSection, Config
from trinity.errors import InputError
from trinity.files import Durability, write_whole
from trinity.store.queries import load
from workers.api.usage.bill import COLUMNS, STATEMENT, Month, read_month
from workers.api.usage.columns import Format, copy_statement, head_line

_FORMATS: dict[str, Format] = {".csv": "csv", ".xlsx": "xlsx", ".parquet": "parquet", ".json": "json"}
# What people look at; a file has all of them.
_SHOWN = ("account", "plan", "price", "currency", "base_amount", "included", "answers", "billable", "overage")


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Which month, and where to."""
    add_action(parser, _action_of(None))


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it; errors name what is wrong."""
    parsed.action = _action_of(config)
    return perform(config, parsed)


def _action_of(config: Config | None) -> Action:
    def prepare(parsed: Parsed, _section: AccessSection) -> Work:
        assert config is not None
        return _bill(parsed, config.ledger.sums_months)

    arguments = (
        Argument("--month", "a month of UTC: 2026-11", required=True),
        Argument("--out", f"the file, named {', '.join('*' + end for end in _FORMATS)}; left out: as lines"),
    )
    return Action("bill", "a month of every customer", arguments, prepare)


def _bill(parsed: Parsed, months_kept: int) -> Work:
    now = datetime.datetime.fromtimestamp(SystemClock().wall_ns() / NS_PER_SECOND, datetime.UTC)
    try:
        month = read_month(parsed.month, now, months_kept)
    except ValueError as error:
        raise InputError("--month", str(error)) from None
    path = None if parsed.out is None else Path(parsed.out)
    if path is not None and path.suffix not in _FORMATS:
        raise InputError("--out", f"its name must end with {', '.join(_FORMATS)}: that says what it is")

    def work(connection: Connection) -> ActionOutcome:
        connection.execute("SET TIME ZONE 'UTC'")
        head = month.head(now)
        rows = _rows(connection, month)
        if path is None:
            return ActionOutcome({**head, "rows": rows}, _lines(rows))
        try:
            _write(connection, month, head, rows, path)
        except OSError as error:
            raise InputError("--out", f"{path}: {error.strerror}") from None
        content = {**head, "file": str(path), "rows": len(rows)}
        return ActionOutcome(content, [f"{path}: {len(rows)} rows", *([] if head["complete"] else [_UNFINISHED])])

    return work


_UNFINISHED = "the month is not over: this is what there is so far"


def _rows(connection: Connection, month: Month) -> list[dict[str, Any]]:
    found = connection.execute(load(STATEMENT), month.parameters(None)).fetchall()
    names = [column.name for column in COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in found]


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    cells = [["" if row[name] is None else row[name] for name in _SHOWN] for row in rows]
    return table(_SHOWN, cells)


def _write(connection: Connection, month: Month, head: dict[str, Any], rows: list[dict[str, Any]], path: Path) -> None:
    wanted = _FORMATS[path.suffix]
    if wanted == "json":
        _put(path, [msgspec.json.encode({**head, "rows": rows})])
        return
    with connection.cursor() as cursor:
        statement = copy_statement(load(STATEMENT), COLUMNS, wanted)
        with cursor.copy(statement, month.parameters(None)) as copy:
            lines = b"".join(copy)
    if wanted == "csv":
        _put(path, [head_line(COLUMNS), lines])
    elif wanted == "parquet":
        _put(path, _parquet(lines))
    else:
        _put_xlsx(path, month, head, lines)


def _put(path: Path, parts: Iterable[bytes]) -> None:
    write_whole(path, parts, Durability.SYNCED)


def _parquet(lines: bytes) -> list[bytes]:
    try:
        from workers.api.usage.parquet import ParquetMaker
    except ModuleNotFoundError:
        raise InputError("--out", "Parquet needs the extra `parquet`: pip install trinity-oracle[parquet]") from None
    maker = ParquetMaker(COLUMNS)
    return [maker.add(lines), maker.finish()]


def _put_xlsx(path: Path, month: Month, head: dict[str, Any], lines: bytes) -> None:
    from workers.api.usage.xlsx import XlsxMaker

    with XlsxMaker(COLUMNS, {"report": month.file, **head}, path.parent) as maker:
        maker.add(lines)
        maker.finish()
        shutil.move(maker.path, path)
