"""CSV to Parquet, piece by piece."""

import io

import pyarrow as pa
import pyarrow.parquet

from workers.api.usage.columns import Column
from workers.api.usage.parquet import ParquetMaker

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


def test_an_empty_text_and_the_name_of_a_null_are_texts() -> None:
    """As in JSON: only what PostgreSQL writes as nothing at all is a null."""
    maker = ParquetMaker(COLUMNS)
    day = b"2026-01-01 00:00:00+00"
    rows = b"".join(b"%s,%s,1,\n" % (day, name) for name in (b'""', b"", b"NA", b"NULL", b"null", b"NAN", b'"a,b"'))
    table = pyarrow.parquet.read_table(io.BytesIO(maker.add(rows) + maker.finish()))
    assert table.column("name").to_pylist() == ["", None, "NA", "NULL", "null", "NAN", "a,b"]
    assert table.column("mean").null_count == 7


def test_a_long_file_takes_the_memory_of_one_piece() -> None:
    """A million rows in fifty pieces: Arrow holds no more after the last than after the third."""
    maker = ParquetMaker(COLUMNS)
    rows = b"".join(b"2026-01-01 00:00:%02d+00,BTC,%d,1.5\n" % (number % 60, number) for number in range(20_000))
    held = []
    for _ in range(50):
        assert len(maker.add(rows)) < 2 * len(rows)
        held.append(pa.total_allocated_bytes())
    assert max(held[3:]) <= held[2] + len(rows) // 2
    maker.finish()
