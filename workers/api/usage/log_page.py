"""Pages of single requests: newest first, each page found by the last row of the one before (keyset), at any depth.

A cursor is the position of a row (time, request id, node) within a span, packed and as text; callers give it back as it
is. It brings its span, so that the pages of "the last day" are those of one day, however long somebody reads.
"""

import asyncio
import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from trinity.observe.metrics import REPORTER
from trinity.store.queries import load
from workers.api.base.context import Parts
from workers.api.base.parameters import SPAN_DAYS_MAX, TimeSpan
from workers.api.base.problems import bad_parameter, query_timeout
from workers.api.usage.cached_log import read_cached
from workers.api.usage.columns import Column

PAGE_ROWS = 100
PAGE_ROWS_MAX = 1_000

COLUMNS = (
    Column("time", "time"),
    Column("request_id", "text"),
    Column("node_id", "integer"),
    Column("key_id", "integer"),
    Column("account", "name"),
    Column("asset", "text"),
    Column("assets", "integer"),
    Column("protocol", "text"),
    Column("status", "integer"),
    Column("code", "text"),
    Column("source", "text"),
    Column("latency_us", "number"),
    Column("address", "text"),
    Column("weight", "integer"),  # requests that the row stands for: 1, but for the sample of refusals without a key
)

# A page is looked for near its cursor first: each day is a table, and a plan over 93 of them takes 20 ms.
_WINDOWS = (timedelta(days=1), timedelta(days=8), timedelta(days=SPAN_DAYS_MAX))

# All windows together: a filter that finds little must not hold a connection for long.
PAGE_SECONDS = 10.0

_CURSOR = struct.Struct(">qqqqh")  # start, end and time in microseconds since 1970, request id, node id
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)  # as for moments that are written out
_REQUEST_ID_MIN = -(2**63)
_FROM_VALKEY, _FROM_DATABASE = (REPORTER.index("report_log_pages_total", source) for source in ("valkey", "database"))


class Cursor(NamedTuple):
    """The last row of a page, and the span of which it is one."""

    start: datetime
    end: datetime
    time: datetime
    request_id: int
    node_id: int


async def read_page(
    parts: Parts, parameters: dict[str, Any], cursor: str | None, span: TimeSpan, is_named: bool
) -> dict[str, Any]:
    """One page as JSON-ready values; `next` is there when there may be more.

    `is_named`: the caller gave the span; else it is that of the cursor.
    """
    limit = parameters["limit"] or PAGE_ROWS
    if limit > PAGE_ROWS_MAX:
        raise bad_parameter("limit", f"a page has at most {PAGE_ROWS_MAX} rows: use the cursor, or CSV for more")
    after = decode_cursor(cursor) if cursor is not None else Cursor(span.start, span.end, span.end, _REQUEST_ID_MIN, 0)
    if not is_named:
        span = TimeSpan(after.start, after.end, span.zone)
    if not span.start <= after.time <= span.end:
        raise bad_parameter("cursor", "this cursor belongs to another span: give the same `from` and `to`, or neither")
    statement = "log_page_of_all" if parameters["key_ids"] is None else "log_page_of_keys"
    names = ("after_time", "after_request_id", "after_node_id")
    page = {**parameters, "limit": limit, **dict(zip(names, after[2:], strict=True))}
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            found = await _find(parts, f"reports.{statement}", page, span.start)
    except TimeoutError:
        raise query_timeout() from None
    rows = [
        {column.name: value for column, value in zip(COLUMNS, row, strict=False)}
        | {"time": row[0].astimezone(span.zone)}
        for row in found
    ]
    following = None
    if len(found) == limit:
        following = encode_cursor(Cursor(span.start, span.end, found[-1][0], found[-1][-1], found[-1][2]))
    return {
        "from": span.start.astimezone(span.zone),
        "to": span.end.astimezone(span.zone),
        "tz": span.zone.key,
        "rows": rows,
        "next": following,
    }


async def _find(parts: Parts, statement: str, page: dict[str, Any], first: datetime) -> list[tuple[Any, ...]]:
    cached = await read_cached(parts, page, first)
    parts.context.block.count(_FROM_DATABASE if cached is None else _FROM_VALKEY)
    if cached is not None:
        return cached
    async with parts.pool.connection() as connection:
        for window in _WINDOWS:
            start = max(first, page["after_time"] - window)
            found = await (await connection.execute(load(statement), {**page, "start": start})).fetchall()
            if len(found) == page["limit"] or start == first:
                break
    return found


def encode_cursor(cursor: Cursor) -> str:
    """A row's position as text for URLs."""
    moments = [(moment - _EPOCH) // timedelta(microseconds=1) for moment in cursor[:3]]
    return base64.urlsafe_b64encode(_CURSOR.pack(*moments, *cursor[3:])).decode()


def decode_cursor(text: str) -> Cursor:
    """The position that `encode_cursor` made text of; refused by name when it is something else."""
    try:
        *microseconds, request_id, node_id = _CURSOR.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
        start, end, moment = (_EPOCH + timedelta(microseconds=count) for count in microseconds)
    except (binascii.Error, struct.error, ValueError, OverflowError):
        start = end = moment = _EPOCH
    if not (_EPOCH <= start < end <= start + timedelta(days=SPAN_DAYS_MAX) and start <= moment <= end < _LAST):
        raise bad_parameter("cursor", "not a cursor: give `next` of the page before")
    return Cursor(start, end, moment, request_id, node_id)
