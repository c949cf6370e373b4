"""feeds/ingest/arrivals.py; what its records mean for a row and a connection is in test_freshness.py."""

import numpy as np
import pytest

from feeds.ingest.arrivals import (
    LINE_DTYPE,
    ROW_DTYPE,
    SEEN_DTYPE,
    accept,
    begin_line,
    begin_row,
    is_bare_repeat,
    is_newer,
    is_out_of_order,
    is_untimely,
    on_quote,
    on_rest,
)
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.memory.price_table import Via

pytestmark = pytest.mark.uncompiled
MAX_AGE_NS = 10 * NS_PER_SECOND
NOW_NS, WALL_NS = 1_000 * NS_PER_SECOND, 1_767_225_600 * NS_PER_SECOND


def seen(price: float, time_ns: int = 0, after_ns: int = 0, via: Via = Via.WS) -> np.void:
    records = np.zeros(1, dtype=SEEN_DTYPE)
    records[0] = price, time_ns, NOW_NS + after_ns, WALL_NS + after_ns, via
    record: np.void = records[0]
    return record


@pytest.fixture
def row() -> np.void:
    record: np.void = np.zeros(1, dtype=ROW_DTYPE)[0]
    begin_row(record, MAX_AGE_NS, NOW_NS)
    return record


def test_the_usual_gap_follows_the_gaps_slowly(row: np.void) -> None:
    """The first gap is taken as it is, each later one for a fiftieth; none is longer than the age limit."""
    accept(row, seen(1.0))
    assert row["gap_ns"] == -1.0
    accept(row, seen(1.0, after_ns=100))
    assert row["gap_ns"] == 100.0
    accept(row, seen(1.0, after_ns=300))
    assert row["gap_ns"] == 102.0
    accept(row, seen(1.0, after_ns=300 + 3 * MAX_AGE_NS))
    assert row["gap_ns"] == 102.0 + 0.02 * (MAX_AGE_NS - 102.0)


def test_rest_contradicts_with_a_new_price_alone(row: np.void) -> None:
    """The WebSocket's own price agrees; REST's last answer again is no second contradiction; a quote ends them."""
    on_rest(row, seen(2.0, via=Via.REST))
    assert row["contradictions"] == 0, "the WebSocket has said nothing"
    accept(row, seen(1.0))
    on_rest(row, seen(1.0, via=Via.REST))
    assert (row["agreed"], row["contradictions"]) == (1, 0)
    for _ in range(2):
        accept(row, seen(2.0, via=Via.REST))
    assert (row["agreed"], row["contradictions"]) == (0, 1)
    accept(row, seen(1.0))
    assert (row["agreed"], row["contradictions"]) == (0, 0)


def test_another_price_ends_what_was_seen_of_the_one_before(row: np.void) -> None:
    """The others' prices are taken down anew, and no confirmation is left; the same price keeps them."""
    accept(row, seen(1.0, time_ns=WALL_NS))
    row["has_anchor"], row["moved_since_ns"] = 1, 5
    accept(row, seen(1.0, time_ns=WALL_NS + 1, after_ns=1))
    assert (row["has_anchor"], row["moved_since_ns"], row["confirmed_at_ns"]) == (1, 5, NOW_NS + 1)
    accept(row, seen(2.0, time_ns=WALL_NS + 2, after_ns=2))
    assert (row["has_anchor"], row["moved_since_ns"], row["confirmed_at_ns"]) == (0, 0, 0)


def test_a_frozen_row_that_repeats_itself_says_nothing_new(row: np.void) -> None:
    """Unless with a later time; another price is news."""
    accept(row, seen(1.0, time_ns=WALL_NS))
    row["frozen_since_ns"] = NOW_NS
    assert not is_newer(row, seen(1.0, time_ns=WALL_NS), 0)
    assert is_newer(row, seen(1.0, time_ns=WALL_NS + 1, after_ns=1), 0)
    assert is_newer(row, seen(1.5), 0)


def test_a_repeat_is_bare_without_a_newer_time(row: np.void) -> None:
    """Of the same price alone; before the first quote nothing is a repeat."""
    assert not is_bare_repeat(row, seen(1.0))
    accept(row, seen(1.0, time_ns=WALL_NS))
    assert is_bare_repeat(row, seen(1.0))
    assert is_bare_repeat(row, seen(1.0, time_ns=WALL_NS))
    assert not is_bare_repeat(row, seen(1.0, time_ns=WALL_NS + 1))
    assert not is_bare_repeat(row, seen(2.0))


@pytest.mark.parametrize(
    ("late_ms", "is_late"), [(200, False), (300, True), (5_000, True), (5_100, False), (None, False)]
)
def test_a_quote_from_before_the_newest_is_out_of_order(row: np.void, late_ms: int | None, is_late: bool) -> None:
    """A quarter of a second is jitter between book and trades, more than 5 s is a clock that was set."""
    time_ns = WALL_NS - late_ms * NS_PER_MS if late_ms is not None else 0
    assert not is_out_of_order(row, seen(1.0, time_ns))
    accept(row, seen(1.0, time_ns=WALL_NS))
    assert bool(is_out_of_order(row, seen(1.0, time_ns))) is is_late


def test_a_time_from_the_future_puts_nobody_out_of_order(row: np.void) -> None:
    """Otherwise it would keep out every quote behind it."""
    accept(row, seen(1.0, time_ns=WALL_NS + 6 * NS_PER_SECOND))
    assert not is_out_of_order(row, seen(1.0, time_ns=WALL_NS + 3 * NS_PER_SECOND))


@pytest.mark.parametrize(("age_seconds", "expected"), [(-6, True), (-5, False), (0, False), (15, False), (16, True)])
def test_a_time_counts_within_the_age_limit_and_the_clocks_allowance(age_seconds: int, expected: bool) -> None:
    """Too old or from the future; no time is neither."""
    assert is_untimely(WALL_NS - age_seconds * NS_PER_SECOND, WALL_NS, MAX_AGE_NS) is expected
    assert not is_untimely(0, WALL_NS, MAX_AGE_NS)


def test_a_quote_that_its_row_refused_counts_for_the_lag_alone() -> None:
    """It does not make the connection flow."""
    line: np.void = np.zeros(1, dtype=LINE_DTYPE)[0]
    begin_line(line, 7)
    line["window_ends_ns"] = 2 * NOW_NS
    on_quote(line, seen(1.0, time_ns=WALL_NS - 5), False)
    assert (line["serial"], line["window_samples"], line["quote_at_ns"]) == (7, 1, 0)
    for after_ns in (1, 3):
        on_quote(line, seen(1.0, after_ns=after_ns), True)
    assert (line["first_quote_ns"], line["quote_at_ns"], line["gap_ns"]) == (NOW_NS + 1, NOW_NS + 3, 2.0)
    assert line["window_samples"] == 1, "without a time nobody knows the lag"
