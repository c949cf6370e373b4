"""The operator's process: the tables first, then the jobs, over one connection after the other.

    no database       asked again within a second; what runs then waits where it is
    a database        its tables are brought to this version's state; the others wait for that (`migrate.check`)
    the lock          whoever holds it is the one active node of the database; the others ask for it once a second
    it hangs          the thread hangs with it, the process's loop does not; a frozen server is cut off (watch.py)

Rules: the loop alone beats, a thread alone asks the database. What psycopg, the store or the disk raise is a state of
the world: it is told once and tried again. The lock ends with its session, and so does being active: nothing is done
on another connection than the one that holds it.
"""

import gc
import logging
import os
import random
import select
import signal
import threading
import uuid
from pathlib import Path
from types import FrameType

import psycopg

from trinity.cache.address import CacheSettings
from trinity.cache.client import SyncCacheClient
from trinity.clock import NS_PER_SECOND
from trinity.errors import SchemaError, TrinityError
from trinity.memory.candle_table import CANDLES, CandleTable
from trinity.memory.control import COMMAND, Command
from trinity.memory.limit_table import LimitTable
from trinity.memory.node import NodeMemory
from trinity.observe.cache_meter import CacheMeter
from trinity.observe.log import Outage
from trinity.observe.metrics import OPERATOR
from trinity.process import ProcessContext
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import Retention
from trinity.store.queries import load
from trinity.store.session_thread import SessionThread
from workers.operator.alarms import NodeAlarms
from workers.operator.daily import publisher
from workers.operator.event_mails import EventMails
from workers.operator.jobs import Jobs, Work
from workers.operator.mail import Mailer
from workers.operator.quotas import QuotaWarnings
from workers.operator.sync import SyncThread

BEAT_MS = 200
# Retention may delete for seconds; a statement that took this long met a server that stands still.
STATEMENT_SECONDS = 120
# Half of the shortest period.
TURN_SECONDS = 0.5
LOCK_GAP_NS = NS_PER_SECOND
# What a job has under way at a drain; the next start does the rest.
_LAST_SECONDS = 1.0

_UP, _ACTIVE = OPERATOR.index("operator_database_up"), OPERATOR.index("operator_active")


def run(
    context: ProcessContext,
    node: uuid.UUID,
    data_dir: Path,
    url: str,
    cache: CacheSettings | None,
    retention: Retention,
    limits: LimitTable,
    mailer: Mailer,
    memory: NodeMemory,
) -> None:
    """Do what is due until SIGTERM, SIGINT or the DRAIN command."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    poll = select.poll()
    poll.register(context.control_fd, select.POLLIN)
    candles = CandleTable(data_dir / CANDLES, context.log)
    quotas = QuotaWarnings(limits, mailer, context.block, context.log)
    event_mails = EventMails(mailer.another(), context.block, context.log)
    alarms = NodeAlarms(memory, context.log)
    operator = Operator(context, node, candles, url, cache, retention, quotas, event_mails, alarms)
    operator.start()
    sync = None
    if cache is not None:
        sync = SyncThread(url, cache, retention.detail_days, context.block, context.clock, context.log)
        sync.start()
    gc.freeze()  # what the fork brought is never garbage
    while not stopping.is_set() and context.block.read(COMMAND) != Command.DRAIN:
        context.block.beat(context.clock.monotonic_ns())
        operator.show()
        operator.raise_failure()
        if sync is not None:
            sync.raise_failure()
        for fd, _ in poll.poll(BEAT_MS):
            os.eventfd_read(fd)
    operator.finish(_LAST_SECONDS)
    if sync is not None:
        sync.finish(_LAST_SECONDS)


class Operator(SessionThread):
    """The thread that migrates and runs the jobs."""

    def __init__(
        self,
        context: ProcessContext,
        node: uuid.UUID,
        candles: CandleTable,
        url: str,
        cache: CacheSettings | None,
        retention: Retention,
        quotas: QuotaWarnings,
        event_mails: EventMails,
        alarms: NodeAlarms,
    ) -> None:
        super().__init__("operator", url, context.clock)
        self._node, self._candles, self._retention, self._quotas = node, candles, retention, quotas
        self._event_mails, self._alarms = event_mails, alarms
        self._block, self._log = context.block, context.log
        meter = CacheMeter(context.block, OPERATOR, context.log, context.clock)
        self._cache = None if cache is None else SyncCacheClient.open(cache, context.clock, meter)
        self._jobs = Jobs(random.Random(), context.block)
        self._outage = Outage(self._log, logging.WARNING, "jobs wait for the database", "the database takes the jobs")
        self._ask_lock_at_ns = 0
        self.is_connected = self.is_active = False

    def show(self) -> None:
        """The state in metrics; a server that says nothing is away."""
        self._block.set_gauge(_UP, float(self.is_connected and self._watch.is_up))
        self._block.set_gauge(_ACTIVE, float(self.is_active))

    def _live_one_connection(self) -> None:
        try:
            migrate.ensure(self._url)
            with connect(self._url, "operator", statement_seconds=STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                connection.execute(load("session.prepare"))
                self.is_connected = True
                self._outage.up()
                self._on_good()
                self._jobs.begin_anew()
                work = Work(
                    connection, self._node, self._clock, self._candles, publisher(self._cache), self._retention,
                    self._log, self._quotas, self._event_mails, self._alarms, self._block,
                )  # fmt: skip
                while not self._stopping.is_set():
                    self._ask_lock(connection)
                    self._jobs.run_due(work, lambda: self.is_active)
                    self._stopping.wait(TURN_SECONDS)
        except SchemaError as error:
            self._outage.fault(str(error))
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())
        finally:
            self.is_connected = self.is_active = False
            self._ask_lock_at_ns = 0

    def _ask_lock(self, connection: AnyConnection) -> None:
        """Become the active one if nobody is. It is asked for once only: a session may hold it twice."""
        now_ns = self._clock.monotonic_ns()
        if self.is_active or now_ns < self._ask_lock_at_ns:
            return
        self._ask_lock_at_ns = now_ns + LOCK_GAP_NS
        self.is_active = connection.execute(load("operator.lock")).fetchone() == (True,)
        if self.is_active:
            self._log.info("this node does the jobs of the database")
