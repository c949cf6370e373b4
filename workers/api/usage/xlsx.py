"""CSV to a workbook that Excel, LibreOffice and Numbers open: real dates and numbers, a head that stays, a filter.

Rules: cells are typed by their column, and a text is a text whatever it begins with. A row is on the disk before the
next one comes (`constant_memory`): in `folder`, which is empty again afterwards, also when it failed. Numbers are
doubles in every workbook: amounts of up to 15 digits stand there as they are.

Imported only by who makes workbooks: it takes a tenth of a second.
"""

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xlsxwriter

from workers.api.usage.columns import Column, Kind

# A sheet has 1,048,576 rows; so many of the log's 14 columns take some 10 s of processor time.
ROWS_MAX = 100_000

_FORMATS: dict[Kind, str] = {
    "time": "yyyy-mm-dd hh:mm:ss.000",
    "day": "yyyy-mm-dd",
    "date": "yyyy-mm-dd",
    "integer": "0",
    "amount": "0.00##",
}
_WIDTHS: dict[Kind, int] = {"time": 24, "day": 12, "date": 12, "name": 24, "text": 18}
_WIDTH = 14
_ABOUT_WIDTHS = 18, 44


class TooManyRowsError(ValueError):
    """More rows than a sheet may have here."""


class XlsxMaker:
    """A workbook in the making; used as a context, within which its file can be read."""

    def __init__(self, columns: Sequence[Column], about: Mapping[str, Any], parent: Path) -> None:
        """`about` fills the second sheet; `parent` is the folder whose disk has room."""
        self._columns = columns
        self._folder = Path(tempfile.mkdtemp(prefix="xlsx-", dir=parent))
        self.path = self._folder / "workbook.xlsx"
        options = {"constant_memory": True, "tmpdir": str(self._folder)}
        self._book = xlsxwriter.Workbook(self.path, options)
        self._bold = self._book.add_format({"bold": True})
        self._formats = {kind: self._book.add_format({"num_format": text}) for kind, text in _FORMATS.items()}
        self._about = about
        self._rows = 0
        self._sheet = self._book.add_worksheet("report")
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()  # open still where the workbook was given up
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, rows: bytes) -> None:
        """Rows of CSV without a header; TooManyRowsError."""
        for cells in csv.reader(io.StringIO(rows.decode(), newline="")):
            self._rows += 1
            if self._rows > ROWS_MAX:
                raise TooManyRowsError
            for number, (column, cell) in enumerate(zip(self._columns, cells, strict=True)):
                if cell:
                    self._write(number, column.kind, cell)

    def finish(self) -> None:
        """The file is whole."""
        self._sheet.autofilter(0, 0, self._rows, len(self._columns) - 1)
        sheet = self._book.add_worksheet("about")
        for number, width in enumerate(_ABOUT_WIDTHS):
            sheet.set_column(number, number, width)
        for number, (name, value) in enumerate(self._about.items()):
            sheet.write_string(number, 0, name, self._bold)
            sheet.write_string(number, 1, value.isoformat() if isinstance(value, datetime) else str(value))
        self._book.close()

    def _begin(self) -> None:
        for number, column in enumerate(self._columns):
            self._sheet.set_column(number, number, _WIDTHS.get(column.kind, _WIDTH))
            self._sheet.write_string(0, number, column.name, self._bold)
        self._sheet.freeze_panes(1, 0)

    def _write(self, column: int, kind: Kind, cell: str) -> None:
        read = _READ.get(kind)
        if read is None:
            self._sheet.write_string(self._rows, column, cell)
        elif kind in ("time", "day", "date"):
            self._sheet.write_datetime(self._rows, column, read(cell), self._formats[kind])
        else:
            self._sheet.write_number(self._rows, column, read(cell), self._formats.get(kind))


def _wall_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


_READ: dict[Kind, Callable[[str], Any]] = {
    "time": _wall_time,
    "day": date.fromisoformat,
    "date": date.fromisoformat,
    "integer": int,
    "number": float,
    "amount": Decimal,
}


def pieces_of(path: Path, size: int) -> Iterator[bytes]:
    """A file, a piece at a time."""
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece
