"""Candles of published prices: against a naive model, over restarts, and for clocks that jump."""

import logging
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.candles import MS_PER_MINUTE, CandleBook, Candlestick, open_candles
from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, NOW_NS, WALL_NS, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_MS
from trinity.memory.candle_table import CANDLES, CandleTable, Minute, Standing, to_decimal
from trinity.observe.metrics import CONSENSUS

LOG = logging.getLogger("tests.candles")
PRICES = ("200.1", "210.1", "190.1", "205.1")
START_MS = 20_000_000 * MS_PER_MINUTE

# An event: milliseconds since the one before, price (None: there is none any more), how long it may be served.
EVENTS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=90_000),
        st.one_of(st.none(), st.integers(min_value=1, max_value=10**38)),
        st.integers(min_value=1, max_value=200_000),
    ),
    max_size=20,
)


def minutes_of(events: Sequence[tuple[int, int | None, int]], end_ms: int, restarts: bool = False) -> list[Minute]:
    """What the candlestick closes; with `restarts` a successor takes over after every event."""
    closed: list[Minute] = []
    candlestick, now_ms = Candlestick(closed.append), START_MS
    for wait_ms, price, valid_ms in events:
        now_ms += wait_ms
        if price is None:
            candlestick.on_unavailable(now_ms)
        else:
            candlestick.on_price(price, 1, 3, now_ms, now_ms + valid_ms)
        if restarts:
            candlestick = Candlestick(closed.append, candlestick.running, candlestick.standing)
    candlestick.advance(now_ms + end_ms)
    return closed


def naive_minutes(events: Sequence[tuple[int, int | None, int]], end_ms: int) -> list[Minute]:
    """The same by definition: which price stands in which milliseconds, then sums over each minute."""
    spans: list[tuple[int, int, int]] = []
    published: list[tuple[int, int]] = []
    now_ms = START_MS
    times = [now_ms := now_ms + wait_ms for wait_ms, _, _ in events]
    for i, (_, price, valid_ms) in enumerate(events):
        if price is not None:
            until_ms = times[i + 1] if i + 1 < len(events) else now_ms + end_ms
            spans.append((times[i], min(times[i] + valid_ms, until_ms), price))
            published.append((times[i], price))
    minutes = []
    for minute in range(START_MS // MS_PER_MINUTE, (now_ms + end_ms) // MS_PER_MINUTE):
        start, end = minute * MS_PER_MINUTE, (minute + 1) * MS_PER_MINUTE
        stood = [(max(a, start), min(b, end), price) for a, b, price in spans if max(a, start) < min(b, end)]
        seen = [(at, price) for at, price in published if start <= at < end]
        carried = [price for a, b, price in spans if a < start < b]
        prices = carried + [price for _, price in seen]
        if prices:
            weighted = sum(price * (b - a) for a, b, price in stood)
            weighted_ms = sum(b - a for a, b, _ in stood)
            ends = (prices[0], max(prices), min(prices), prices[-1])
            minutes.append(Minute(minute, *ends, 1, weighted, weighted_ms, len(seen), 3))
    return minutes


@given(EVENTS, st.integers(min_value=0, max_value=300_000), st.booleans())
def test_minutes_are_what_their_definition_says(
    events: list[tuple[int, int | None, int]], end_ms: int, restarts: bool
) -> None:
    """Open, high, low, close, samples and the weighted sum of every minute, gaps included, also over restarts."""
    assert minutes_of(events, end_ms, restarts) == naive_minutes(events, end_ms)


def test_a_clock_set_back_begins_another_minute() -> None:
    """The running minute is closed as it is; no price gets negative time, none stands twice."""
    closed: list[Minute] = []
    candlestick = Candlestick(closed.append)
    candlestick.on_price(100, 1, 3, START_MS + 30_000, START_MS + 40_000)
    candlestick.on_price(200, 1, 3, START_MS - 3_600_000, START_MS - 3_590_000)
    candlestick.advance(START_MS - 3_500_000)

    assert [(minute.close, minute.weighted_ms) for minute in closed] == [(100, 0), (200, 10_000)]


def test_a_clock_set_ahead_makes_no_price_older_than_it_was_valid() -> None:
    """An hour that never was is a gap, not an hour of the last price."""
    closed: list[Minute] = []
    candlestick = Candlestick(closed.append)
    candlestick.on_price(100, 1, 3, START_MS, START_MS + 10_000)
    candlestick.on_price(200, 1, 3, START_MS + 3_600_000, START_MS + 3_610_000)

    assert [(minute.close, minute.weighted_ms) for minute in closed] == [(100, 10_000)]


# --- the consensus process's book --------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def context(clock: ManualClock) -> Iterator[OpenContext]:
    with context_of(clock) as made:
        yield made


def write_market(context: OpenContext, price: int) -> None:
    for i, exchange in enumerate(EXCHANGES[:3]):
        write_quote(context, exchange, "SOL", f"{price}.{i}")


def closed(folder: Path, asset: str = "SOL") -> list[Minute]:
    return next(file.pending(100)[0] for file in CandleTable(folder / CANDLES, LOG).files() if file.asset == asset)


def test_published_prices_become_minutes(context: OpenContext, clock: ManualClock, tmp_path: Path) -> None:
    """Consensus prices of the process land in the file, exactly; an asset without a price has no minute."""
    process = Aggregator(context, context.of_consensus, open_candles(context, context.answers, tmp_path))
    for price in (200, 210, 190, 205):
        write_market(context, price)
        process.turn()
        clock.advance(10)
    clock.advance(60)
    process.turn()

    (minute,) = closed(tmp_path)
    assert minute.minute == WALL_NS // NS_PER_MS // MS_PER_MINUTE
    assert [to_decimal(price) for price in minute[1:5]] == [
        Decimal(text) for text in ("200.1", "210.1", "190.1", "205.1")
    ]
    assert (minute.samples, minute.sources, minute.weighted_ms) == (4, 3, 40_000)
    assert to_decimal(minute.weighted_sum) == 10_000 * sum(map(Decimal, PRICES))
    assert closed(tmp_path, "BTC") == []


def test_a_killed_process_leaves_its_minute_to_the_next(
    context: OpenContext, clock: ManualClock, tmp_path: Path
) -> None:
    """The successor counts on in the same minute: nothing is lost and nothing is counted twice."""
    write_market(context, 200)
    Aggregator(context, context.of_consensus, open_candles(context, context.answers, tmp_path)).turn()
    clock.advance(5)
    write_market(context, 300)
    process = Aggregator(context, context.of_consensus, open_candles(context, context.answers, tmp_path))
    process.turn()
    clock.advance(60)
    process.turn()

    (minute,) = closed(tmp_path)
    assert (minute.samples, minute.weighted_ms) == (2, 15_000)
    assert to_decimal(minute.weighted_sum) == 5_000 * Decimal("200.1") + 10_000 * Decimal("300.1")


def test_a_node_that_was_down_served_nothing(clock: ManualClock, tmp_path: Path) -> None:
    """After a start with fresh memory the old price does not stand any more."""
    with context_of(clock) as first:
        write_market(first, 200)
        Aggregator(first, first.of_consensus, open_candles(first, first.answers, tmp_path)).turn()
    clock.advance(61)
    with context_of(clock) as second:
        Aggregator(second, second.of_consensus, open_candles(second, second.answers, tmp_path)).turn()

    (minute,) = closed(tmp_path)
    assert (minute.samples, minute.weighted_ms) == (1, 0)


def test_a_disk_without_candles_costs_no_price(context: OpenContext, tmp_path: Path) -> None:
    """A folder that cannot be written is told in log and metric, and prices go on."""
    (tmp_path / CANDLES).touch()
    write_market(context, 200)
    candles = open_candles(context, context.answers, tmp_path)
    Aggregator(context, context.of_consensus, candles).turn()

    assert candles == []
    assert context.block.read_gauge(CONSENSUS.index("oracle_candles_failed")) == 1
    record = context.answers.read(context.answers.row_of(1))
    assert record is not None
    assert int(record["sources"][0]) == 3


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A file of another layout is set aside by name, the asset starts anew."""
    (tmp_path / "BTC").write_bytes(b"nonsense" * 1000)
    book = CandleBook(tmp_path, ["BTC"], lambda: None)
    assert list(book.set_aside) == ["BTC"]


def test_a_standing_price_needs_a_minute() -> None:
    """What stands without a running minute is nothing: a successor starts with its next price."""
    assert Candlestick(lambda _: None, None, Standing(1, NOW_NS)).standing is None
