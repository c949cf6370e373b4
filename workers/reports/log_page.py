"""Pages of single requests: newest first, each page found by the last row of the one before (keyset), at any depth.

A cursor is the position of a row (time, request id, node), packed and as text; callers give it back as it is.
"""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from trinity.store.queries import load
from workers.reports.export import Column
from workers.reports.parameters import SPAN_DAYS_MAX, Span
from workers.reports.parts import Parts
from workers.reports.problems import bad_parameter

PAGE_ROWS = 100
PAGE_ROWS_MAX = 1_000

COLUMNS = (
    Column("time", "time"),
    Column("request_id", "text"),
    Column("node_id", "integer"),
    Column("key_id", "integer"),
    Column("asset", "text"),
    Column("assets", "integer"),
    Column("protocol", "text"),
    Column("status", "integer"),
    Column("code", "text"),
    Column("source", "text"),
    Column("latency_us", "number"),
    Column("address", "text"),
)

# A page is looked for near its cursor first: each day is a table, and a plan over 93 of them takes 20 ms.
_WINDOWS = (timedelta(days=1), timedelta(days=8), timedelta(days=SPAN_DAYS_MAX))

_POSITION = struct.Struct(">qqh")  # microseconds since 1970, request id, node id
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REQUEST_ID_MIN = -(2**63)

Position = tuple[datetime, int, int]


async def read_page(parts: Parts, parameters: dict[str, Any], cursor: str | None, span: Span) -> dict[str, Any]:
    """One page as JSON-ready values; `next` is there when there may be more."""
    limit = parameters["limit"] or PAGE_ROWS
    if limit > PAGE_ROWS_MAX:
        raise bad_parameter("limit", f"a page has at most {PAGE_ROWS_MAX} rows: use the cursor, or CSV for more")
    after = decode_cursor(cursor) if cursor is not None else (span.end, _REQUEST_ID_MIN, 0)
    if not span.start <= after[0] <= span.end:
        raise bad_parameter("cursor", "this cursor belongs to another span: give the same `from` and `to`")
    statement = "log_page_of_all" if parameters["key_ids"] is None else "log_page_of_keys"
    names = ("after_time", "after_request_id", "after_node_id")
    page = {**parameters, "limit": limit, **dict(zip(names, after, strict=True))}
    found: list[tuple[Any, ...]] = []
    async with parts.pool.connection() as connection:
        for window in _WINDOWS:
            start = max(span.start, after[0] - window)
            cursor_of_rows = await connection.execute(load(f"reports.{statement}"), {**page, "start": start})
            found = await cursor_of_rows.fetchall()
            if len(found) == limit or start == span.start:
                break
    rows = [
        {column.name: value for column, value in zip(COLUMNS, row, strict=False)}
        | {"time": row[0].astimezone(span.zone)}
        for row in found
    ]
    following = encode_cursor((found[-1][0], found[-1][-1], found[-1][2])) if len(found) == limit else None
    return {
        "from": span.start.astimezone(span.zone),
        "to": span.end.astimezone(span.zone),
        "tz": span.zone.key,
        "rows": rows,
        "next": following,
    }


def encode_cursor(position: Position) -> str:
    """A row's position as text for URLs."""
    microseconds = (position[0] - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_POSITION.pack(microseconds, *position[1:])).decode()


def decode_cursor(text: str) -> Position:
    """The position that `encode_cursor` made text of; refused by name when it is something else."""
    try:
        microseconds, request_id, node_id = _POSITION.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
        return _EPOCH + timedelta(microseconds=microseconds), request_id, node_id
    except (binascii.Error, struct.error, ValueError, OverflowError):
        raise bad_parameter("cursor", "not a cursor: give `next` of the page before") from None
