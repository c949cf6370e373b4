"""The connections of a reporting process to PostgreSQL: read-only, and never waited for while the database is away."""

from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.watch import Watch

# Connections of one process to PostgreSQL: reports take milliseconds, exports (EXPORTS.most) minutes.
POOL_CONNECTIONS_MAX = 8
# A call waits so long for a connection before it is told that the database does not answer.
POOL_WAIT_SECONDS = 2.0
# A connection that was good so short a time ago is given out unasked: the question takes as long as a short report.
# After a restart of the database each connection can fail one call within that time.
CHECKED_NS = NS_PER_SECOND
# Reports only read; and their plans follow the span that is asked for, so that other days are not even looked at.
# Compiling one takes longer than any of them runs.
_REPORT_OPTIONS = "-c default_transaction_read_only=on -c plan_cache_mode=force_custom_plan -c jit=off"


def make_pool(url: str, watch: Watch, clock: Clock) -> "Pool":
    """A pool that is not open yet; `url` bounds its statements."""

    async def guard(connection: psycopg.AsyncConnection[Any]) -> None:
        watch.guard(connection)

    return Pool(
        watch,
        make_conninfo(url, options=f"{conninfo_to_dict(url)['options']} {_REPORT_OPTIONS}"),
        min_size=1,
        max_size=POOL_CONNECTIONS_MAX,
        check=_checker(clock),
        configure=guard,
        open=False,
        timeout=POOL_WAIT_SECONDS,
        kwargs={"autocommit": True},
    )


class Pool(AsyncConnectionPool):
    """The pool; nobody waits for a connection of a database that answers nobody."""

    def __init__(self, watch: Watch, conninfo: str, **options: Any) -> None:
        super().__init__(conninfo, **options)
        self._watch = watch

    async def getconn(self, timeout: float | None = None) -> Any:
        if not self._watch.is_up:
            raise PoolTimeout("the database does not answer")
        return await super().getconn(timeout)


def _checker(clock: Clock) -> Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]:
    """Asks a connection whether it is good, unless it was asked a moment ago."""
    checked_at_ns: WeakKeyDictionary[psycopg.AsyncConnection[Any], int] = WeakKeyDictionary()

    async def check(connection: psycopg.AsyncConnection[Any]) -> None:
        now_ns = clock.monotonic_ns()
        if now_ns - checked_at_ns.get(connection, -CHECKED_NS) >= CHECKED_NS:
            await AsyncConnectionPool.check_connection(connection)
            checked_at_ns[connection] = now_ns

    return check
