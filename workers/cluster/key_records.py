"""The task that keeps `apikey:<key>` at what PostgreSQL says: the public record of each API key, for a day.

Rules: one node writes, the one whose operator has the database's lock. It is written after the commit that changed the
key, out of what was committed: asked for by the time of the change, a little further back each time, because a change
is dated with the start of its transaction. All keys are written when this node begins to lead, when a plan changed,
when Valkey answers again, and when the last of them is no longer there: Valkey is empty, or their day is over. Nobody's
right to ask depends on it.
"""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import psycopg

from trinity.cache.keys import API_KEY, DAY_SECONDS
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.store.connect import bounded
from trinity.store.queries import load
from workers.cluster.context import ClusterContext
from workers.cluster.stats import leads

TURN_SECONDS = 1.0
STATEMENT_SECONDS = 5
# A transaction that changes keys takes milliseconds; one that is open for longer than this is found by the sync job.
_LOOK_BACK = datetime.timedelta(seconds=30)
# 0.1 s of PostgreSQL and 10 ms of Valkey a chunk, and others have their turn between two.
CHUNK = 2_000
_WRITE_SECONDS = 2.0

Connection = psycopg.AsyncConnection[Any]


class KeyRecords:
    """Follows the keys while this node leads."""

    def __init__(self, cluster: ClusterContext, database_url: str, is_ours: Callable[[], bool] | None = None) -> None:
        self._cluster, self._url = cluster, bounded(database_url, "cluster", STATEMENT_SECONDS)
        self._is_ours = is_ours or (lambda: leads(cluster))
        self._since: datetime.datetime | None = None  # None: all of them
        self._plans: list[tuple[Any, ...]] = []
        self._last = ""  # of all records, the name of the one that was written last

    async def run(self) -> None:
        """It makes no turn that counts: PostgreSQL may stand still for as long as it likes."""
        while True:
            try:
                if self._is_ours():
                    await self._follow()
            except (psycopg.Error, OSError, TimeoutError):
                self._since = None  # the operator's process tells of the database
            except CacheUnavailableError:
                self._since = None  # the client has told it; then all of them
            await asyncio.sleep(TURN_SECONDS)

    async def _follow(self) -> None:
        """Until this node no longer leads, or something is away."""
        self._since = None
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while self._is_ours():
                async with asyncio.timeout(60):  # a server that stands still keeps no time of its own
                    await self.write(connection)
                await asyncio.sleep(TURN_SECONDS)

    async def write(self, connection: Connection) -> int:
        """Write what changed since the last time; how many records."""
        plans = await (await connection.execute(load("access.plans"))).fetchall()
        if plans != self._plans:
            self._since, self._plans = None, plans
        if self._last and await self._cluster.cache.run([("EXISTS", self._last)]) == [0]:
            self._since = None
        ((now,),) = await (await connection.execute("SELECT now()")).fetchall()
        written = after = 0
        while True:
            parameters = {"after": after, "since": self._since, "count": CHUNK}
            rows = await (await connection.execute(load("keys.public_records"), parameters)).fetchall()
            commands = [("SET", API_KEY.name(digest), record, "EX", DAY_SECONDS) for _, digest, record in rows]
            replies = await self._cluster.cache.run(commands, _WRITE_SECONDS)
            refused = next((reply for reply in replies if isinstance(reply, CacheReplyError)), None)
            if refused is not None:
                raise CacheUnavailableError(str(refused))
            written += len(rows)
            if self._since is None and rows:
                self._last = API_KEY.name(rows[-1][1])
            if len(rows) < CHUNK:
                break
            after = rows[-1][0]
        self._since = now - _LOOK_BACK
        return written
