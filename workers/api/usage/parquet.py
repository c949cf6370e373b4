"""CSV to Parquet, a piece at a time, by Arrow's own readers and writers: no Python a row, one piece in memory.

Rules: what stands unquoted and empty is a null, as PostgreSQL writes it; "" is an empty text, and NA is a name.

Imported only by who makes Parquet: Arrow takes a second to load, and starts threads.
"""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from workers.api.usage.columns import Column, Kind

_TYPES: dict[Kind, Any] = {
    "time": pa.timestamp("us", tz="UTC"),
    "day": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "text": pa.string(),
    "name": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "amount": pa.decimal128(18, 4),
}


class ParquetMaker:
    """A file that is written forward only; each call returns the bytes that are ready."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._sink = _Sink()
        self._schema = pa.schema([(column.name, _TYPES[column.kind]) for column in columns])
        self._writer = pyarrow.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def add(self, rows: bytes) -> bytes:
        """Rows of CSV without a header become a row group."""
        if rows:
            table = pyarrow.csv.read_csv(
                io.BytesIO(rows),
                read_options=pyarrow.csv.ReadOptions(column_names=self._schema.names, use_threads=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=self._schema,
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            self._writer.write_table(table)
        return self._sink.take()

    def finish(self) -> bytes:
        """The end of the file."""
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """A file that forgets what was taken from it, and still knows its position."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
