"""What the access process knows and keeps up to date: cache, shared memory, snapshot, metrics.

    snapshot -> cache -> shared memory      at the start, so that keys are known without a database
    database -> cache -> shared memory      at each notification, and all of it at each comparison
    clock    -> cache -> shared memory      keys and blocks whose end has come
    cache   -> snapshot                     after each change, not more often than it can be written

Rules: shared memory outlives this process. What a former life left there is newer than the snapshot, so a later life
takes the snapshot as its knowledge, but writes nothing of it but ends; the first comparison writes everything. All
parts give way to the event loop between chunks, so the process beats while it loads, copies or ends a million keys.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.config import AccessSection
from trinity.errors import SnapshotError
from trinity.memory.access import AccessMemory
from trinity.observe.metrics import ACCESS
from trinity.process import ProcessContext
from workers.access import database
from workers.access.cache import AccessCache, Ids
from workers.access.database import AsyncConnection, Change
from workers.access.rows import END_NEVER, KEY_DTYPE, Rows
from workers.access.snapshot import FILE_NAME, Snapshot, load, save
from workers.access.tables import KEYS_AT_ONCE, Tables

# Writing a snapshot takes at most this share of the time, however many keys there are.
_SNAPSHOT_SHARE = 0.05
_SNAPSHOT_GAP_SECONDS = 0.5
# A disk that was full is tried again after this long.
_SNAPSHOT_RETRY_SECONDS = 5.0


class AccessSync:
    """One node's knowledge of who may ask."""

    def __init__(
        self,
        context: ProcessContext,
        tables: AccessMemory,
        section: AccessSection,
        data_dir: Path,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_step` is called whenever something that takes long has made a step."""
        self._context = context
        self._shared = tables
        self._cache = AccessCache(tables.keys.keys_max)
        self._tables = Tables(tables.keys, tables.blocks, section.trusted_proxies, context.log)
        self._on_step = on_step
        self._path = data_dir / FILE_NAME
        self._is_compared = False  # with the database, in this life
        self._is_ours = not tables.keys.loaded  # what shared memory has; else it is newer than what we know
        self._ticked_at_us = 0
        self._has_snapshot = False  # a good one, of whatever age
        self._has_news = False  # that the snapshot does not have
        self._blocks_end_us = END_NEVER
        self._keys_beyond = 0
        self._snapshot_refused = False  # and told
        self._saving = threading.Lock()
        self._set("access_loaded", tables.keys.loaded)

    async def load_snapshot(self) -> None:
        """Take what the last life knew; a broken snapshot is reported and ignored."""
        try:
            found = await asyncio.to_thread(load, self._path)
        except SnapshotError as error:
            self._count("access_snapshot_errors_total")
            self._context.log.error(str(error))
            return
        if found is None:
            return
        self._has_snapshot = True
        self._cache.put_plans(found.plans)
        for at in range(0, len(found.keys), KEYS_AT_ONCE):
            ids = self._cache.put_keys(found.keys[at : at + KEYS_AT_ONCE])
            self._on_step()
            await asyncio.sleep(0)
            if self._is_ours:
                await self._write(ids)
        self._cache.blocks = found.blocks
        if self._is_ours:
            self._write_blocks()
            self._mark_loaded()
        self._note_blocks_end()
        age = (self.wall_us() - found.made_at_us) // 1_000_000
        self._context.log.info("snapshot loaded", extra={"fields": {"keys": self._cache.key_count, "age_seconds": age}})

    async def compare(self, connection: AsyncConnection) -> None:
        """Bring everything to the database's state; once more when meanwhile something changed that only this finds."""
        while await self._compare_once(connection):
            pass

    async def _compare_once(self, connection: AsyncConnection) -> bool:
        await self._take_plans(connection)
        self._cache.begin_comparison()
        missed = False
        async for rows in database.read_keys(connection, None):
            await self._take_keys(rows)
            # A million keys take seconds: what changes meanwhile does not wait for them.
            change = await database.wait_for_change(connection, 0)
            missed |= change is not None and change.everything
            if change is not None:
                await self.take(connection, change._replace(everything=False))
        gone = self._cache.end_comparison()
        self._has_news |= len(gone) > 0
        await self._write(gone)
        if not self._is_compared:
            self._count("access_changes_total", self._tables.revoke_others(self._cache))
        await self._take_blocks(connection)
        self._is_compared = self._is_ours = True
        self._has_news |= not self._has_snapshot
        self._mark_loaded()
        self._set("access_compared_timestamp_seconds", self._context.clock.wall_ns() / NS_PER_SECOND)
        return missed

    async def take(self, connection: AsyncConnection, change: Change) -> None:
        """Bring what changed to the database's state."""
        if change.everything:
            await self.compare(connection)
            return
        if change.plans:
            await self._take_plans(connection)
        if change.keys_since_us is not None:
            async for rows in database.read_keys(connection, change.keys_since_us):
                await self._take_keys(rows)
        if change.blocks:
            await self._take_blocks(connection)
        self._report_keys()

    async def tick(self) -> None:
        """Revoke the keys and lift the blocks whose end has come; not so for those whose end is yet to come again."""
        now_us = self.wall_us()
        if now_us < self._ticked_at_us and self._is_ours:  # the clock was ahead for a while
            await self._write(self._cache.review_ends(now_us))
            self._write_blocks()
        self._ticked_at_us = now_us
        ended = self._cache.ended(now_us)
        if len(ended):
            await self._write(ended)
            self._context.log.info("keys ended", extra={"fields": {"keys": ended[:10].tolist(), "count": len(ended)}})
        if now_us >= self._blocks_end_us:
            self._write_blocks()

    async def save_snapshot_if_dirty(self) -> float:
        """Write the snapshot if there is news; returns after how many seconds to ask again."""
        if not (self._has_news and (self._is_compared or self._has_snapshot)):
            return _SNAPSHOT_GAP_SECONDS
        started_ns = self._context.clock.monotonic_ns()
        made_at_us = self.wall_us()
        self._has_news = False
        try:
            await asyncio.to_thread(self._save, made_at_us, await self._copied())
        except asyncio.CancelledError:
            self._has_news = True
            raise
        except OSError as error:
            self._has_news = True
            self._count("access_snapshot_errors_total")
            if not self._snapshot_refused:
                self._context.log.error("access snapshot not written", extra={"fields": {"reason": str(error)}})
            self._snapshot_refused = True
            return _SNAPSHOT_RETRY_SECONDS
        if self._snapshot_refused:
            self._context.log.warning("access snapshot written again")
        self._snapshot_refused = False
        self._has_snapshot = True
        self._set("access_snapshot_timestamp_seconds", made_at_us / 1_000_000)
        taken_seconds = (self._context.clock.monotonic_ns() - started_ns) / NS_PER_SECOND
        return max(_SNAPSHOT_GAP_SECONDS, taken_seconds / _SNAPSHOT_SHARE)

    async def _copied(self) -> list[Rows]:
        """All keys. What changes meanwhile may be in it or not: it is news, so the next snapshot has it."""
        parts = []
        for at in range(0, self._cache.keys_max + 1, KEYS_AT_ONCE):
            parts.append(self._cache.rows(at, KEYS_AT_ONCE))
            await asyncio.sleep(0)
        return parts

    def _save(self, made_at_us: int, keys: list[Rows]) -> None:
        """One after the other, the newest last: at the end of this process one may still be on its way."""
        plans, blocks = tuple(self._cache.plans.values()), self._cache.blocks
        with self._saving:
            # As bytes: numpy would give the whole another byte order than its parts have.
            rows = np.concatenate([part.view(np.uint8) for part in keys]).view(KEY_DTYPE)
            save(self._path, Snapshot(made_at_us, rows, plans, blocks))

    def seconds_until_end(self) -> float:
        """Until a key or a block ends; long where none does."""
        return max(0, min(self._cache.next_end_us, self._blocks_end_us) - self.wall_us()) / 1_000_000

    def report_database(self, is_up: bool) -> None:
        self._set("access_database_up", is_up)

    def wall_us(self) -> int:
        """Now, as PostgreSQL counts."""
        return self._context.clock.wall_ns() // NS_PER_US

    async def _take_plans(self, connection: AsyncConnection) -> None:
        before = self._cache.plans
        touched = self._cache.put_plans(await database.read_plans(connection))
        self._has_news |= self._cache.plans != before
        if self._is_ours:
            await self._write(touched)

    async def _take_keys(self, rows: Rows) -> None:
        self._on_step()
        self._shared.limits.forget(self._cache.reused(rows, self._is_compared))
        changed = self._cache.put_keys(rows)
        self._has_news |= len(changed) > 0
        ids = changed if self._is_compared else rows["id"].astype(np.int64)
        await self._write(ids[ids <= self._cache.keys_max])

    async def _take_blocks(self, connection: AsyncConnection) -> None:
        self._on_step()
        before = self._cache.blocks
        self._cache.blocks = await database.read_blocks(connection)
        self._has_news |= self._cache.blocks != before
        self._write_blocks()

    async def _write(self, ids: Ids) -> None:
        """Write keys to shared memory, with a look at everything else after each part."""
        for at in range(0, len(ids), KEYS_AT_ONCE):
            changed = self._tables.write_keys(self._cache, ids[at : at + KEYS_AT_ONCE], self.wall_us())
            self._count("access_changes_total", changed)
            self._on_step()
            await asyncio.sleep(0)

    def _write_blocks(self) -> None:
        now_us = self.wall_us()
        self._count("access_changes_total", self._tables.write_blocks(self._cache.blocks, now_us))
        self._note_blocks_end()
        self._set("access_blocks", self._tables.blocked_count)
        self._set("access_blocks_refused", self._tables.refused_count)

    def _note_blocks_end(self) -> None:
        now_us = self.wall_us()
        ends = (block.ends_at_us for block in self._cache.blocks)
        self._blocks_end_us = min((end for end in ends if end > now_us), default=END_NEVER)

    def _mark_loaded(self) -> None:
        self._shared.keys.mark_loaded()
        self._set("access_loaded", 1)
        self._report_keys()

    def _report_keys(self) -> None:
        self._set("access_keys", self._cache.key_count)
        beyond = self._cache.keys_beyond
        self._set("access_keys_beyond_room", beyond)
        if beyond > self._keys_beyond:
            fields = {"keys": beyond, "keys_max": self._cache.keys_max}
            self._context.log.error("keys have no room here: set KEYS_MAX higher and restart", extra={"fields": fields})
        self._keys_beyond = beyond

    def _set(self, name: str, value: float) -> None:
        self._context.block.set_gauge(ACCESS.index(name), float(value))

    def _count(self, name: str, amount: int = 1) -> None:
        self._context.block.count(ACCESS.index(name), amount)
