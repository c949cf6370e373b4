"""The loader's thread: the spool's files into the database, one after the other.

    database answers      the oldest file is loaded, then removed; the open one is asked for twice a second
    no file is full       it rests between files, as pace.py says, unless the disk refuses the next ones
    database away         the spool grows; tried again within a second
    database hangs        this thread hangs with it, the drain does not; one that answers nobody is given up (watch.py)
    file cannot be loaded set aside, loudly, and its positions skipped: it must not block those behind it forever

Rules: those of a SessionThread (trinity/store/session_thread.py).
"""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

import psycopg

from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import LedgerTakenError, SchemaError, TrinityError, UnloadableError
from trinity.limits import LOAD_GAP_SECONDS
from trinity.memory.control import ProcessBlock
from trinity.memory.record_ring import RecordRing
from trinity.observe.log import Losses, Outage
from trinity.store import migrate
from trinity.store.connect import connect, judge
from trinity.store.session_thread import SessionThread
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import Unit
from workers.ledger.kind import RecordKind
from workers.ledger.ledger import Ledger, Loaded
from workers.ledger.pace import REST_TURN_SECONDS, Pace

# A transaction of a segment takes 1 s to 2 s; one that took this long met a server that stands still.
_STATEMENT_SECONDS = 120
_SLOW_NS = 10 * NS_PER_SECOND
# The session of a killed predecessor ends within 15 s; who holds the lock for longer is another node.
_TAKEN_NS = 20 * NS_PER_SECOND
_NEVER_AGAIN_NS = 2**63
# A file of which the database says "never" for so long is set aside: by then it is not a change of the tables that
# somebody is making.
_NEVER_NS = 60 * NS_PER_SECOND


class Loader(SessionThread):
    """The thread that loads the spool, over one connection after the other."""

    def __init__(
        self,
        url: str,
        kind: RecordKind,
        node: uuid.UUID,
        node_name: str,
        rings: Sequence[RecordRing],
        spool: Spool,
        block: ProcessBlock,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        super().__init__("loader", url, clock)
        self._kind, self._node, self._node_name, self._rings = kind, node, node_name, rings
        self._spool, self._block, self._log = spool, block, log
        self._outage = Outage(
            log,
            logging.ERROR,
            f"the database does not take the {kind.called}, the spool does",
            f"the database takes the {kind.called}",
        )
        self._missing = Losses(log, f"{kind.name} records are missing")
        self._rows_word, self._batches_word = kind.metric("rows_loaded_total"), kind.metric("batches_total")
        self._lost_record_word = kind.metric("lost_total", "record")
        self._say_taken_at_ns: int | None = None
        self._never_since: tuple[Unit, int] | None = None
        self._behind: set[int] = set()
        self._busy_since_ns: int | None = None
        self._pace = Pace()
        self.is_connected = False

    def is_up(self) -> bool:
        """Whether the database takes batches, as far as one can see."""
        since_ns = self._busy_since_ns
        is_slow = since_ns is not None and self._clock.monotonic_ns() - since_ns >= _SLOW_NS
        return self.is_connected and self._watch.is_up and not is_slow

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, "flusher", statement_seconds=_STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                ledger = Ledger(connection, self._kind, self._node, self._node_name)
                self._say_connected()
                with self._busy():
                    self._check_positions(ledger)
                while self._load_some(ledger):
                    self._missing.tell(self._clock.monotonic_ns(), is_last=self._stopping.is_set())
                    if self._rests():
                        self._stopping.wait(REST_TURN_SECONDS)
                    elif not self._spool.has_closed():
                        self._stopping.wait(LOAD_GAP_SECONDS)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._say_down(error)
            if isinstance(error, LedgerTakenError):
                self._say_taken(error)
        finally:
            self.is_connected = False

    def _load_some(self, ledger: Ledger) -> bool:
        """Load what is there, at most for a second, and then tell of losses; False when it was the last time."""
        is_last = self._stopping.is_set()
        until_ns = self._clock.monotonic_ns() + NS_PER_SECOND
        while (is_last or not self._rests()) and (unit := self._spool.take()) is not None:
            self._load(ledger, unit)
            # Beyond the closed files there is the open one: it may fill for a while.
            if not is_last and (not self._spool.has_closed() or self._clock.monotonic_ns() > until_ns):
                break
        return not is_last

    def _load(self, ledger: Ledger, unit: Unit) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            with self._busy():
                loaded = ledger.load(unit)
        except UnloadableError as error:
            self._set_aside(ledger, unit, error)
            return
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if judge(error) == "never" and self._is_never(unit):
                self._set_aside(ledger, unit, error)
                return
            self._spool.put_back(unit)
            raise
        except BaseException:
            self._spool.put_back(unit)
            raise
        now_ns = self._clock.monotonic_ns()
        self._pace.loaded(now_ns - began_ns, now_ns)
        self._spool.remove(unit)
        self._count(loaded)

    def _is_never(self, unit: Unit) -> bool:
        """Whether this file's rows have been refused for long enough."""
        now_ns = self._clock.monotonic_ns()
        if self._never_since is None or self._never_since[0] is not unit:
            self._never_since = unit, now_ns
        return now_ns - self._never_since[1] >= _NEVER_NS

    def _set_aside(self, ledger: Ledger, unit: Unit, error: Exception) -> None:
        try:
            lost = ledger.skip(unit)
        except BaseException:
            self._spool.put_back(unit)
            raise
        fields = {"file": str(self._spool.set_aside(unit)), "records": lost, "error": str(error)}
        self._block.count(self._lost_record_word, lost)
        text = f"a file of the {self._kind.name} spool cannot be loaded and was set aside"
        self._log.critical(text, extra={"fields": fields})

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        """Whatever waits for the database: `is_up` looks at how long."""
        self._busy_since_ns = self._clock.monotonic_ns()
        try:
            yield
        finally:
            self._busy_since_ns = None

    def _check_positions(self, ledger: Ledger) -> None:
        """A ring behind the database was not moved on at the node's start: what comes next is taken for loaded."""
        loaded = ledger.positions([ring.number for ring in self._rings])
        for ring in self._rings:
            behind = loaded.get(ring.number, 0) - ring.written
            if behind > 0 and ring.number not in self._behind:
                self._behind.add(ring.number)
                self._block.count(self._lost_record_word, behind)
                fields = {"ring": ring.number, "records": behind}
                self._log.critical(
                    f"a {self._kind.name} ring is older than the database and its next records will be lost: "
                    "start the node again",
                    extra={"fields": fields},
                )

    def _rests(self) -> bool:
        # While the disk refuses, the rings fill, and only what is loaded makes room.
        return self._spool.is_writable and self._pace.rests(self._clock.monotonic_ns(), self._spool.has_closed())

    def _count(self, loaded: Loaded) -> None:
        self._block.count(self._rows_word, loaded.records)
        self._block.count(self._batches_word)
        if loaded.missing:
            self._block.count(self._lost_record_word, loaded.missing)
            self._missing.add(loaded.missing)

    def _say_connected(self) -> None:
        self.is_connected = True
        self._say_taken_at_ns = None
        self._outage.up()
        self._on_good()

    def _say_down(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, SchemaError):
            self._outage.fault(text)
        else:
            self._outage.down(text, self._clock.monotonic_ns())

    def _say_taken(self, error: LedgerTakenError) -> None:
        """Once, unless the database is lost and found in between."""
        now_ns = self._clock.monotonic_ns()
        if self._say_taken_at_ns is None:
            self._say_taken_at_ns = now_ns + _TAKEN_NS
        elif self._say_taken_at_ns <= now_ns:
            self._say_taken_at_ns = _NEVER_AGAIN_NS
            fields = {"error": str(error)}
            self._log.critical(
                f"nothing is loaded: another node has this one's {self._kind.called}", extra={"fields": fields}
            )
