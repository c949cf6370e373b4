"""workers/ledger/pace.py"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.clock import NS_PER_SECOND
from trinity.limits import LAG_SECONDS_MAX, LOAD_ROWS_PER_SECOND_MIN
from workers.ledger.pace import Arrivals, Pace, Processors, Ticks, parse_ticks, share_between

BUSY, IDLE = 0.1, 0.5
SMALL_LAG = 1_000
MANY = 100_000.0  # records a second
LINE = b"cpu  100 10 50 800 40 5 5 2 7 0\ncpu0 1 1 1 1 1 1 1 1\n"


def _loaded(records: int = 100_000, seconds: float = 1.0) -> Pace:
    pace = Pace()
    pace.loaded(records, int(seconds * NS_PER_SECOND), now_ns=0)
    return pace


@pytest.mark.parametrize(
    ("second", "waiting", "arriving", "spool_share", "idle_share", "rests"),
    [
        (1, SMALL_LAG, 10_000, 0.01, BUSY, True),
        (1, SMALL_LAG, 9_999, 0.01, BUSY, False),
        (8.9, SMALL_LAG, MANY, 0.01, BUSY, True),
        (9, SMALL_LAG, MANY, 0.01, BUSY, False),
        (1, SMALL_LAG, MANY, 0.01, IDLE, False),
        (1, SMALL_LAG, MANY, 0.1, BUSY, False),
        (1, 3_999_999, MANY, 0.01, BUSY, True),
        (1, 4_000_000, MANY, 0.01, BUSY, False),
    ],
)
def test_it_rests_while_processors_are_taken_and_the_lag_is_small(
    second: float, waiting: int, arriving: float, spool_share: float, idle_share: float, rests: bool
) -> None:
    """Nine seconds after a load of one; not when few ask, a processor has room, the spool fills, or 40 s of it wait."""
    now_ns = int(second * NS_PER_SECOND)
    assert _loaded().rests(now_ns, waiting, arriving, spool_share, idle_share) is rests


def test_an_outage_earns_no_rest() -> None:
    """A file that met a server that stood still for a minute rests as after 3 s of work, not for nine minutes."""
    pace = _loaded(1_000, seconds=60)
    assert pace.rests(26 * NS_PER_SECOND, SMALL_LAG, MANY, 0.01, BUSY)
    assert not pace.rests(27 * NS_PER_SECOND, SMALL_LAG, MANY, 0.01, BUSY)


def test_nothing_rests_before_the_first_file() -> None:
    """A start finds what its predecessor left."""
    assert not Pace().rests(1, SMALL_LAG, MANY, 0.0, 0.0)


def test_a_faster_database_may_lag_by_more_at_once_and_a_slower_one_by_less_in_time() -> None:
    """The lag is bounded in seconds of loading, not in records; small files tell nothing."""
    pace = _loaded(300_000)
    assert pace.rests(1, 11_999_999, MANY, 0.0, BUSY)
    pace.loaded(49_999, 10 * NS_PER_SECOND, 0)
    assert pace.rests(1, 11_999_999, MANY, 0.0, BUSY)
    pace.loaded(50_000, NS_PER_SECOND, 0)
    assert not pace.rests(1, 11_999_999, MANY, 0.0, BUSY)
    assert pace.rests(1, 11_000_000, MANY, 0.0, BUSY)
    for _ in range(200):
        pace.loaded(50_000, NS_PER_SECOND, 0)
    assert not pace.rests(1, 2_001_000, MANY, 0.0, BUSY)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 40))))
def test_the_lag_that_it_leaves_is_what_the_database_has_shown_to_load_in_time(files: list[tuple[int, int]]) -> None:
    """Whatever the files were: never more than the fastest of them would load in LAG_SECONDS_MAX."""
    pace = Pace()
    fastest = LOAD_ROWS_PER_SECOND_MIN
    for records, took_ns in files:
        pace.loaded(records, took_ns, 0)
        fastest = max(fastest, records * NS_PER_SECOND / max(took_ns, 1))
    assert not pace.rests(0, int(fastest * LAG_SECONDS_MAX) + 1, 1e12, 0.0, 0.0)


def test_arrivals_are_counted_over_a_fifth_of_a_second_at_least() -> None:
    """Between readings the last rate stands; a counter that begins anew brings nothing."""
    arrivals = Arrivals()
    arrivals.per_second(1_000, NS_PER_SECOND)
    assert arrivals.per_second(1_500, NS_PER_SECOND + NS_PER_SECOND // 2) == 1_000
    assert arrivals.per_second(9_999, NS_PER_SECOND + NS_PER_SECOND // 2 + 1) == 1_000
    assert arrivals.per_second(0, 3 * NS_PER_SECOND) == 0


def test_a_line_of_the_kernel_is_read() -> None:
    """Idle is idle or waiting for a disk; a guest's time is counted once."""
    assert parse_ticks(LINE) == Ticks(840, 1012)


@given(st.binary(max_size=200))
def test_any_other_line_says_nothing_or_something_sane(line: bytes) -> None:
    """No error, and never more idle time than time."""
    ticks = parse_ticks(line)
    assert 0 <= ticks.idle <= ticks.total


@pytest.mark.parametrize(
    ("before", "now", "share"),
    [
        (Ticks(100, 1000), Ticks(150, 1100), 0.5),
        (Ticks(100, 1000), Ticks(100, 1100), 0.0),
        (Ticks(100, 1000), Ticks(90, 1100), 0.0),
        (Ticks(100, 1000), Ticks(100, 1000), 1.0),
        (Ticks(0, 0), Ticks(100, 1000), 1.0),
        (Ticks(100, 1000), Ticks(0, 0), 1.0),
    ],
)
def test_the_share_is_that_of_the_time_between(before: Ticks, now: Ticks, share: float) -> None:
    """Counters may fall (proc(5) says so of iowait); no reading is a machine with room."""
    assert share_between(before, now) == share


def test_processors_are_read_five_times_a_second_at_most(tmp_path: Path) -> None:
    """Between readings the last share stands; without the file there is room."""
    stat = tmp_path / "stat"
    stat.write_bytes(b"cpu 0 0 0 100 0 0 0 0\n")
    processors = Processors(stat)
    stat.write_bytes(b"cpu 50 0 0 150 0 0 0 0\n")
    assert processors.idle_share(NS_PER_SECOND) == 0.5
    stat.write_bytes(b"cpu 150 0 0 150 0 0 0 0\n")
    assert processors.idle_share(NS_PER_SECOND + 1) == 0.5
    assert processors.idle_share(2 * NS_PER_SECOND) == 0.0
    stat.unlink()
    assert processors.idle_share(3 * NS_PER_SECOND) == 1.0


def test_this_machine_s_kernel_tells() -> None:
    """The real file has a share between none and all."""
    assert 0 <= Processors().idle_share(NS_PER_SECOND) <= 1
