"""The way of a usage record: rings, the flusher's process turn by turn, and a database that fails at any statement.

    Flusher     drain, spool and loader as the process has them; `load` is one connection of the loader's thread
    Database    the ledger's tables as sets and sums in memory: whole transactions, one session's lock, and each outcome
                that a real one has: refused, gone in the middle, gone at the commit with or without having done it

Rules: the database stands in for PostgreSQL here alone, where each statement must be able to fail; it knows the
statements by their names and nothing else. A row that comes twice, and one that nobody counted, is found at once.
"""

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

import numpy as np
import psycopg

from tests.simulation.faults import Killed
from trinity.errors import StoreUnavailableError
from trinity.memory.record_ring import POSITION_BITS
from trinity.memory.usage_ring import UsageRing
from trinity.store.queries import load, load_for
from trinity.vocabulary import ANONYMOUS_KEY_ID, CODE_OK
from workers.ledger import loader as loader_module
from workers.ledger import rows as copy_rows
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.syncer import Syncer
from workers.ledger.drain import Drain
from workers.ledger.loader import Loader
from workers.ledger.process import take_over
from workers.ledger.route import Gauges
from workers.ledger.sums import UNITS_MINUTES
from workers.ledger.usage import runs
from workers.ledger.usage.usage_tables import USAGE

if TYPE_CHECKING:
    from tests.simulation.world import World

RING_RECORDS = 128
SPOOL_BYTES_MAX = 32 * 1024  # segments of 4 KB, 60 records
NODE = uuid.UUID(int=9)
POSITION_MASK = (1 << POSITION_BITS) - 1

UP, DOWN, FAILS, FAILS_AT_COMMIT, COMMITS_UNKNOWN = range(5)

_NAMES = {
    load(f"ledger.{name}"): name
    for name in (
        "find_node", "add_node", "rename_node", "assets", "add_assets", "create_sums", "lock",
        "copy_usage", "copy_sums", "copy_refusals", "add_refusals",
    )
} | {load("partitions.missing"): "missing", load("session.prepare"): "prepare"}  # fmt: skip
_NAMES |= {load_for(f"ledger.{name}", "usage_batches"): name for name in ("loaded", "add_batch")}
_NAMES |= {load_for("ledger.add_sums", table): "add_sums" for table in ("usage_minute", "usage_hour", "usage_day")}


class LedgerError(Exception):
    """What must never happen to a ledger, found by the database itself."""


def open_rings(world: "World") -> tuple[UsageRing, ...]:
    """As the node does before its first fork: what a former life left goes to the spool, and the rings move on."""
    folder, wall_seconds = world.folder / "usage", world.clock.wall_ns() // 10**9
    folder.mkdir(exist_ok=True)
    (folder / "spool").mkdir(exist_ok=True)
    rings = tuple(UsageRing.open(folder / f"ring-{i}", i, RING_RECORDS, wall_seconds) for i in range(2))
    block, log = world.control.block(len(world.memory.card.processes) - 1), _log()
    section: Any = SimpleNamespace(spool_bytes_max=SPOOL_BYTES_MAX)
    if not take_over(rings, world.folder, section, block, log):
        raise LedgerError("the rings are not empty, so the node would not start: spool and reserve refuse")
    for ring in rings:
        ring.move_on(wall_seconds)
    world.disk.write_back(rings, world.callers)
    return rings


def _log() -> Any:
    import logging

    return logging.getLogger("simulation")


class Flusher:
    """The flusher's process."""

    make_loader: Any = Loader

    def __init__(self, world: "World") -> None:
        self._world = world
        self.is_alive = False
        self.forget()

    def forget(self) -> None:
        self._drain: Any = None
        self._spool: Any = None
        self._syncer: Any = None
        self._loader: Any = None
        self.has_shown = False

    def start(self) -> None:
        world, context = self._world, self._world.context("flusher")
        self._block = context.block
        self._spool = Spool(USAGE, world.folder / "usage" / "spool", SPOOL_BYTES_MAX)
        reserve = world.folder / "usage" / "reserve"
        self._drain = Drain(world.rings, self._spool, reserve, context.block, context.log, self._beat, context.clock)
        self._loader = type(self).make_loader(
            "host=sim", USAGE, NODE, "sim", world.rings, self._spool, context.block, context.clock, context.log
        )
        self._loader._stopping.set()  # each life is one connection, which loads all that is there
        self._syncer = Syncer(self._spool, context.clock, context.log)
        self._gauges = Gauges(USAGE, context.block)
        self._beat()

    def turn(self) -> None:
        """One turn of the process's loop."""
        self._drain.turn()
        self._gauges.show(self._drain, self._spool, self._loader, self._syncer, self._world.clock)
        self.has_shown = True
        self._beat()

    def load(self) -> None:
        """One connection of the loader's thread."""
        if self._loader is None:
            return
        self._loader._live_one_connection()

    def sync(self) -> None:
        self._syncer._sync()

    @property
    def is_writable(self) -> bool:
        return bool(self._drain.is_writable)

    def _beat(self) -> None:
        self._block.beat(self._world.clock.monotonic_ns())
        self._world.beaten("flusher")


class Database:
    """The ledger's tables of one node."""

    def __init__(self, world: "World", undo: contextlib.ExitStack) -> None:
        self._world = world
        self.mode = UP
        self._countdown = 0
        self._fatal = 0
        self._lock_until_ns = 0
        self._owner: object = None
        self._has_node = False
        self.assets: dict[str, int] = {}
        # What is committed.
        self.ids: set[int] = set()
        self.ends: dict[int, int] = {}
        self.lost_detail = 0
        self.sampled = 0  # refusals without a key and without a row of their own
        self.refused_rows = 0  # of such refusals
        self.refused = 0  # the same in their sums
        self.sums: dict[int, Counter[str]] = {unit: Counter() for unit in UNITS_MINUTES}
        self.by_key: Counter[int] = Counter()
        # What the workers counted.
        self.expected: set[int] = set()
        self.expected_sums: Counter[str] = Counter()
        self.expected_by_key: Counter[int] = Counter()
        undo.enter_context(patch.object(loader_module, "connect", self._connect))
        undo.enter_context(patch.object(loader_module, "migrate", SimpleNamespace(check=lambda url: None)))

    def counted(self, ring: int, key_id: int, status: int, lookups: int) -> None:
        """A worker has written a record of an answer."""
        position = self._world.rings[ring].written - 1
        self.expected.add(ring << POSITION_BITS | position)
        self.expected_sums.update(requests=1, lookups=lookups)
        self.expected_by_key[key_id] += 1

    # --- faults --------------------------------------------------------------------------------------------

    def set(self, mode: int, statements: int = 0) -> None:
        """What it does, from so many statements on."""
        self.mode, self._countdown = mode, statements

    def arm(self, statements: int) -> None:
        """The process that asks dies at its n-th statement from now on."""
        self._fatal = statements

    def heal(self) -> None:
        self.mode, self._fatal = UP, 0
        self.end_sessions()

    def end_sessions(self) -> None:
        """The server has noticed the end of every session."""
        self._owner, self._lock_until_ns = None, 0

    def statement(self) -> None:
        """Another statement of a session; raises what its fate is."""
        self._die_if_due()
        if self.mode == DOWN:
            raise psycopg.OperationalError("the connection is lost")
        if self.mode == FAILS:
            self._countdown -= 1
            if self._countdown < 0:
                self.mode = UP
                raise psycopg.errors.AdminShutdown("terminating connection")

    def _die_if_due(self) -> None:
        if self._fatal:
            self._fatal -= 1
            if self._fatal == 0:
                raise Killed

    def commit(self, change: "Change") -> None:
        mode = self.mode
        if mode in (FAILS_AT_COMMIT, COMMITS_UNKNOWN) and (change.ids or change.batches):
            self.mode = UP
            if mode == COMMITS_UNKNOWN:
                self._apply(change)
            raise psycopg.OperationalError("the connection is lost")
        self.statement()
        self._apply(change)
        self._die_if_due()  # before the word of it arrives

    def _apply(self, change: "Change") -> None:
        twice = self.ids & change.ids
        if twice or len(change.ids) != change.rows:
            raise LedgerError(f"rows come twice: {sorted(twice)[:3]}")
        if not change.ids <= self.expected:
            raise LedgerError(f"rows that nobody counted: {sorted(change.ids - self.expected)[:3]}")
        if change.refused_weight > change.refused:
            raise LedgerError(f"rows stand for {change.refused_weight} refusals of {change.refused} in sums")
        self.ids |= change.ids
        for batch in change.batches:
            ring, end = batch["ring"], batch["end"]
            if end <= self.ends.get(ring, 0):
                raise LedgerError(f"ring {ring} goes back to {end}")
            self.ends[ring] = end
            self.lost_detail += batch["lost"]
            self.sampled += batch["sampled"]
        self.refused_rows += change.refused_rows
        self.refused += change.refused
        for unit, sums in change.sums.items():
            self.sums[unit] += sums
        self.by_key += change.by_key

    # --- sessions ------------------------------------------------------------------------------------------

    def _connect(self, *_: Any, **__: Any) -> "Session":
        if self.mode == DOWN:
            raise StoreUnavailableError("no route")
        return Session(self)

    def lock(self, session: object) -> bool:
        now_ns = self._world.clock.true_ns
        if self._owner is not None and self._owner is not session and now_ns < self._lock_until_ns:
            return False
        self._owner, self._lock_until_ns = session, now_ns + 10**18
        return True

    def session_ends(self, session: object, was_killed: bool) -> None:
        """A killed client's session lives on until the server notices."""
        if self._owner is session:
            self._lock_until_ns = self._world.clock.true_ns + (10 * 10**9 if was_killed else 0)


class Change:
    """What a transaction has done so far."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.rows = 0
        self.refused_rows = 0
        self.refused_weight = 0
        self.refused = 0
        self.batches: list[dict[str, int]] = []
        self.sums: dict[int, Counter[str]] = {}
        self.by_key: Counter[int] = Counter()
        self.staged: Any = None
        self.staged_refusals: Any = None


def _take_runs(change: Change, data: bytes) -> None:
    """The requests of packed rows, by what the rows' heads and words say (0004-runs.sql)."""
    at = 0
    while at < len(data):
        head = np.frombuffer(data, dtype=runs._HEAD.dtype, count=1, offset=at)[0]
        shared, length = head["shared"], int(head["words"]["length"])
        at += runs._HEAD.dtype.itemsize
        words = np.frombuffer(data, dtype=copy_rows.ELEMENT, count=length, offset=at)["value"].astype(np.int64)
        at += words.size * copy_rows.ELEMENT.itemsize
        rows = int(shared["rows"])
        change.ids.update((int(shared["base_id"]) + (words[1 : 2 * rows : 2] >> 38)).tolist())
        change.rows += rows
        if shared["key_id"] == ANONYMOUS_KEY_ID and shared["code"] != CODE_OK:
            change.refused_rows += rows
            change.refused_weight += rows * int(shared["weight"])


class Session:
    """A connection to the database, as psycopg's; statements by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._change: Change | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._database.session_ends(self, kind is not None and not issubclass(kind, Exception))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._change = Change()
        try:
            yield
            self._database.commit(self._change)
        finally:
            self._change = None

    @contextlib.contextmanager
    def cursor(self) -> Iterator["Session"]:
        yield self

    @contextlib.contextmanager
    def copy(self, statement: Any) -> Iterator[Any]:
        pieces: list[bytes] = []
        yield SimpleNamespace(write=pieces.append)
        self._database.statement()
        data = b"".join(pieces).removeprefix(copy_rows.SIGNATURE).removesuffix(copy_rows.TRAILER)
        change = self._change
        assert change is not None, "a COPY is in a transaction"
        if _NAMES[statement] == "copy_usage":
            _take_runs(change, data)
        elif _NAMES[statement] == "copy_sums":
            change.staged = np.frombuffer(data, dtype=copy_rows._SUM_ROW.dtype)
        elif _NAMES[statement] == "copy_refusals":
            change.staged_refusals = np.frombuffer(data, dtype=copy_rows._REFUSAL_ROW.dtype)

    def execute(self, statement: Any, values: Any = None) -> Any:
        """One statement; what it returns has `fetchone` and `fetchall`."""
        self._database.statement()
        found = getattr(self, f"_{_NAMES[statement]}", self._nothing)(values)
        return SimpleNamespace(fetchone=lambda: found[0] if found else None, fetchall=lambda: found)

    def _nothing(self, _: Any) -> list[Any]:
        return []

    def _find_node(self, _: Any) -> list[Any]:
        return [(1,)] if self._database._has_node else []

    def _add_node(self, _: Any) -> list[Any]:
        self._database._has_node = True
        return []

    def _lock(self, _: Any) -> list[Any]:
        return [(self._database.lock(self),)]

    def _loaded(self, values: Any) -> list[Any]:
        ends = self._database.ends
        return [(ring, ends[ring]) for ring in values["rings"] if ring in ends]

    def _assets(self, _: Any) -> list[Any]:
        return list(self._database.assets.items())

    def _add_assets(self, values: Any) -> list[Any]:
        for name in values[0]:
            self._database.assets.setdefault(name, len(self._database.assets) + 1)
        return []

    def _add_sums(self, values: Any) -> list[Any]:
        change, unit = self._change, values["unit_minutes"]
        assert change is not None, "sums are added in a transaction"
        assert change.staged is not None, "sums were copied before"
        rows = change.staged[change.staged["unit"] == unit]
        requests, lookups = int(rows["requests"].sum()), int(rows["lookups"].sum())
        change.sums[unit] = Counter(requests=requests, lookups=lookups)
        if unit == 1:
            for key_id, count in zip(rows["key_id"].tolist(), rows["requests"].tolist(), strict=True):
                change.by_key[key_id] += count
        return []

    def _add_refusals(self, _: Any) -> list[Any]:
        change = self._change
        assert change is not None, "refusals are added in a transaction"
        change.refused += int(change.staged_refusals["requests"].sum())
        return []

    def _add_batch(self, values: Any) -> list[Any]:
        assert self._change is not None, "a batch is told in its transaction"
        self._change.batches.append(values)
        return []
