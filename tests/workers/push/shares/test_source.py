"""workers/push/shares/source.py: the thread on PostgreSQL, with a listener that writes down what it is told."""

import datetime
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.workers.push.conftest import Subscribe, wait_until
from trinity.clock import SystemClock
from trinity.push import store
from trinity.push.subscription import Subscription, SubscriptionChange
from trinity.store.connect import connect
from workers.push.shares import source
from workers.push.shares.epochs import Epochs
from workers.push.shares.leases import SHARDS, LeaseNews, Leases
from workers.push.shares.snapshot import KnownFailing, load
from workers.push.shares.source import GivenUp, PushSource, Reports
from workers.push.state import HealthTurn, StateRow

NOWHERE = "postgresql:///trinity?host=/nonexistent"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NOTHING = Reports((), (), (), ())


@dataclass
class Notes:
    """A listener."""

    known: dict[int, Subscription] = field(default_factory=dict)
    failing: list[KnownFailing] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)

    def on_subscriptions(self, changed: Sequence[Subscription], is_all: bool) -> None:
        if is_all:
            self.known.clear()
        for one in changed:
            self.known[one.id] = one
            if one.deleted_at is not None:
                del self.known[one.id]

    def on_failing(self, failing: Sequence[KnownFailing], _wall_ns: int) -> None:
        self.failing = list(failing)

    def on_leases(self, news: LeaseNews) -> None:
        self.epochs |= news.taken


@dataclass
class Life:
    """One life of the thread."""

    source: PushSource
    notes: Notes


Begin = Callable[..., Life]


@pytest.fixture
def begin(tmp_path: Path, database_url: str) -> Iterator[Begin]:
    """Start the thread; the second life has the same data directory."""
    started: list[PushSource] = []

    def make(url: str = database_url) -> Life:
        log, notes = logging.getLogger("test.source"), Notes()
        identity = uuid.UUID(int=1), "node"
        made = PushSource(
            url, identity, Leases(Epochs(tmp_path, log)), tmp_path, SystemClock(), log, notes,
            lambda method, *arguments: method(*arguments),
        )  # fmt: skip
        made.start()
        started.append(made)
        return Life(made, notes)

    yield make
    for one in started:
        one.finish(30.0)


def _row(number: int, failing_since: datetime.datetime | None, sequence: int = 1) -> StateRow:
    return StateRow(number, failing_since, 3, NOW, None, 503, "refused_status", sequence, failing_since)


def _ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with connect(url, "tests", autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def test_what_changes_is_told_by_itself(begin: Begin, subscribe: Subscribe, database_url: str) -> None:
    """Made, changed, deleted: each within moments, and the snapshot follows."""
    first, _ = subscribe("https://example.com/a", interval_s=3)
    life = begin()
    wait_until(lambda: len(life.notes.epochs) == SHARDS, "the leases")
    assert list(life.notes.known) == [first]
    second, _ = subscribe("https://example.com/b", interval_s=3)
    wait_until(lambda: list(life.notes.known) == [first, second], "the new one")
    with connect(database_url, "tests", autocommit=True) as connection:
        store.change(connection, first, None, SubscriptionChange(interval_s=60))
        store.delete(connection, second, None)
    wait_until(lambda: [one.interval_s for one in life.notes.known.values()] == [60], "the changes")

    def saved() -> list[int]:
        found = load(life.source._path)
        return [one.interval_s for one in found.subscriptions] if found is not None else []

    wait_until(lambda: saved() == [60], "the snapshot")


def test_states_turns_and_ends_are_written(begin: Begin, subscribe: Subscribe, database_url: str) -> None:
    """In batches; an end with its event; what is older never over what is newer."""
    number, _ = subscribe("https://example.com/a", interval_s=3)
    life = begin()
    life.source.take_over(NOTHING._replace(states=[_row(number, NOW, 7), _row(999, NOW)]))
    read = "SELECT failures, last_status, last_sequence, failing_since FROM push_states"
    wait_until(lambda: _ask(database_url, read) == [(3, 503, 7, NOW)], "the state")
    life.source.take_over(NOTHING._replace(states=[_row(number, None, 6)]))
    life.source.take_over(NOTHING._replace(turns=[HealthTurn(number, "subscription.failing", NOW, "timeout")]))
    events = "SELECT type, data ->> 'error' FROM push_events ORDER BY id"
    wait_until(lambda: _ask(database_url, events) == [("subscription.failing", "timeout")], "the event")
    assert _ask(database_url, read) == [(3, 503, 7, NOW)]
    revision = life.notes.known[number].revision
    life.source.take_over(NOTHING._replace(given_up=[GivenUp(number, revision, "why")]))
    wait_until(lambda: life.notes.known[number].state == "disabled", "the end")
    assert _ask(database_url, "SELECT disabled_reason FROM push_subscriptions") == [("why",)]
    assert len(_ask(database_url, events)) == 2


def test_the_next_life_knows_who_fails(begin: Begin, subscribe: Subscribe, database_url: str) -> None:
    """From the database, and without it from the snapshot."""
    number, _ = subscribe("https://example.com/a", interval_s=3)
    life = begin()
    life.source.take_over(NOTHING._replace(states=[_row(number, NOW)]))
    wait_until(lambda: (found := load(life.source._path)) is not None and found.failing, "the snapshot")
    life.source.finish(30.0)
    with_it = begin()
    wait_until(lambda: with_it.notes.epochs, "the leases")
    assert [(one.id, one.failures) for one in with_it.notes.failing] == [(number, 3)]
    with_it.source.finish(30.0)
    without = begin(NOWHERE)
    wait_until(lambda: without.notes.failing, "the snapshot's")
    assert [(one.id, one.failures) for one in without.notes.failing] == [(number, 3)]


def test_a_start_without_the_database_goes_on_with_what_was_held(
    begin: Begin, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a moment for the database to come; in higher epochs."""
    monkeypatch.setattr(source, "WAIT_SECONDS", 0.1)
    number, _ = subscribe("https://example.com/a", interval_s=3)
    life = begin()
    wait_until(lambda: len(life.notes.epochs) == SHARDS, "the leases")
    wait_until(life.source._path.exists, "the snapshot")
    life.source.finish(30.0)
    without = begin(NOWHERE)
    wait_until(lambda: without.notes.epochs, "the shards")
    assert list(without.notes.known) == [number]
    assert without.notes.epochs == {shard: epoch + 1 for shard, epoch in life.notes.epochs.items()}
    assert not without.source.is_up


def test_a_broken_snapshot_is_told_and_replaced(begin: Begin, subscribe: Subscribe, tmp_path: Path) -> None:
    """Nothing of it is believed."""
    (tmp_path / "push.snapshot").write_bytes(b"nonsense")
    number, _ = subscribe("https://example.com/a", interval_s=3)
    life = begin()
    wait_until(lambda: life.notes.epochs, "the leases")
    assert life.source.snapshot_errors == 1

    def is_good() -> bool:
        try:
            found = load(tmp_path / "push.snapshot")
        except Exception:  # noqa: BLE001 - the old one is still there
            return False
        return found is not None and [one.id for one in found.subscriptions] == [number]

    wait_until(is_good, "a good one")
