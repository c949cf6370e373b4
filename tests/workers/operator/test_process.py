"""workers/operator/process.py: whole processes, forked as the node forks them, on a real PostgreSQL."""

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.contexts import open_context
from trinity.config import MailSection
from trinity.errors import SchemaError, StoreUnavailableError
from trinity.markets import load_catalog
from trinity.memory.control import HEARTBEAT_NS
from trinity.memory.limit_table import LimitTable
from trinity.observe.metrics import OPERATOR
from trinity.store import migrate
from trinity.store.partitions import Retention
from trinity.vocabulary import OPERATOR_JOBS
from workers.operator.mail import Mailer
from workers.operator.process import run

NOWHERE = "postgresql:///none?host=/nonexistent"
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def _until(what: str, is_so: Callable[[], object]) -> None:
    wait, deadline = threading.Event().wait, time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        wait(0.02)


class Forked:
    """A forked operator of a node of its own."""

    def __init__(self, folder: Path, url: str, undo: contextlib.ExitStack) -> None:
        self._context = undo.enter_context(open_context("operator", "operator", load_catalog()))
        self.block = self._context.block
        self._folder, self._url, self._node = folder, url, uuid.uuid4()
        self.pid = 0
        undo.callback(self.kill, signal.SIGKILL)

    def start(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                limits, mailer = LimitTable.private(9), Mailer(MailSection(), None)
                run(
                    self._context,
                    self._node,
                    self._folder,
                    self._url,
                    None,
                    Retention(93, 36),
                    limits,
                    mailer,
                    self._context.memory,
                )
            finally:
                os._exit(0)

    def kill(self, number: signal.Signals) -> int:
        """End it; how it ended."""
        if not self.pid:
            return 0
        os.kill(self.pid, number)
        pid, self.pid = self.pid, 0
        return os.waitpid(pid, 0)[1]

    def gauge(self, name: str) -> float:
        return self.block.read_gauge(OPERATOR.index(name))

    def runs(self, job: str) -> int:
        return self.block.read_counter(OPERATOR.index("operator_job_runs_total", job))


Make = Callable[[str], Forked]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes operators, each started."""
    with contextlib.ExitStack() as undo:

        def started(url: str) -> Forked:
            made = Forked(tmp_path, url, undo)
            made.start()
            return made

        yield started


def test_an_empty_database_is_migrated_and_each_job_runs(make: Make, empty_database_url: str) -> None:
    """Before it others hear that the tables are not there yet, afterwards all is well; SIGTERM ends it."""
    with pytest.raises(StoreUnavailableError, match="not of this version yet"):
        migrate.check(empty_database_url)
    operator = make(empty_database_url)
    for job in OPERATOR_JOBS:
        _until(job, lambda job=job: operator.runs(job) > 0)
    _until("the gauges", lambda: operator.gauge("operator_database_up") == operator.gauge("operator_active") == 1)
    migrate.check(empty_database_url)
    assert operator.kill(signal.SIGTERM) == 0


def test_of_two_operators_one_is_active_and_the_other_takes_over(make: Make, database_url: str) -> None:
    """While the first lives the second does only what is its own node's; kill -9 of the first makes it the active."""
    first = make(database_url)
    _until("the first", lambda: first.gauge("operator_active") == 1 and first.runs("daily_figures") > 0)
    second = make(database_url)
    _until("the second's turns", lambda: second.runs("candles") > 2)
    assert second.gauge("operator_active") == 0
    assert second.runs("daily_figures") == second.runs("partitions") == 0
    first.kill(signal.SIGKILL)
    _until("the takeover", lambda: second.gauge("operator_active") == 1 and second.runs("daily_figures") > 0)


def test_a_session_that_is_lost_is_no_longer_active_and_comes_back(make: Make, database_url: str) -> None:
    """The lock ends with its session: it is asked for again on the next one, and there is no second session with it."""
    operator = make(database_url)
    _until("the lock", lambda: operator.gauge("operator_active") == 1)
    ran = operator.runs("partitions")
    with psycopg.connect(database_url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity"
            " WHERE application_name = 'trinity operator' AND datname = current_database()"
        ).fetchall()
        ((was_there, former),) = ended
        assert was_there

        def holders() -> list[tuple[int]]:
            return connection.execute(
                "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
                # Not those of its jobs, which last as long as a transaction.
                " AND (classid::bigint << 32 | objid::bigint) = hashtextextended('trinity.operator', 0)"
            ).fetchall()

        # The gauge says so until the process has found out; the server knows at once.
        _until("the lock again", lambda: [pid for (pid,) in holders() if pid != former])
        _until("the next round", lambda: operator.runs("partitions") > ran)
        assert operator.gauge("operator_active") == 1
        assert len(holders()) == 1


def test_without_a_database_it_beats_and_ends_when_told(make: Make) -> None:
    """Nothing is up, nothing is active, and the supervisor sees a process that lives."""
    operator = make(NOWHERE)
    _until("a beat", lambda: operator.block.read(HEARTBEAT_NS))
    before = operator.block.read(HEARTBEAT_NS)
    _until("the next beat", lambda: operator.block.read(HEARTBEAT_NS) > before)
    assert operator.gauge("operator_database_up") == operator.gauge("operator_active") == 0
    assert operator.kill(signal.SIGTERM) == 0


def test_a_newer_database_is_left_alone(make: Make, database_url: str) -> None:
    """Its tables are of another version: no job runs, and the process lives on until somebody installs that one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO applied_migrations (name, digest) VALUES ('9999-later', 'x')")
    with pytest.raises(SchemaError, match="newer"):
        migrate.check(database_url)
    operator = make(database_url)
    _until("a beat", lambda: operator.block.read(HEARTBEAT_NS))
    before = operator.block.read(HEARTBEAT_NS)
    _until("many beats", lambda: operator.block.read(HEARTBEAT_NS) > before + 2 * 10**9)
    assert sum(operator.runs(job) for job in ("partitions", "candles")) == 0
