"""CSV to Parquet, piece by piece."""

import io

import pyarrow.parquet

from workers.reports.export import Column
from workers.reports.parquet import ParquetMaker

COLUMNS = (Column("time", "time"), Column("name", "text"), Column("count", "integer"), Column("mean", "number"))


def test_pieces_become_one_file() -> None:
    """A row group each; no value is a null; the bytes together are a file that Arrow reads."""
    maker = ParquetMaker(COLUMNS)
    data = maker.add(b"2026-01-01 00:00:00.5+00,BTC,1,1.5\n2026-01-02 00:00:00+00,,2,\n")
    data += maker.add(b"2026-01-03 00:00:00+00,ETH,3,2\n")
    data += maker.finish()
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups == 2
    rows = file.read().to_pylist()
    assert [(row["name"], row["count"], row["mean"]) for row in rows] == [
        ("BTC", 1, 1.5),
        (None, 2, None),
        ("ETH", 3, 2.0),
    ]
    assert rows[0]["time"].isoformat() == "2026-01-01T00:00:00.500000+00:00"


def test_no_rows_are_a_file_too() -> None:
    """With its columns."""
    maker = ParquetMaker(COLUMNS)
    table = pyarrow.parquet.read_table(io.BytesIO(maker.add(b"") + maker.finish()))
    assert (table.num_rows, table.column_names) == (0, ["time", "name", "count", "mean"])
