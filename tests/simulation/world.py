"""The simulated world: one clock, one node with all its processes, six exchanges, a disk and a database.

    Action     one event: so long after the one before, what, and with which numbers. A history is a list of them, and
               the world is a function of it: no other randomness, so a history can be replayed and made shorter
    World      applies actions; actors (a file each) hold what belongs to them, `invariants.py` judges after each step

Rules: an action that makes no sense now (a killed process killed again) does nothing, so that any part of a history is
a history. A process dies by `Killed`, raised at a store, a write or a statement; whatever was in its memory is thrown
away then, and what it left in shared memory and on the disk is what the next one finds.
"""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np

from tests.simulation import callers, deciders, exchanges, faults, ingest, ledger
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import COUNTER_WORDS
from trinity.markets import Catalog, load_catalog
from trinity.memory import answer_table, price_table
from trinity.memory.access import AccessMemory
from trinity.memory.admission_table import AdmissionTable
from trinity.memory.answer_table import AnswerTable
from trinity.memory.asset_table import AssetTable
from trinity.memory.control import BLOCK_WORDS, NODE_WORDS, STARTED_NS, Control
from trinity.memory.miss_queue import MissQueues
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.price_table import PriceTable
from trinity.process import ConsensusMemory, FeedMemory, ProcessContext

ASSETS = ("BTC", "ETH", "USDT", "USDC")
WORKERS = 2
assert COUNTER_WORDS < BLOCK_WORDS

# The first of January 2026 is behind MONTH_FLOOR; a month ends 100 s after the beginning of a history.
WALL_START_NS = 1_772_323_100 * NS_PER_SECOND
BOOT_NS = 1_000 * NS_PER_SECOND

LOG = logging.getLogger("simulation")
LOG.setLevel(logging.CRITICAL + 1)


class Action(NamedTuple):
    """One event of a history."""

    after_ms: int
    kind: str
    args: tuple[int, ...] = ()


class Clock:
    """True time, and the machine's two clocks: monotonic since its last boot, wall with the error that it has."""

    def __init__(self) -> None:
        self.true_ns = BOOT_NS
        self._booted_ns = 0
        self.wall_error_ns = 0

    def monotonic_ns(self) -> int:
        return self.true_ns - self._booted_ns

    def wall_ns(self) -> int:
        return self.true_wall_ns() + self.wall_error_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Nobody waits here: time passes by the world's events alone."""

    def true_wall_ns(self) -> int:
        return self.true_ns + WALL_START_NS

    def boot(self) -> None:
        """The monotonic clock begins anew; the wall clock is right again (NTP)."""
        self._booted_ns = self.true_ns - BOOT_NS
        self.wall_error_ns = 0


def small_catalog() -> Catalog:
    """The default catalog's BTC, ETH and stablecoins, on all six exchanges."""
    whole = load_catalog()
    assets = tuple(asset for name in ASSETS for asset in whole.assets if asset.name == name)
    return Catalog(whole.exchanges, assets, tuple(market for market in whole.markets if market.asset in ASSETS))


CATALOG = small_catalog()
_PROCESSES = (
    *(ProcessEntry(f"feed-{exchange}", "feed") for exchange in CATALOG.exchanges),
    ProcessEntry("consensus", "consensus"),
    *(ProcessEntry(f"worker-{number}", "worker") for number in range(WORKERS)),
    ProcessEntry("flusher", "flusher"),
)
PROCESS_NAMES = tuple(entry.name for entry in _PROCESSES)


class World:
    """Everything at one moment. Use it as a context: it has a folder, and stands in for the disk and the database."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        shared = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="trinity-simulation-", dir=shared if shared.is_dir() else None))
        self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.clock = Clock()
        self.catalog = CATALOG
        self.stores = faults.Stores()
        self.disk = faults.Disk(self.folder, self._undo)
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._undo.callback(os.close, self.wake_fd)
        self.database = ledger.Database(self, self._undo)
        self.progress: dict[str, int] = {}  # true time of the last turn of each process's loop
        self.market = exchanges.Exchanges(self)
        self.callers = callers.Callers(self)
        self.flusher: ledger.Flusher
        self.boot_number = 0
        self.crashed_since_quiet = False
        self._start_node()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    # --- the node ------------------------------------------------------------------------------------------

    def _start_node(self) -> None:
        """All that the supervisor makes before the first fork, and then all processes."""
        exchange_count, assets = len(self.catalog.exchanges), len(self.catalog.assets)
        card = Card("sim", True, _PROCESSES, self.catalog)
        price_words = price_table.body_words(exchange_count, card.capacity)
        answer_words = answer_table.body_words(exchange_count, card.capacity)
        self.prices = PriceTable(_private(price_words), exchange_count, assets, card.capacity)
        self.answers = AnswerTable(_private(answer_words), exchange_count, assets, card.capacity)
        self.control = Control(_private(NODE_WORDS + len(_PROCESSES) * BLOCK_WORDS), len(_PROCESSES))
        self.memory = NodeMemory(
            card,
            self.prices,
            self.answers,
            AssetTable.private(),
            MissQueues.private(WORKERS),
            self.control,
            AdmissionTable.private(WORKERS),
        )
        self.access = self.callers.open_tables()
        self.rings = ledger.open_rings(self)
        self.feeds = [ingest.FeedProcess(self, number) for number in range(exchange_count)]
        self.consensus = deciders.Consensus(self)
        self.workers = [callers.Worker(self, number) for number in range(WORKERS)]
        self.flusher = ledger.Flusher(self)
        self._actors: dict[str, Any] = dict(
            zip(PROCESS_NAMES, [*self.feeds, self.consensus, *self.workers, self.flusher], strict=True)
        )
        for name in PROCESS_NAMES:
            self.start(name)

    def context(self, name: str) -> ProcessContext:
        """The context of a process that starts now."""
        index = PROCESS_NAMES.index(name)
        return ProcessContext.of(self.memory, index, self.clock, self.wake_fd)

    def of_feed(self) -> FeedMemory:
        """The memory of a feed."""
        return FeedMemory(self.prices, self.answers, self.wake_fd, self.memory.assets)

    def of_consensus(self) -> ConsensusMemory:
        """The memory of the consensus process."""
        return ConsensusMemory(self.prices, self.answers, self.wake_fd)

    def tables_of_worker(self) -> AccessMemory:
        """Who may ask: the same for all workers."""
        return self.access

    def start(self, name: str) -> None:
        """Fork a process that is not there; it may die while it starts."""
        actor = self._actors[name]
        if actor.is_alive:
            return
        self.clock.true_ns += NS_PER_MS  # a fork takes time, so no beat is as old as a start
        self.progress.pop(name, None)
        self.control.block(PROCESS_NAMES.index(name)).write(STARTED_NS, self.clock.monotonic_ns())
        actor.is_alive = True
        self.alive(name, actor.start)

    def alive(self, name: str, act: Callable[[], object]) -> None:
        """Let a process do something; nothing when it is dead, and its end when something kills it on the way."""
        actor = self._actors[name]
        if not actor.is_alive:
            return
        try:
            act()
        except faults.Killed:
            self.kill(name)
        finally:
            self.stores.disarm()
            self.disk.revive()

    def kill(self, name: str) -> None:
        """SIGKILL: what it had in its own memory is gone."""
        actor = self._actors[name]
        if actor.is_alive:
            actor.is_alive = False
            actor.forget()

    def is_alive(self, name: str) -> bool:
        return bool(self._actors[name].is_alive)

    def beaten(self, name: str) -> None:
        """A process's loop made a turn."""
        self.progress[name] = self.clock.true_ns

    def restart_node(self, after_crash: bool) -> None:
        """All processes end at once; after a crash of the machine the disk has what was synced, and a new boot."""
        for name in PROCESS_NAMES:
            self.kill(name)
        self.market.close_all()
        if after_crash:
            self.crashed_since_quiet = True
            self.boot_number += 1
            self.clock.boot()
            self.disk.crash()
            self.callers.crash()
        self.database.end_sessions()
        self._start_node()

    # --- time and actions ----------------------------------------------------------------------------------

    def apply(self, action: Action) -> None:
        """One step: time passes, what is due on the networks arrives, and the action happens."""
        self.clock.true_ns += action.after_ms * NS_PER_MS
        self.market.deliver_due()
        _ACTIONS[action.kind](self, *action.args)

    def check_feed(self, number: int) -> None:
        self.alive(PROCESS_NAMES[number], self.feeds[number].check)

    def turn(self, fatal_store: int = 0) -> None:
        self.stores.arm(fatal_store)
        self.alive("consensus", self.consensus.turn)

    def ask(self, worker: int, caller: int, target: int, fate: int) -> None:
        self.alive(f"worker-{worker}", lambda: self.workers[worker].ask(caller, target, fate))

    def drain(self, fatal_call: int = 0) -> None:
        self.disk.arm(fatal_call)
        self.alive("flusher", self.flusher.turn)

    def load(self, fatal_statement: int = 0) -> None:
        self.database.arm(fatal_statement)
        self.alive("flusher", self.flusher.load)

    def kill_numbered(self, number: int) -> None:
        self.kill(PROCESS_NAMES[number])

    def start_numbered(self, number: int) -> None:
        self.start(PROCESS_NAMES[number])

    def step_wall(self, seconds: int) -> None:
        self.clock.wall_error_ns += seconds * NS_PER_SECOND

    def settle(self) -> None:
        """The quiet period: disk and database are well, every process lives, and all that was counted is loaded."""
        self.disk.heal()
        self.database.heal()
        for name in PROCESS_NAMES:
            self.start(name)
        for _ in range(3):
            self.drain()
            self.load()


def _private(words: int) -> Any:
    """A segment that no other process sees."""
    return SimpleNamespace(body=np.zeros(words, dtype=np.uint64), name="trinity-sim-control", owner_pid=os.getpid())


_ACTIONS: dict[str, Callable[..., None]] = {
    "quote": lambda world, *args: world.market.quote(*args),
    "move": lambda world, *args: world.market.move(*args),
    "lie": lambda world, *args: world.market.lie(*args),
    "skew": lambda world, *args: world.market.skew(*args),
    "away": lambda world, *args: world.market.away(*args),
    "timer": lambda world, *args: world.market.timer(*args),
    "check": World.check_feed,
    "rest": lambda world, number, late_ms: world.feeds[number].ask_rest(late_ms),
    "turn": World.turn,
    "ask": World.ask,
    "drain": World.drain,
    "load": World.load,
    "sync": lambda world: world.alive("flusher", world.flusher.sync),
    "writeback": lambda world: world.disk.write_back(world.rings, world.callers),
    "disk": lambda world, *args: world.disk.set(*args),
    "database": lambda world, *args: world.database.set(*args),
    "kill": World.kill_numbered,
    "start": World.start_numbered,
    "wall": World.step_wall,
    "restart": lambda world: world.restart_node(after_crash=False),
    "crash": lambda world: world.restart_node(after_crash=True),
    "settle": World.settle,
    "health": lambda _: None,  # the invariants do it
}
