"""trinity/backup/drill.py, on a real server, a real target and the whole way back."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backups import CLOCK, IDENTITY, BackedUp, now
from tests.support.shipping import Shipping
from trinity.backup import drill as drill_module
from trinity.backup.catalog import Window
from trinity.backup.drill import DrillPlace, choose_moment, drill
from trinity.backup.drill_rows import (
    DrillResult,
    begin_row,
    end_row,
    is_due_now,
    last_drill,
)
from trinity.errors import RefusedError, RestoreError
from trinity.store import migrate
from trinity.store.connect import AnyConnection, connect

LOG = logging.getLogger("tests.drill")


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    """A migrated database with some answers in it, a base of it, and its log on the way."""
    with BackedUp(tmp_path_factory.mktemp("drill")) as made:
        migrate.ensure(made.url)
        made.connection.execute("INSERT INTO accounts (name) SELECT 'account ' || n FROM generate_series(1, 50) AS n")
        made.base()
        shipping = Shipping(made)
        shipping.start()
        yield made
        shipping.stop()


def _drill(backed_up: BackedUp, seed: int = 1, place: DrillPlace | None = None) -> DrillResult:
    turn = threading.Event()
    place = place or DrillPlace(backed_up.url, backed_up.target, [IDENTITY], backed_up.folder / "throw-away")
    return drill(place, Random(seed), CLOCK, LOG, lambda: turn.wait(0.02) and None)


def test_a_drill_restores_compares_and_leaves_nothing(backed_up: BackedUp) -> None:
    """Good, with times, kept among the drills that were; its place is gone, and the next one is not due."""
    began = now()
    found = _drill(backed_up)
    assert (found.outcome, found.detail, found.differences) == ("good", "", 0)
    assert found.restored_to is not None
    assert found.restored_to <= now()
    assert found.rto_seconds is not None
    assert 0 < found.rto_seconds <= now() + 1 - began
    assert found.rpo_seconds is not None
    assert 0 <= found.rpo_seconds < found.rto_seconds + 60
    assert not (backed_up.folder / "throw-away" / "drill").exists()
    last = last_drill(backed_up.connection)
    assert last is not None
    assert last.result == found
    assert last.good_at == pytest.approx(last.ended_at)
    assert not is_due_now(backed_up.connection)


def test_what_the_backup_lacks_is_told_by_the_drill(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored database that lost rows on its way is found different, and is told so in the database."""
    known_to = drill_module.known_to

    def lose_rows(restored: AnyConnection) -> Any:
        known = known_to(restored)
        restored.execute("DELETE FROM accounts WHERE id % 2 = 0")
        restored.commit()
        return known

    monkeypatch.setattr(drill_module, "known_to", lose_rows)
    found = _drill(backed_up)
    assert found.outcome == "different"
    assert found.differences == 2, "rows, and their content"
    assert "accounts 0: rows: 50 live, 25 restored" in found.detail
    last = last_drill(backed_up.connection)
    assert last is not None
    assert last.result == found


def test_a_backup_that_cannot_be_opened_is_a_failed_drill_and_no_error(backed_up: BackedUp) -> None:
    """With what was measured until then."""
    other = type(IDENTITY).generate()
    place = DrillPlace(backed_up.url, backed_up.target, [other], backed_up.folder / "throw-away")
    found = _drill(backed_up, place=place)
    assert found.outcome == "failed"
    assert found.detail.startswith("BackupDamagedError: ")
    assert found.base_age_seconds is not None
    assert found.rpo_seconds is not None
    assert found.rto_seconds is None


def test_a_log_that_does_not_arrive_fails_the_drill(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is committed now ever comes into the target: however well the old one restores."""
    monkeypatch.setattr(drill_module, "RPO_SECONDS_MAX", 0.5)
    monkeypatch.setattr(drill_module, "windows_of", lambda _: [Window(now() - 100, now() - 50)])
    found = _drill(backed_up)
    assert found.outcome == "failed"
    assert "cannot be restored yet" in found.detail


def test_a_second_drill_is_refused_and_a_killed_one_is_ended(backed_up: BackedUp) -> None:
    """One at a time for a database; what a dead process began is ended by the next."""
    with connect(backed_up.url, "first", autocommit=True) as first:
        begun = begin_row(first)
        assert begun is not None
        with pytest.raises(RefusedError):
            _drill(backed_up)
        assert begin_row(backed_up.connection) is None
        # Its connection ends without a word, as a kill would end it.
    with connect(backed_up.url, "second", autocommit=True) as second:
        found = begin_row(second)
        assert found is not None
        last = last_drill(second)
        assert last is not None
        assert last.result.outcome == "failed"
        assert "interrupted" in last.result.detail
        end_row(second, found[0], DrillResult("failed", "for the test"))
    assert not is_due_now(backed_up.connection), "not before tomorrow"


def test_what_ends_a_drill_from_outside_leaves_no_folder(backed_up: BackedUp) -> None:
    """A stop of the node is no finding about the backup; the next drill ends the row."""

    def stop() -> None:
        raise InterruptedStop

    place = DrillPlace(backed_up.url, backed_up.target, [IDENTITY], backed_up.folder / "throw-away")
    with pytest.raises(InterruptedStop):
        drill(place, Random(1), CLOCK, LOG, stop)
    assert not (backed_up.folder / "throw-away" / "drill").exists()


class InterruptedStop(BaseException):
    """What a process raises when it is told to stop."""


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=4), st.integers(0, 2000), st.integers())
def test_a_chosen_moment_can_be_restored_and_has_passed(pairs: list[tuple[int, int]], at: int, seed: int) -> None:
    """Whatever the windows: inside one of them and not later than now, or none."""
    windows, end = [], -1
    for gap, length in pairs:
        windows.append(Window(end + 1 + gap, end + 1 + gap + length))
        end = windows[-1].newest + 1
    if not any(window.earliest <= at for window in windows):
        with pytest.raises(RestoreError):
            choose_moment(windows, at, Random(seed))
        return
    moment = choose_moment(windows, at, Random(seed))
    assert moment <= at
    assert any(window.earliest <= moment <= window.newest for window in windows)


def test_every_second_is_chosen_alike() -> None:
    """Of a long and a short window: by their seconds, not by their number."""
    windows = [Window(0, 9), Window(20, 20)]
    random = Random(7)
    counts = Counter(choose_moment(windows, 100, random) for _ in range(11_000))
    assert set(counts) == {*range(10), 20}
    assert all(800 < count < 1200 for count in counts.values())
