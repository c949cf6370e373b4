"""Workbooks, read back by openpyxl."""

import io
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest

from workers.api.usage import xlsx
from workers.api.usage.columns import Column
from workers.api.usage.xlsx import TooManyRowsError, XlsxMaker, pieces_of

COLUMNS = (
    Column("time", "time"), Column("day", "day"), Column("name", "name"), Column("count", "integer"),
    Column("mean", "number"), Column("price", "amount"),
)  # fmt: skip


def test_cells_are_what_their_columns_say(tmp_path: Path) -> None:
    """Dates are dates, numbers numbers, a formula a text, nothing an empty cell; the zone's clock is shown."""
    with XlsxMaker(COLUMNS, {"tz": "Europe/Berlin"}, tmp_path) as maker:
        maker.add(b"2026-03-29T13:00:00.25+02:00,2026-03-29,=1+1,7,1.5,49.0005\n")
        maker.add('2026-03-29T13:00:00+02:00,2026-03-29,"Jürgen, ""x""",,,\n'.encode())
        maker.finish()
        data = b"".join(pieces_of(maker.path, 100))
    assert list(tmp_path.iterdir()) == []
    book = openpyxl.load_workbook(io.BytesIO(data))
    head, first, second = book["report"].iter_rows()
    assert [cell.value for cell in head] == [column.name for column in COLUMNS]
    day = datetime(2026, 3, 29)  # noqa: DTZ001 - Excel knows no zones
    noon = day.replace(hour=13)
    assert [cell.value for cell in first] == [noon.replace(microsecond=250_000), day, "=1+1", 7, 1.5, 49.0005]
    assert [cell.value for cell in second] == [noon, day, 'Jürgen, "x"', None, None, None]
    assert [cell.is_date for cell in first[:3]] == [True, True, False]
    assert first[2].data_type == "s"
    assert (book["report"].freeze_panes, book["report"].auto_filter.ref) == ("A2", "A1:F3")
    assert [[cell.value for cell in row] for row in book["about"].iter_rows()] == [["tz", "Europe/Berlin"]]


def test_no_rows_are_a_workbook_too(tmp_path: Path) -> None:
    """With its head."""
    with XlsxMaker(COLUMNS, {}, tmp_path) as maker:
        maker.add(b"")
        maker.finish()
        assert openpyxl.load_workbook(maker.path)["report"].max_row == 1


def test_a_sheet_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it nothing is left on the disk."""
    monkeypatch.setattr(xlsx, "ROWS_MAX", 2)
    row = b"2026-03-29T13:00:00+02:00,2026-03-29,a,1,1,1\n"
    with XlsxMaker(COLUMNS, {}, tmp_path) as maker:
        maker.add(row * 2)
        with pytest.raises(TooManyRowsError):
            maker.add(row)
    assert list(tmp_path.iterdir()) == []
