"""The four signals and the verdict on a connection, on a clock that only the test moves."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feeds.ingest.arrivals import ROW_DTYPE, SEEN_DTYPE, accept, is_newer, on_quote
from feeds.ingest.freshness import ConnectionWatch, Evidence, RowWatch
from tests.support.clocks import ManualClock
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import RowState, Via

MAX_AGE_SECONDS = 10
QUIET = Evidence(rows=3, contradicted=0, agreed=0, frozen=0, dead=0)


def seen_of(
    price: float, exchange_time_ns: int | None, received_at_ns: int, received_wall_ns: int, via: Via
) -> np.void:
    """A quote as the row and the connection are told of it."""
    records = np.zeros(1, dtype=SEEN_DTYPE)
    records[0] = price, exchange_time_ns or 0, received_at_ns, received_wall_ns, via
    seen: np.void = records[0]
    return seen


class Bench:
    """One row on a manual clock: 100 is its price unless a test says otherwise."""

    def __init__(self, clock: Any, listings: int = 3) -> None:
        self.clock = clock
        self.row: np.void = np.zeros(1, dtype=ROW_DTYPE)[0]
        self.watch = RowWatch(self.row, MAX_AGE_SECONDS * NS_PER_SECOND, 0.001, clock.monotonic_ns(), listings)
        self.others: list[float | None] = [100.0, 100.0, None]

    def observe(self, price: float, via: Via, lag: float | None) -> np.void:
        wall_ns = self.clock.wall_ns()
        time_ns = None if lag is None else wall_ns - int(lag * NS_PER_SECOND)
        return seen_of(price, time_ns, self.clock.monotonic_ns(), wall_ns, via)

    def ws(self, price: float = 100.0, lag: float | None = 0.0) -> bool:
        return self.take(self.observe(price, Via.WS, lag), 0)

    def rest(self, price: float = 100.0, lag: float | None = 0.0, asked_seconds_ago: float = 0.05) -> bool:
        asked_at_ns = self.clock.monotonic_ns() - int(asked_seconds_ago * NS_PER_SECOND)
        return self.take(self.observe(price, Via.REST, lag), asked_at_ns)

    def take(self, seen: np.void, asked_at_ns: int) -> bool:
        if not is_newer(self.row, seen, asked_at_ns):
            return False
        accept(self.row, seen)
        return True

    def state(self, is_flowing: bool = True) -> RowState:
        return self.watch.judge(self.clock.monotonic_ns(), self.clock.wall_ns(), is_flowing, self.others)

    def pass_by(self, seconds: float, is_flowing: bool = True) -> RowState:
        """Let time pass with a judgement each 0.25 s; the state at the end."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            self.state(is_flowing)
        return self.state(is_flowing)


@pytest.fixture
def bench(clock: Any) -> Bench:
    return Bench(clock)


def test_a_row_without_a_quote_is_starting_and_wants_rest_soon(bench: Bench) -> None:
    """Before the first quote the row says so, and REST is asked 1.5 s after nothing came at all."""
    assert bench.state(is_flowing=False) is RowState.STARTING
    bench.clock.advance(1.6)
    assert bench.watch.is_ws_silent(bench.clock.monotonic_ns(), is_flowing=False)


def test_signal_1_a_row_is_stale_beyond_its_age_limit(bench: Bench) -> None:
    """No receipt for longer than max_age: stale, whatever else was quiet before."""
    bench.ws()
    bench.clock.advance(MAX_AGE_SECONDS)
    assert bench.state() is RowState.QUIET
    bench.clock.advance(0.001)
    assert bench.state() is RowState.STALE


def test_signal_2_an_old_exchange_time_is_stale_although_it_just_arrived(bench: Bench) -> None:
    """Age by the exchange's own clock counts beside the receipt, with the 5 s clock allowance."""
    bench.ws(lag=15.0)
    assert bench.state() is RowState.LIVE
    bench.ws(lag=15.1)
    assert bench.state() is RowState.STALE


def test_signal_2_a_time_from_the_future_is_not_fresh(bench: Bench) -> None:
    """More than 5 s ahead of our clock is flagged."""
    bench.ws(lag=-5.0)
    assert bench.state() is RowState.LIVE
    bench.ws(lag=-5.1)
    assert bench.state() is RowState.STALE


def test_signal_2_no_time_is_unknown_not_age_0(bench: Bench) -> None:
    """Without an exchange time REST cannot confirm that a price which stands still is alive."""
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.2, 100.2, None]
    bench.pass_by(3.5)
    bench.rest(lag=None)
    assert bench.state() is RowState.FROZEN
    assert bench.row["newest"]["exchange_time_ns"] == 0


def test_signal_3_quiet_is_silence_against_its_own_rate(bench: Bench) -> None:
    """Ten quotes a second: quiet after the floor of 3 s; two a second: after 8 gaps; never after half its age."""
    for gap, quiet_after in ((0.1, 3.0), (0.5, 4.0), (2.0, 5.0)):
        row = Bench(bench.clock)
        for _ in range(400):
            row.ws()
            row.clock.advance(gap)
        assert row.watch.quiet_after_ns == pytest.approx(quiet_after * NS_PER_SECOND, rel=0.01)


def test_signal_3_the_time_between_connections_is_not_a_gap(bench: Bench) -> None:
    """An outage does not teach the row that it is a slow one."""
    for _ in range(5):
        bench.ws()
        bench.clock.advance(0.1)
    before = bench.watch.quiet_after_ns
    bench.clock.advance(600)
    bench.watch.on_new_connection(bench.clock.monotonic_ns())
    bench.ws()
    assert bench.watch.quiet_after_ns == before


def test_signal_4_others_moved_and_this_one_did_not(bench: Bench) -> None:
    """A majority, two of three, moved by more than 10 bps for 3 s since our last change: frozen, and not before."""
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.11, 100.12, None]
    assert bench.pass_by(2.75) is not RowState.FROZEN
    bench.ws(lag=None)
    assert bench.pass_by(0.5) is RowState.FROZEN


@pytest.mark.parametrize(
    ("listings", "others"),
    [
        (3, [100.09, 100.09]),
        (3, [101.0, None]),
        (4, [101.0, 101.0, 100.0]),
        (6, [101.0, 101.0, None, None, None]),
        (6, [101.0, 101.0, 101.0, None, None]),
        (3, [101.0, 99.0]),
        (6, [101.0, 101.0, 101.0, 99.0, 99.0]),
        (1, []),
        (2, [101.0]),
    ],
)
def test_signal_4_needs_a_majority_that_agrees(clock: Any, listings: int, others: list[float | None]) -> None:
    """A small move, a single other, half of all, the only two or three that a still market has, or a move both ways."""
    bench = Bench(clock, listings)
    bench.others = [100.0] * len(others)
    bench.ws(lag=None)
    bench.state()
    bench.others = others
    for _ in range(10):
        bench.ws(lag=None)
        assert bench.pass_by(1) is not RowState.FROZEN


def test_signal_4_a_change_of_its_own_price_thaws(bench: Bench) -> None:
    """A frozen row that moves is judged anew from there; repeating the old price is no news."""
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.2, 100.2, None]
    assert bench.pass_by(3.5) is RowState.FROZEN
    assert not bench.ws(lag=None)
    assert bench.ws(100.2)
    assert bench.state() is RowState.LIVE


@pytest.mark.parametrize("way", ["ws", "rest"])
def test_the_same_price_with_a_fresh_time_is_not_frozen(bench: Bench, way: str) -> None:
    """However far the others move; half of the age limit after the last confirmation it is."""
    bench.ws()
    bench.state()
    bench.others = [100.2, 100.2, None]
    assert bench.pass_by(3.5) is RowState.FROZEN
    confirm = getattr(bench, way)
    assert confirm()
    assert bench.state() is not RowState.FROZEN
    bench.others = [101.0, 101.0, None]
    for _ in range(10):
        assert bench.pass_by(MAX_AGE_SECONDS / 2) is not RowState.FROZEN
        assert confirm()
    assert bench.pass_by(MAX_AGE_SECONDS / 2 + 0.25) is RowState.FROZEN


def test_the_same_price_with_an_old_time_confirms_nothing(bench: Bench) -> None:
    """Neither the time that the row has already, nor a later one that is older than a price may be."""
    time_ns = bench.clock.wall_ns()
    bench.ws()
    bench.state()
    bench.others = [100.2, 100.2, None]
    bench.pass_by(1)
    for _ in range(3):
        seen = bench.observe(100.0, Via.WS, None)
        seen["exchange_time_ns"] = time_ns
        bench.take(seen, 0)
        bench.pass_by(1)
    assert bench.state() is RowState.FROZEN
    bench.clock.advance(60)
    bench.rest(lag=30.0)
    assert bench.state() is RowState.FROZEN


@given(
    st.integers(2, 8),
    st.lists(st.floats(-0.5, 0.5), min_size=8, max_size=8),
    st.sets(st.integers(0, 6)),
    st.data(),
)
def test_a_minority_freezes_no_honest_row(
    listings: int, lies: list[float], away: set[int], data: st.DataObject
) -> None:
    """Less than half of the exchanges lie together in any way, any others are away, honest prices stand still."""
    clock = ManualClock()
    bench = Bench(clock, listings)
    others = range(listings - 1)
    liars = data.draw(st.sets(st.sampled_from(others), max_size=(listings - 1) // 2))
    bench.others = [None if i in away else 100.0 for i in others]
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.0 * (1 + lies[i]) if i in liars else None if i in away else 100.0 for i in others]
    for _ in range(3):
        assert bench.pass_by(3.5) is not RowState.FROZEN
        bench.ws(lag=None)


def test_rest_with_another_price_refutes_the_websocket(bench: Bench) -> None:
    """The row lives on by REST, the old price is refused, and the connection is to be replaced."""
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.2, 100.2, None]
    bench.pass_by(3.5)
    assert bench.rest(100.2, lag=None)
    assert bench.state() is RowState.LIVE
    assert not bench.ws(100.0, lag=None)
    assert bench.watch.is_dead(bench.clock.monotonic_ns())
    bench.watch.on_new_connection(bench.clock.monotonic_ns())
    assert not bench.watch.is_dead(bench.clock.monotonic_ns())


def test_a_market_that_stands_still_makes_nobody_suspect(bench: Bench) -> None:
    """REST repeats the WebSocket's price without a time: dropped as frozen, but no reconnect would help."""
    bench.ws(lag=None)
    bench.state()
    bench.others = [100.2, 100.2, None]
    bench.pass_by(3.5)
    bench.rest(lag=None)
    assert bench.pass_by(20) is not RowState.LIVE
    assert not bench.watch.is_dead(bench.clock.monotonic_ns())


def test_new_prices_by_rest_alone_refute_a_silent_subscription(bench: Bench) -> None:
    """Five changes that only REST saw."""
    bench.ws()
    for i in range(5):
        assert not bench.watch.is_dead(bench.clock.monotonic_ns())
        bench.pass_by(6)
        bench.rest(101.0 + i)
    assert bench.watch.is_dead(bench.clock.monotonic_ns())


def test_rest_does_not_overwrite_a_newer_websocket_quote(bench: Bench) -> None:
    """By exchange times where both have one; else a quote that came after the asking wins."""
    bench.ws(lag=0.0)
    assert not bench.rest(lag=0.1)
    assert bench.rest(lag=0.0)
    bench.ws(lag=None)
    assert not bench.rest(lag=0.0)
    bench.clock.advance(1)
    assert bench.rest(lag=0.0)


def test_a_snapshot_older_than_the_rest_price_is_not_fresh_data(bench: Bench) -> None:
    """Back on the WebSocket only with data that is newer; a time from the future does not lock it out."""
    bench.rest(lag=1.0)
    assert not bench.ws(lag=2.0)
    assert bench.ws(lag=0.5)
    bench.clock.advance(1)
    bench.rest(lag=-60.0)
    assert bench.ws(lag=0.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the clock only ever goes on
@given(events=st.lists(st.tuples(st.sampled_from("wrj"), st.floats(1, 2), st.none() | st.floats(-60, 60)), max_size=40))
def test_a_row_always_has_its_newest_accepted_quote(clock: Any, events: list[tuple[str, float, float | None]]) -> None:
    """Whatever comes in whatever order: no exception, a state, and `newest` is the last accepted observation."""
    bench = Bench(clock)
    last = None
    for kind, price, lag in events:
        bench.clock.advance(0.5)
        if kind == "j":
            assert bench.state() in RowState
            continue
        seen = bench.observe(price, Via.WS if kind == "w" else Via.REST, lag)
        if bench.take(seen, bench.clock.monotonic_ns()):
            last = seen
    assert bench.row["newest"].tolist() == (last.tolist() if last is not None else (0.0, 0, 0, 0, Via.NONE))


class Line:
    """One connection on a manual clock."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.watch = ConnectionWatch(1, silence_seconds=30)
        self.watch.on_open(clock.monotonic_ns())

    def quote(self, lag: float | None = 0.05) -> None:
        wall_ns = self.clock.wall_ns()
        time_ns = None if lag is None else wall_ns - int(lag * NS_PER_SECOND)
        self.watch.frame_at_ns = self.clock.monotonic_ns()
        on_quote(self.watch.line[0], seen_of(100.0, time_ns, self.watch.frame_at_ns, wall_ns, Via.WS), True)

    def verdict(self, evidence: Evidence = QUIET) -> str | None:
        found = self.watch.verdict(self.clock.monotonic_ns(), evidence)
        return found[0] if found is not None else None


@pytest.fixture
def line(clock: Any) -> Line:
    return Line(clock)


def test_heartbeats_are_not_freshness(line: Line) -> None:
    """Frames without quotes keep the connection from being silent, not from being stale."""
    line.quote()
    for _ in range(12):
        line.clock.advance(1)
        line.watch.frame_at_ns = line.clock.monotonic_ns()
    assert line.verdict() == "stale"


def test_nothing_at_all_is_silent(line: Line) -> None:
    """Beyond the exchange's own limit the connection is dead, whatever REST says."""
    line.quote()
    line.clock.advance(30.1)
    assert line.verdict(QUIET._replace(agreed=3)) == "silent"


def test_rest_refutes_early_and_clears(line: Line) -> None:
    """A stall of 3 s with new prices by REST is stale; one of 20 s that REST confirms is a quiet market."""
    line.quote()
    line.clock.advance(3.5)
    assert line.verdict() is None
    assert line.verdict(QUIET._replace(contradicted=1)) == "stale"
    line.clock.advance(16.5)
    assert line.verdict(QUIET._replace(agreed=1)) is None
    assert line.verdict() == "stale"


def test_one_contradicted_row_does_not_replace_a_flowing_connection(line: Line) -> None:
    """As long as quotes flow, a single row is REST's business."""
    line.quote()
    assert line.verdict(QUIET._replace(contradicted=1)) is None
    assert line.verdict(QUIET._replace(dead=1)) == "frozen"
    assert line.verdict(QUIET._replace(frozen=2)) == "frozen"


def test_a_stream_at_82_percent_of_the_production_rate_is_found(line: Line) -> None:
    """Each second delivers 0.82 s of the exchange's time: found when it is some 3 s behind, within 30 s."""
    for tick in range(300):
        line.clock.advance(0.1)
        line.quote(lag=0.05 + 0.18 * 0.1 * tick)
        if line.verdict() is not None:
            break
    assert line.verdict() == "stale"
    assert line.watch.is_behind
    assert not line.watch.is_flowing(line.clock.monotonic_ns())


@pytest.mark.parametrize("skew", [-30.0, 0.0, 30.0])
def test_a_clock_that_is_off_is_not_a_stream_that_falls_behind(line: Line, skew: float) -> None:
    """A constant difference of the clocks, with jitter, makes nobody suspect."""
    for tick in range(1200):
        line.clock.advance(0.1)
        line.quote(lag=skew + (tick % 7) * 0.3)
        assert line.verdict() is None


def test_a_connection_in_its_handshake_is_not_judged(clock: Any) -> None:
    """The handshake has its own bound."""
    watch = ConnectionWatch(1, silence_seconds=1)
    clock.advance(100)
    assert watch.verdict(clock.monotonic_ns(), QUIET) is None
