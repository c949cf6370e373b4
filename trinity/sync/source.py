"""PostgreSQL's side of the sync job: one at a time, what was committed since the last one, and its rows.

Rules: one connection, whose session holds the lock. Each statement sees what is committed then, never less than the
snapshot that was taken before it: what it sees more comes again with the next run, and changes nothing. What fails is
psycopg's error, as everywhere.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from trinity.errors import SyncRunningError
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from trinity.sync.intervals import Interval, Intervals, union
from trinity.sync.runs import rows_of

_KEYS_AT_ONCE = 10_000


class Changes(NamedTuple):
    """A moment of the database, and the seconds that have rows which came since another one; None: unknown."""

    snapshot: str
    now_s: int
    seconds: Intervals | None


class SyncSource:
    """The database, on one connection (autocommit); SyncRunningError: another sync has it."""

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection
        if connection.execute(load("sync.lock")).fetchone() != (True,):
            raise SyncRunningError
        self.identity = str(self._one("sync.identity")[0])

    def changes(self, since: str | None) -> Changes:
        """What came since a snapshot; everything may have since none."""
        if since is None:
            snapshot, now_s = self._one("sync.moment")
            return Changes(snapshot, now_s, None)
        snapshot, now_s, is_unknown, ranges = self._one("sync.changes", {"since": since})
        return Changes(snapshot, now_s, None if is_unknown else union((part.lower, part.upper) for part in ranges))

    def runs_of(self, seconds: Interval) -> Iterator[bytes]:
        """The rows of usage_runs of a time, the newest first, as binary COPY has them."""
        with self._connection.cursor() as cursor, cursor.copy(load("sync.copy_runs"), _times(seconds)) as copy:
            yield from rows_of(copy)

    def calls_of(self, seconds: Interval) -> Iterator[tuple[Any, ...]]:
        """Calls of the reporting service in a time."""
        return self._stream("sync.report_calls_of", _times(seconds))

    def calls_since(self, since: str) -> Iterator[tuple[Any, ...]]:
        """Calls that a snapshot did not see."""
        return self._stream("sync.report_calls_since", {"since": since})

    def asset_names(self) -> dict[int, str]:
        return dict(self._connection.execute(load("sync.asset_names")).fetchall())

    def key_digests(self) -> dict[int, str]:
        return dict(self._connection.execute(load("sync.key_digests")).fetchall())

    def key_records(self) -> dict[str, str]:
        """What of each API key may stand in Valkey, by its digest."""
        found: dict[str, str] = {}
        after = 0
        while True:
            values = {"after": after, "since": None, "count": _KEYS_AT_ONCE}
            rows = self._connection.execute(load("keys.public_records"), values).fetchall()
            found |= {digest: record for _, digest, record in rows}
            if len(rows) < _KEYS_AT_ONCE:
                return found
            after = rows[-1][0]

    def parameters(self) -> list[tuple[str, str]]:
        return self._connection.execute(load("sync.parameters")).fetchall()

    def _stream(self, statement: str, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            yield from cursor.stream(load(statement), values, size=1000)

    def _one(self, statement: str, values: dict[str, Any] | None = None) -> tuple[Any, ...]:
        row = self._connection.execute(load(statement), values).fetchone()
        assert row is not None, "it always has a row"
        return row


def _times(seconds: Interval) -> dict[str, Any]:
    return {name: datetime.fromtimestamp(at, UTC) for name, at in zip(("start", "end"), seconds, strict=True)}
