"""The pusher's thread on PostgreSQL: subscriptions and leases come, states and what was given up go.

    at the start         the snapshot's subscriptions, served by nobody yet
    a connection         all subscriptions, the receivers that fail, then leases: each TURN_SECONDS
    a notification       what changed since the last revision
    no connection        WAIT_SECONDS after the start this node goes on with the shards that it held; later nothing
                         changes: what is served goes on, states wait here

Rules: the thread alone asks the database; the process's loop is told through `tell`, which calls its methods there. It
leaves what it has to say in `take_over`. What psycopg, the store or the disk raise is a state of the world. A revision
never misses a change (0010-push.sql), and each connection begins with all of them: a database that was restored from a
backup has lower ones.
"""

import datetime
import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg

from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import SchemaError, SnapshotError, TrinityError
from trinity.observe.log import Outage
from trinity.push import store
from trinity.push.events import emit
from trinity.push.subscription import Subscription
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect
from trinity.store.queries import load
from trinity.store.session_thread import SessionThread
from workers.push.shares import snapshot
from workers.push.shares.leases import LEASE_SECONDS, TURN_SECONDS, LeaseNews, Leases
from workers.push.shares.snapshot import KnownFailing, PushSnapshot
from workers.push.state import HealthTurn, StateRow

CHANNEL = "push"
# A database beside the node is there within a second of its start; longer, and messages would wait for nothing.
WAIT_SECONDS = 3.0
# All 100,000 subscriptions are read in 2 s; a statement of so long met a server that stands still.
STATEMENT_SECONDS = 30
# Rows of one statement, some 10 ms.
STATES_MAX = 2_000
# What waits for a notification meanwhile waits no longer than that.
_NOTIFY_SECONDS = 0.2
# Writing a snapshot takes at most this share of the time.
_SNAPSHOT_SHARE, _SNAPSHOT_GAP_SECONDS, _SNAPSHOT_RETRY_SECONDS = 0.05, 1.0, 5.0


class GivenUp(NamedTuple):
    """A receiver that this process gave up, as it was asked for in this revision."""

    id: int
    revision: int
    reason: str


class Reports(NamedTuple):
    """What the loop has to say since the last time."""

    states: Sequence[StateRow]
    turns: Sequence[HealthTurn]
    given_up: Sequence[GivenUp]
    left: Sequence[int]  # shards whose last message has landed


class SourceListener(Protocol):
    """The process's loop; every method is called in it."""

    def on_subscriptions(self, changed: Sequence[Subscription], is_all: bool) -> None: ...

    def on_failing(self, failing: Sequence[KnownFailing], wall_ns: int) -> None: ...

    def on_leases(self, news: LeaseNews) -> None: ...


class PushSource(SessionThread):
    """The thread; `tell(method, *arguments)` has the loop call one of its listener's methods."""

    def __init__(
        self,
        url: str,
        node: tuple[uuid.UUID, str],
        leases: Leases,
        data_dir: Path,
        clock: Clock,
        log: logging.Logger,
        listener: SourceListener,
        tell: Callable[..., object],
    ) -> None:
        super().__init__("push", url, clock)
        self._node_uuid, self._node_name = node
        self._leases, self._log = leases, log
        self._listener, self._tell = listener, tell
        self._outage = Outage(log, logging.WARNING, "pushing without the database", "the database has the pushes")
        self._path = data_dir / snapshot.FILE_NAME
        self._known: dict[int, Subscription] = {}
        self._failing: dict[int, KnownFailing] = {}
        self._revision = 0
        self._waiting: list[Reports] = []
        self._states: dict[int, StateRow] = {}
        self._turns: list[HealthTurn] = []
        self._given_up: list[GivenUp] = []
        self._left: list[int] = []
        self._handing = threading.Lock()
        self._started_ns = clock.monotonic_ns()
        self._renewed_ns = 0
        self._has_shares = False
        self._has_news = False
        self._save_at_ns = 0
        self.is_connected = False
        self.snapshot_errors = 0

    @property
    def is_up(self) -> bool:
        return self.is_connected and self._watch.is_up

    @property
    def is_current(self) -> bool:
        """False where this process stood still for a lease: others may have taken over, so it asks first."""
        renewed_ns = self._clock.monotonic_ns() - self._renewed_ns
        return not self.is_up or renewed_ns < LEASE_SECONDS * NS_PER_SECOND

    @property
    def states_waiting(self) -> int:
        return len(self._states)

    def take_over(self, reports: Reports) -> None:
        """From the loop: to be written as soon as the database is there."""
        with self._handing:
            self._waiting.append(reports)

    def run(self) -> None:
        self._load_snapshot()
        super().run()

    def _live_one_connection(self) -> None:
        try:
            migrate.check(self._url)
            with connect(self._url, "push", statement_seconds=STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                connection.execute(load("session.prepare"))
                connection.execute(f"LISTEN {CHANNEL}")
                node_id = self._ask_node(connection)
                self._read_all(connection)
                self.is_connected = True
                self._outage.up()
                self._on_good()
                self._follow(connection, node_id)
        except SchemaError as error:
            self._outage.fault(str(error))
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())
        finally:
            self.is_connected = False
        self._go_on_without()
        self._save_if_due()

    def _follow(self, connection: AnyConnection, node_id: int) -> None:
        lease_at_ns = 0
        while not self._stopping.is_set():
            now_ns = self._clock.monotonic_ns()
            if now_ns >= lease_at_ns:
                lease_at_ns = now_ns + int(TURN_SECONDS * NS_PER_SECOND)
                self._tell_leases(connection, self._leases.turn(connection, node_id))
                self._tell(self._note_renewal, now_ns)
            self._write(connection, node_id)
            self._save_if_due()
            if list(connection.notifies(timeout=_NOTIFY_SECONDS, stop_after=1)):
                self._read_changes(connection)
        self._write(connection, node_id)
        self._leases.finish(connection, node_id)

    def _note_renewal(self, began_ns: int) -> None:
        """In the loop, behind what the leases changed."""
        self._renewed_ns = began_ns

    def _ask_node(self, connection: AnyConnection) -> int:
        connection.execute(load("ledger.add_node"), (self._node_uuid, self._node_name))
        row = connection.execute(load("ledger.find_node"), (self._node_uuid,)).fetchone()
        assert row is not None
        return int(row[0])

    def _read_all(self, connection: AnyConnection) -> None:
        found, self._revision = store.changed_since(connection, 0)
        known = {one.id: one for one in found if one.deleted_at is None}
        self._has_news |= known != self._known
        self._known = known
        self._tell(self._listener.on_subscriptions, list(known.values()), True)

    def _read_failing(self, connection: AnyConnection) -> None:
        """Whoever served them before has written it down."""
        wall_ns = self._clock.wall_ns()
        now = _time(wall_ns)
        self._failing = {
            number: KnownFailing(
                id=number,
                failing_since=now - datetime.timedelta(seconds=max(age, 0)),
                failures=failures,
                next_at=now + datetime.timedelta(seconds=wait or 0),
            )
            for number, age, failures, wait in connection.execute(load("pusher.failing")).fetchall()
        }
        self._tell(self._listener.on_failing, list(self._failing.values()), wall_ns)

    def _read_changes(self, connection: AnyConnection) -> None:
        changed, self._revision = store.changed_since(connection, self._revision)
        for one in changed:
            if one.deleted_at is None:
                self._known[one.id] = one
            else:
                self._known.pop(one.id, None)
        if changed:
            self._has_news = True
            self._tell(self._listener.on_subscriptions, changed, False)

    def _write(self, connection: AnyConnection, node_id: int) -> None:
        """What the loop has said; what the database does not take stays for the next connection."""
        with self._handing:
            waiting, self._waiting = self._waiting, []
        for reports in waiting:
            self._states.update((row.id, row) for row in reports.states)
            self._turns += reports.turns
            self._given_up += reports.given_up
            self._left += reports.left
        self._leases.left(connection, node_id, self._left)
        self._left.clear()
        while self._given_up:
            self._disable(connection, self._given_up[0])
            del self._given_up[0]
        while self._turns:
            self._tell_owner(connection, self._turns[0])
            del self._turns[0]
        while self._states:
            rows = list(self._states.values())[:STATES_MAX]
            connection.execute(load("pusher.write_states"), _columns(rows) | {"node_id": node_id})
            for row in rows:
                del self._states[row.id]
                self._note_failing(row)

    def _disable(self, connection: AnyConnection, given_up: GivenUp) -> None:
        """With its event, in one transaction."""
        subscription = self._known.get(given_up.id)
        with connection.transaction():
            if store.disable(connection, given_up.id, given_up.revision, given_up.reason) and subscription is not None:
                told = _told_of(subscription) | {"reason": given_up.reason}
                emit(connection, subscription.account_id, "subscription.disabled", told)
        self._failing.pop(given_up.id, None)
        fields = {"subscription": given_up.id, "reason": given_up.reason}
        self._log.warning("a subscription was disabled", extra={"fields": fields})

    def _tell_owner(self, connection: AnyConnection, turn: HealthTurn) -> None:
        subscription = self._known.get(turn.id)
        if subscription is not None:
            told = _told_of(subscription) | {"failing_since": turn.since.isoformat(), "error": turn.error}
            emit(connection, subscription.account_id, turn.event_type, told)

    def _note_failing(self, row: StateRow) -> None:
        """For the snapshot."""
        if row.failing_since is None or row.next_at is None:
            self._has_news |= self._failing.pop(row.id, None) is not None
            return
        self._has_news |= row.id not in self._failing
        self._failing[row.id] = KnownFailing(
            id=row.id, failing_since=row.failing_since, failures=row.failures, next_at=row.next_at
        )

    def _tell_leases(self, connection: AnyConnection, news: LeaseNews) -> None:
        self._has_shares = True
        if news.taken:
            self._read_failing(connection)
        if news.taken or news.leaving or news.lost:
            fields = {"taken": len(news.taken), "leaving": len(news.leaving), "lost": len(news.lost)}
            self._log.info("shares changed", extra={"fields": fields | {"other_nodes": news.others}})
        self._tell(self._listener.on_leases, news)

    def _go_on_without(self) -> None:
        """Once: with the shards that this node held when it ended."""
        waited_ns = self._clock.monotonic_ns() - self._started_ns
        if self._has_shares or self._stopping.is_set() or waited_ns < WAIT_SECONDS * NS_PER_SECOND:
            return
        self._has_shares = True
        try:
            epochs = self._leases.resume()
        except OSError as error:
            self._log.error("no epochs without the disk: nothing is pushed", extra={"fields": {"reason": str(error)}})
            self._has_shares = False
            return
        fields = {"shards": len(epochs), "subscriptions": len(self._known)}
        self._log.info("pushing from the snapshot, without the database", extra={"fields": fields})
        self._tell(self._listener.on_leases, LeaseNews(epochs, (), (), 0))

    def _load_snapshot(self) -> None:
        try:
            found = snapshot.load(self._path)
        except SnapshotError as error:
            self.snapshot_errors += 1
            self._log.error(str(error))
            return
        if found is not None:
            self._known = {one.id: one for one in found.subscriptions}
            self._failing = {one.id: one for one in found.failing}
            self._tell(self._listener.on_subscriptions, found.subscriptions, True)
            self._tell(self._listener.on_failing, found.failing, self._clock.wall_ns())

    def _save_if_due(self) -> None:
        started_ns = self._clock.monotonic_ns()
        if not self._has_news or started_ns < self._save_at_ns:
            return
        made_at = _time(self._clock.wall_ns())
        try:
            snapshot.save(self._path, PushSnapshot(made_at, list(self._known.values()), list(self._failing.values())))
        except OSError as error:
            self.snapshot_errors += 1
            self._log.error("push snapshot not written", extra={"fields": {"reason": str(error)}})
            self._save_at_ns = started_ns + int(_SNAPSHOT_RETRY_SECONDS * NS_PER_SECOND)
            return
        self._has_news = False
        ended_ns = self._clock.monotonic_ns()
        gap_ns = max(int(_SNAPSHOT_GAP_SECONDS * NS_PER_SECOND), int((ended_ns - started_ns) / _SNAPSHOT_SHARE))
        self._save_at_ns = ended_ns + gap_ns


def _told_of(subscription: Subscription) -> dict[str, Any]:
    return {"subscription": subscription.id, "name": subscription.name, "target": subscription.target}


def _columns(rows: Sequence[StateRow]) -> dict[str, list[Any]]:
    """As the statement has them: a list a column."""
    columns = dict(zip(StateRow._fields, map(list, zip(*rows, strict=True)), strict=True))
    return columns | {"ids": columns.pop("id")}


def _time(wall_ns: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(wall_ns / NS_PER_SECOND, datetime.UTC)
