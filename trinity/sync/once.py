"""One run of the sync job, from its connection to the note that it ended: for the command and for the operator.

Rules: what goes wrong is a TrinityError: SyncRunningError where another one runs, StoreUnavailableError and
CacheUnavailableError where one of the two went away. The next run goes on where this one stopped.
"""

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from trinity.cache.address import CacheSettings
from trinity.cache.keys import DAY_SECONDS
from trinity.errors import StoreUnavailableError
from trinity.store.connect import AnyConnection, connect, reason_of
from trinity.store.queries import load
from trinity.sync.job import Progress, SyncJob, SyncResult
from trinity.sync.source import SyncSource

# A day's rows are one statement, which waits while Valkey takes them: minutes where it is asked in earnest.
STATEMENT_SECONDS = 3600


def sync_once(
    url: str,
    cache: CacheSettings,
    detail_days: int,
    *,
    is_whole: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    guard: Callable[[AnyConnection], None] = lambda _: None,
) -> SyncResult:
    """Bring to Valkey what it misses; `guard` is given the connection (trinity/store/watch.py)."""
    with connect(url, "sync", statement_seconds=STATEMENT_SECONDS, autocommit=True) as connection:
        guard(connection)
        try:
            source = SyncSource(connection)
            job = SyncJob(source, cache, detail_days * DAY_SECONDS, uuid.uuid4().hex, on_progress)
            result = job.run(is_whole=is_whole)
            connection.execute(load("sync.keep_last"), [Jsonb(described(result))])
        except psycopg.Error as error:
            raise StoreUnavailableError(reason_of(error)) from None
    return result


def described(result: SyncResult) -> dict[str, Any]:
    """A result as JSON has it: what was left out as pairs of seconds since 1970."""
    return dataclasses.asdict(result) | {"left_out": [list(part) for part in result.left_out]}
