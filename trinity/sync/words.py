"""What is small, as Valkey's commands: calls of the reporting service, API keys, the application's parameters.

Rules: pure. Times are ISO 8601 in UTC; what PostgreSQL does not know stands as an empty text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from trinity.cache.keys import API_KEY, APP_CONFIG, REPORT_USAGE
from trinity.sync.entries import Commands, command

_CALL_FIELDS = (
    "time", "request_id", "account_id", "key_id", "path", "status", "latency_us", "bytes", "address", "weight",
)  # fmt: skip


def call_commands(rows: Iterable[Sequence[Any]], life_seconds: int) -> Iterator[Commands]:
    """Calls of the reporting service: columns in the order of sync.report_calls_of."""
    for row in rows:
        name = REPORT_USAGE.name(str(row[1]))
        words = [word for pair in zip(_CALL_FIELDS, map(_text, row), strict=True) for word in pair]
        ends = int(row[0].timestamp()) + life_seconds
        yield Commands(name.encode(), command("HSET", name, *words) + command("EXPIREAT", name, ends), 2)


def key_commands(records: Mapping[str, str]) -> Iterator[Commands]:
    """API keys' public records by their digests."""
    for digest, record in records.items():
        name = API_KEY.name(digest)
        yield Commands(name.encode(), command("SET", name, record, "EX", API_KEY.life_seconds or 0), 1)


def parameter_commands(rows: Sequence[tuple[str, str]], held: Iterable[str]) -> Iterator[Commands]:
    """The parameters as JSON, and what is none any more taken away."""
    name = APP_CONFIG.name()
    gone = sorted(set(held) - {row[0] for row in rows})
    if gone:
        yield Commands(name.encode(), command("HDEL", name, *gone), 1)
    if rows:
        yield Commands(name.encode(), command("HSET", name, *(word for row in rows for word in row)), 1)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}Z"
    return "" if value is None else str(value)
