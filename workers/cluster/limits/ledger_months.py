"""The task that brings the ledger's sums of the running month to `usage:counter:<key>`: what no node knows any more.

A node that is gone for good, and a Valkey that was emptied, lose together what that node counted. PostgreSQL has it,
so the sum of each key is told there as something that is known (usage.lua): the counter is never less.

Rules: one node does it, the one whose operator has the database's lock: when it begins to lead, when Valkey was
emptied, and every few minutes. What is told was committed, and only grows in a month: told twice, or late, it changes
nothing. It is never more than the nodes counted, but for a plan's dry run, whose answers the ledger counts and the
month does not.
"""

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

import psycopg

from trinity.access.months import find_month, start_of_month
from trinity.cache.keys import USAGE_COUNTER_NODES
from trinity.clock import NS_PER_SECOND
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.store.connect import bounded
from trinity.store.queries import load
from workers.cluster.context import ClusterContext
from workers.cluster.limits.months import USAGE_SCRIPT, tell_month
from workers.cluster.stats import leads

TURN_SECONDS = 1.0
PERIOD_NS = 300 * NS_PER_SECOND
STATEMENT_SECONDS = 5
# A key has some thousand rows in a month's days: a chunk is some hundred thousand of them at most, 0.1 s.
CHUNK = 100
# Between two chunks, so that 100,000 keys take PostgreSQL a part of a core, and not a whole one.
_REST_SECONDS = 0.1
# Who tells; no node is called so. Its field in a key's hash, always 0, says that the ledger's sum is there.
LEDGER = ".ledger"


class LedgerMonths:
    """Follows the month's sums while this node leads."""

    def __init__(self, cluster: ClusterContext, database_url: str, is_ours: Callable[[], bool] | None = None) -> None:
        self._cluster, self._url = cluster, bounded(database_url, "cluster", STATEMENT_SECONDS)
        self._is_ours = is_ours or (lambda: leads(cluster))
        self._due_at_ns = 0
        self._last = ""  # the hash that was told last

    async def run(self) -> None:
        """It makes no turn that counts: PostgreSQL may stand still for as long as it likes."""
        while True:
            try:
                if not self._is_ours():
                    self._due_at_ns = 0
                elif await self._is_due():
                    await self.bring()
            except (psycopg.Error, OSError, TimeoutError):
                pass  # the operator's process tells of the database; what is due stays due
            except CacheUnavailableError:
                self._due_at_ns = 0  # the client has told it; it may come back empty
            await asyncio.sleep(TURN_SECONDS)

    async def bring(self) -> int:
        """Tell the sums of all keys that were used in this month; how many."""
        wall_ns = self._cluster.clock.wall_ns()
        month = int(find_month(0, wall_ns))
        start = datetime.datetime.fromtimestamp(int(start_of_month(month)) // NS_PER_SECOND, datetime.UTC)
        told = after = 0
        last = ""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while True:
                async with asyncio.timeout(
                    2 * STATEMENT_SECONDS
                ):  # a server that stands still keeps no time of its own
                    parameters = {"after": after, "count": CHUNK, "start": start}
                    rows: list[tuple[Any, ...]] = await (
                        await connection.execute(load("keys.months_of_keys"), parameters)
                    ).fetchall()
                used = [(digest, int(lookups)) for _, digest, lookups in rows if lookups]
                replies = await self._cluster.cache.script(
                    USAGE_SCRIPT, [tell_month(digest, LEDGER, month, 0, lookups, wall_ns) for digest, lookups in used]
                )
                refused = next((reply for reply in replies if isinstance(reply, CacheReplyError)), None)
                if refused is not None:
                    raise CacheUnavailableError(str(refused))
                told += len(used)
                last = USAGE_COUNTER_NODES.name(used[-1][0]) if used else last
                if len(rows) < CHUNK:
                    break
                after = rows[-1][0]
                await asyncio.sleep(_REST_SECONDS)
        self._last, self._due_at_ns = last, self._cluster.clock.monotonic_ns() + PERIOD_NS
        return told

    async def _is_due(self) -> bool:
        """By the time, or because what was told last is not there any more."""
        if self._cluster.clock.monotonic_ns() >= self._due_at_ns:
            return True
        return bool(self._last) and await self._cluster.cache.run([("HEXISTS", self._last, LEDGER)]) == [0]
