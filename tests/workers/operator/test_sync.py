"""The sync job by the clock: once a day in New York, whatever the clocks do there; late, and on one node."""

import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy, assert_same
from tests.workers.ledger.ledger_fixture import make_block
from tests.workers.push.conftest import wait_until
from trinity.clock import SystemClock
from trinity.observe.metrics import OPERATOR
from workers.operator.sync import ZONE, SyncThread, is_due, next_run

RUNS = OPERATOR.index("sync_runs_total")


def _oracle(day: date) -> datetime:
    """01:00 of a day in New York, the first one where there are two: by zoneinfo alone."""
    return datetime(day.year, day.month, day.day, 1, tzinfo=ZONE, fold=0).astimezone(UTC)


def test_it_is_due_once_a_day_over_years_of_changing_clocks() -> None:
    """Each day has one run, at 01:00 of its own clocks: also in the nights when they are set back or forward."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    days = []
    while at < datetime(2036, 1, 1, tzinfo=UTC):
        at = next_run(at)
        local = at.astimezone(ZONE)
        assert (local.hour, local.minute) == (1, 0)
        assert at == _oracle(local.date())
        days.append(local.date())
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)), st.timedeltas(timedelta(0), timedelta(days=40)))  # noqa: DTZ001
def test_late_after_a_downtime_it_runs_once(last: datetime, passed: timedelta) -> None:
    """Due when a 01:00 has passed since the last run, however many; not again right after it."""
    last = last.replace(tzinfo=UTC)
    now = last + passed
    some = [(last + timedelta(days=number)).astimezone(ZONE).date() for number in range(-1, passed.days + 3)]
    assert is_due(last, now, is_empty=False) == any(last < _oracle(day) <= now for day in some)
    assert not is_due(now, now, is_empty=False)
    assert is_due(None, now, is_empty=False)
    assert is_due(now, now, is_empty=True), "an emptied Valkey is filled at once"


def test_two_nodes_run_it_once_and_an_emptied_valkey_is_filled_again(
    database_url: str, valkey_server: ValkeyServer, tmp_path: Path, monkeypatch: object
) -> None:
    """The threads of two operators beside each other, over one database."""
    copy = LedgerCopy(database_url)
    rows = len(copy.load(300))
    blocks = [make_block(), make_block()]
    log = logging.getLogger("tests.sync")
    monkeypatch.setattr("workers.operator.sync.LOOK_SECONDS", 0.1)  # type: ignore[attr-defined]
    monkeypatch.setattr("workers.operator.sync._REST_SECONDS", 0.1)  # type: ignore[attr-defined]
    threads = [SyncThread(database_url, valkey_server.settings, 93, block, SystemClock(), log) for block in blocks]
    for thread in threads:
        thread.start()

    def runs() -> int:
        return sum(block.read_counter(RUNS) for block in blocks)

    wait_until(lambda: runs() == 1, "the first run", 30 * PATIENCE)
    valkey_server.restart()
    wait_until(lambda: runs() >= 2, "another run", 30 * PATIENCE)
    for thread in threads:
        thread.finish(10)
    with valkey_server.admin() as client:
        assert assert_same(copy, client) == rows
    copy.close()
