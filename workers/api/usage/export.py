"""Rows out of the database to a client, as JSON, CSV, XLSX or Parquet, in constant memory.

Rules
- One statement gives the same columns to every format. CSV is written by PostgreSQL itself (COPY), Parquet and XLSX are
  made of that CSV a piece at a time (columns.py says how values are written), JSON a piece of rows at a time.
- A workbook can be read when it is whole: it is made on the disk, of so many rows at most, and then sent.
- The first piece is there before the answer begins: what goes wrong until then is a problem with its status. What goes
  wrong later breaks the connection off, so that nobody takes half an answer for the whole.
- Long answers have a few places, and an account has some of them: files take one from the start, JSON when
  there is more than one piece of it, and then before it begins. Whoever holds a place holds a connection, so they must
  read: a reader that stops is given up by calls.py, one that drips is here, and what either held is free at once.
- JSON of one piece is answered out of cache.py where that has it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.types import Scope
from psycopg import AsyncConnection

from trinity.clock import NS_PER_SECOND, Clock
from trinity.observe.metrics import REPORTER
from trinity.store.queries import load
from workers.api.base.callers.auth import ApiCaller, caller_name
from workers.api.base.callers.concurrency import ConcurrencyBounds, ConcurrencyLimit
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.problems import ProblemError, query_timeout
from workers.api.base.serving.cache import question_of
from workers.api.usage.columns import Column, Format, copy_statement, head_line

FormatParameter = Annotated[
    Format | None, QueryParameter(name="format", description="Else Accept decides; JSON by default.")
]
Rows = list[dict[str, Any]]

MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv",  # the framework adds the charset
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
# The first piece of an answer must be there by then; the statement itself may go on for an export's length.
FIRST_PIECE_SECONDS = 20.0
EXPORT_SECONDS = 600
# JSON rows, and bytes of CSV, that are sent at a time: some 100 KB each.
PIECE_ROWS = 500
PIECE_BYTES = 128 * 1024
# A row group of Parquet: some 80,000 rows of the log, 30 MB in memory while it is made.
GROUP_BYTES = 8 * 1024 * 1024
# A reader may take this long on the whole, and a second more for each so many bytes: a slow mobile line has twice that.
READER_GRACE_NS = 30 * NS_PER_SECOND
READER_BYTES_PER_SECOND_MIN = 32 * 1024
# How long JSON may be given again: a span that ends now moves on, an older one changes only by late batches.
NOW_SECONDS = 5

_JSON_END = b"]}"
# Each holds a connection to the database for as long as its reader takes; half of them for one account.
EXPORTS = ConcurrencyBounds("export", most=4, max_per_client=2, retry_after_seconds=10)

_EXPORTS = REPORTER.index("report_exports")


class Query(NamedTuple):
    """A statement of queries/ and everything that its rows need; `file` is what they are called as a file."""

    statement: str
    parameters: dict[str, Any]
    columns: tuple[Column, ...]
    zone: ZoneInfo
    file: str


def format_of(wanted: Format | None, accept: str) -> Format:
    """The format by name, else by Accept, else JSON."""
    if wanted is not None:
        return wanted
    kinds = {part.partition(";")[0].strip() for part in accept.split(",")}
    return next((name for name in ("csv", "xlsx", "parquet") if MEDIA_TYPES[name].partition(";")[0] in kinds), "json")


@dataclass(frozen=True)
class Usage:
    """What this feature brings to its handlers (`usage`)."""

    exports: ConcurrencyLimit  # of long answers


async def deliver(
    parts: Parts, usage: Usage, scope: Scope, query: Query, wanted: Format, head: dict[str, Any]
) -> Response[Any]:
    """The rows as a response; `head` goes before the rows of JSON."""
    holder = _holder_of(scope)
    question = question_of(query.statement, query.parameters, head)
    if wanted == "json" and (kept := await parts.cache.get(question)) is not None:
        return Response(kept, media_type=MEDIA_TYPES["json"])
    makers: dict[Format, Callable[[], AsyncGenerator[bytes]]] = {
        "json": lambda: json_pieces(parts, usage, query, holder, head),
        "csv": lambda: csv_pieces(parts, usage, query, holder),
        "xlsx": lambda: xlsx_pieces(parts, usage, query, holder, head),
        "parquet": lambda: parquet_pieces(parts, usage, query, holder),
    }
    pieces = makers[wanted]()
    scope["state"].setdefault("on_end", []).append(pieces.aclose)
    try:
        async with asyncio.timeout(FIRST_PIECE_SECONDS):
            first = await anext(pieces, b"")
    except TimeoutError:
        raise query_timeout() from None
    if wanted == "json":
        if first.endswith(_JSON_END):
            await parts.cache.set(question, first, NOW_SECONDS)
            return Response(first, media_type=MEDIA_TYPES["json"])
        headers = {}
    else:
        headers = {"Content-Disposition": f'attachment; filename="{query.file}.{wanted}"'}
    return Stream(_read_along(parts.context.clock, first, pieces), media_type=MEDIA_TYPES[wanted], headers=headers)


async def _read_along(clock: Clock, first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, as long as their reader keeps up; only the time that they take counts, not that of the database."""
    taken_ns, sent_bytes = 0, 0
    piece: bytes | None = first
    while piece is not None:
        given_at_ns = clock.monotonic_ns()
        yield piece
        taken_ns += clock.monotonic_ns() - given_at_ns
        sent_bytes += len(piece)
        if taken_ns > READER_GRACE_NS + sent_bytes * NS_PER_SECOND // READER_BYTES_PER_SECOND_MIN:
            raise TimeoutError("the reader is too slow")
        piece = await anext(rest, None)


async def json_pieces(
    parts: Parts, usage: Usage, query: Query, holder: str, head: dict[str, Any]
) -> AsyncGenerator[bytes]:
    """`{<head>,"rows":[...]}`; the connection is free before the last piece is given away."""
    names = [column.name for column in query.columns]
    yielded = msgspec.json.encode(head).removesuffix(b"}") + (b',"rows":[' if head else b'"rows":[')
    async with contextlib.AsyncExitStack() as place:
        async with _connection(parts, query.zone) as connection, connection.cursor() as cursor:
            rows: Rows = []
            is_first = True
            async for row in cursor.stream(load(query.statement), query.parameters, size=PIECE_ROWS):
                if len(rows) == PIECE_ROWS:  # and there is one more
                    if is_first:
                        await place.enter_async_context(_export(parts, usage, holder))
                    yield yielded + msgspec.json.encode(rows)[1:-1]
                    yielded, rows, is_first = b",", [], False
                values = [value.astimezone(query.zone) if isinstance(value, datetime) else value for value in row]
                rows.append(dict(zip(names, values, strict=False)))
        yield yielded + msgspec.json.encode(rows)[1:-1] + _JSON_END


async def csv_pieces(
    parts: Parts, usage: Usage, query: Query, holder: str, piece_bytes: int = PIECE_BYTES, wanted: Format = "csv"
) -> AsyncGenerator[bytes]:
    """CSV with a header line; times are in the query's zone, with their offset. A piece ends with a row."""
    statement = copy_statement(load(query.statement), query.columns, wanted)
    async with (
        _export(parts, usage, holder),
        _connection(parts, query.zone) as connection,
        connection.cursor() as cursor,
    ):
        rows: list[bytes | bytearray | memoryview] = [head_line(query.columns)]
        size = 0
        async with cursor.copy(statement, query.parameters) as copy:
            async for row in copy:
                rows.append(row)
                size += len(row)
                if size >= piece_bytes:
                    yield b"".join(rows)
                    rows, size = [], 0
        yield b"".join(rows)


async def parquet_pieces(parts: Parts, usage: Usage, query: Query, holder: str) -> AsyncGenerator[bytes]:
    """Parquet with one row group a piece of CSV; times are instants in UTC."""
    try:
        # Imported here: it takes a second, and 60 MB of a process that may never be asked for it.
        from workers.api.usage.parquet import ParquetMaker
    except ModuleNotFoundError:
        raise parquet_missing() from None
    maker = await asyncio.to_thread(ParquetMaker, query.columns)
    in_utc = query._replace(zone=ZoneInfo("UTC"))
    async with contextlib.aclosing(_rows_for(parts, usage, in_utc, holder, "parquet")) as pieces:
        async for rows in pieces:
            yield await asyncio.to_thread(maker.add, rows)
    yield await asyncio.to_thread(maker.finish)


async def xlsx_pieces(
    parts: Parts, usage: Usage, query: Query, holder: str, head: dict[str, Any]
) -> AsyncGenerator[bytes]:
    """A workbook, made whole before its first piece; times are those of the zone's clocks."""
    # Imported here, for who is asked for it.
    from workers.api.usage.xlsx import ROWS_MAX, TooManyRowsError, XlsxMaker, pieces_of

    about = {"report": query.file, **head}
    with await asyncio.to_thread(XlsxMaker, query.columns, about, parts.settings.data_dir) as maker:
        async with contextlib.aclosing(_rows_for(parts, usage, query, holder, "xlsx")) as pieces:
            try:
                async for rows in pieces:
                    await asyncio.to_thread(maker.add, rows)
            except TooManyRowsError:
                detail = f"a workbook has at most {ROWS_MAX} rows here: ask for csv or parquet, or a shorter span"
                raise ProblemError(400, "range_too_large", detail, "format") from None
        await asyncio.to_thread(maker.finish)
        for piece in pieces_of(maker.path, PIECE_BYTES):
            yield piece


def parquet_missing() -> ProblemError:
    """What a node without Arrow says."""
    detail = "this node makes no Parquet: install trinity-oracle[parquet], or ask for csv or xlsx"
    return ProblemError(400, "format_not_installed", detail, "format")


async def _rows_for(parts: Parts, usage: Usage, query: Query, holder: str, wanted: Format) -> AsyncGenerator[bytes]:
    """Large pieces of CSV without its header, as another file is made of them."""
    is_first = True
    async with contextlib.aclosing(csv_pieces(parts, usage, query, holder, GROUP_BYTES, wanted)) as pieces:
        async for piece in pieces:
            yield piece.partition(b"\n")[2] if is_first else piece
            is_first = False


def _holder_of(scope: Scope) -> str:
    """By whom places are counted: the account, which may have many keys."""
    caller: ApiCaller = scope["state"]["caller"]
    return f"account {caller.account_id}" if caller.account_id else caller_name(caller, caller_address(scope))


@contextlib.asynccontextmanager
async def _export(parts: Parts, usage: Usage, holder: str) -> AsyncIterator[None]:
    """One of the few places for long answers."""
    usage.exports.check(holder)
    block = parts.context.block
    with usage.exports.acquire(holder):
        block.set_gauge(_EXPORTS, usage.exports.total)
        try:
            yield
        finally:
            block.set_gauge(_EXPORTS, usage.exports.total - 1)


@contextlib.asynccontextmanager
async def _connection(parts: Parts, zone: ZoneInfo) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection in a transaction of its own bounds: PostgreSQL writes times in this zone."""
    async with parts.pool.connection() as connection, connection.transaction():
        await connection.execute(
            load("reports.begin_rows"), {"zone": zone.key, "milliseconds": str(EXPORT_SECONDS * 1000)}
        )
        yield connection
