"""Candles of published prices: against a naive model, over restarts, and for clocks that jump."""

import logging
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from feeds.consensus.candles import CLOSED_MAX, MS_PER_MINUTE, CandleBook, follow, make_book, open_candles
from feeds.consensus.integers.arrays import PUBLISHED_DTYPE
from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, WALL_NS, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import AnswerState
from trinity.memory.candle_table import CANDLES, EXPONENT, CandleTable, Minute, minute_of, to_decimal
from trinity.observe.metrics import CONSENSUS

LOG = logging.getLogger("tests.candles")
PRICES = ("200.1", "210.1", "190.1", "205.1")
START_MS = 20_000_000 * MS_PER_MINUTE

# An event: milliseconds since the one before, a price and its places (None: there is none any more), how long it may be
# served.
Event = tuple[int, tuple[int, int] | None, int]
PRICE = st.tuples(st.integers(min_value=1, max_value=10**18 - 1), st.integers(min_value=0, max_value=EXPONENT))
EVENTS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=90_000),
        st.one_of(st.none(), PRICE),
        st.integers(min_value=1, max_value=200_000),
    ),
    max_size=20,
)


def note_of(price: tuple[int, int] | None, now_ms: int, until_ms: int) -> tuple[int, ...]:
    """A published decision of the first asset as a record of PUBLISHED_DTYPE."""
    state = AnswerState.GOOD if price is not None else AnswerState.SOURCES_DISAGREE
    mantissa, places = price or (0, 0)
    return (0, state, mantissa, 1, places, 3, (until_ms - now_ms) * NS_PER_MS + 7, 7, now_ms * NS_PER_MS)


def notes_of(events: Sequence[Event]) -> NDArray[np.void]:
    now_ms, notes = START_MS, []
    for wait_ms, price, valid_ms in events:
        now_ms += wait_ms
        notes.append(note_of(price, now_ms, now_ms + valid_ms))
    return np.array(notes, dtype=PUBLISHED_DTYPE)


def closed_after(book: np.void, notes: NDArray[np.void], now_ms: int) -> list[Minute]:
    """What the notes close, taken whenever there is no more room."""
    found: list[Minute] = []
    at = 0
    while at <= notes.size:
        at = follow(book, notes, at, now_ms)
        found += [minute_of(stick["candle"]) for stick in book["closed"][: int(book["closed_count"])]]
        book["closed_count"] = 0
    return found


def minutes_of(events: Sequence[Event], end_ms: int, restarts: bool = False) -> list[Minute]:
    """What is closed; with `restarts` a successor takes over after every event, from what a file holds."""
    notes = notes_of(events)
    book, found, now_ms = make_book(1), [], START_MS
    for number in range(notes.size if restarts else 0):
        now_ms = int(notes[number]["wall_ns"]) // NS_PER_MS
        found += closed_after(book, notes[number : number + 1], now_ms)
        running = book["sticks"][0]["candle"]
        book = make_book(1)
        if running["minute"]:
            book["sticks"][0]["candle"] = running
    if notes.size:
        now_ms = int(notes[-1]["wall_ns"]) // NS_PER_MS
    return found + closed_after(book, notes[:0] if restarts else notes, now_ms + end_ms)


def naive_minutes(events: Sequence[Event], end_ms: int) -> list[Minute]:
    """The same by definition: which price stands in which milliseconds, then sums over each minute."""
    spans: list[tuple[int, int, int]] = []
    published: list[tuple[int, int]] = []
    now_ms = START_MS
    times = [now_ms := now_ms + wait_ms for wait_ms, _, _ in events]
    for i, (_, mantissa, valid_ms) in enumerate(events):
        if mantissa is not None:
            price = mantissa[0] * 10 ** (EXPONENT - mantissa[1])
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
            confidence = 10 ** (EXPONENT - newest_places(events, times, end - 1))
            minutes.append(Minute(minute, *ends, confidence, weighted, weighted_ms, len(seen), 3))
    return minutes


def newest_places(events: Sequence[Event], times: Sequence[int], upto_ms: int) -> int:
    """Of the newest price until then; each has a confidence of one unit."""
    return [price[1] for (_, price, _), at in zip(events, times, strict=True) if price and at <= upto_ms][-1]


@pytest.mark.uncompiled
@given(EVENTS, st.integers(min_value=0, max_value=300_000), st.booleans())
def test_minutes_are_what_their_definition_says(events: list[Event], end_ms: int, restarts: bool) -> None:
    """Open, high, low, close, samples and the weighted sum of every minute, gaps included, also over restarts."""
    assert minutes_of(events, end_ms, restarts) == naive_minutes(events, end_ms)


@pytest.mark.uncompiled
def test_a_clock_set_back_begins_another_minute() -> None:
    """The running minute is closed as it is; no price gets negative time, none stands twice."""
    book = make_book(1)
    notes = [
        note_of((100, EXPONENT), START_MS + 30_000, START_MS + 40_000),
        note_of((200, EXPONENT), START_MS - 3_600_000, START_MS - 3_590_000),
    ]
    closed = closed_after(book, np.array(notes, dtype=PUBLISHED_DTYPE), START_MS - 3_500_000)

    assert [(minute.close, minute.weighted_ms) for minute in closed] == [(100, 0), (200, 10_000)]


@pytest.mark.uncompiled
def test_a_clock_set_ahead_makes_no_price_older_than_it_was_valid() -> None:
    """An hour that never was is a gap, not an hour of the last price."""
    notes = [
        note_of((100, EXPONENT), START_MS, START_MS + 10_000),
        note_of((200, EXPONENT), START_MS + 3_600_000, START_MS + 3_610_000),
    ]
    closed = closed_after(make_book(1), np.array(notes, dtype=PUBLISHED_DTYPE), START_MS + 3_600_000)

    assert [(minute.close, minute.weighted_ms) for minute in closed] == [(100, 10_000)]


@pytest.mark.uncompiled
def test_more_minutes_than_there_is_room_for_are_taken_in_parts() -> None:
    """A price that stands for longer than CLOSED_MAX minutes gives each of them, in order, weighed once."""
    count = 2 * CLOSED_MAX + 3
    until_ms = START_MS + count * MS_PER_MINUTE
    notes = np.array([note_of((5, EXPONENT), START_MS, until_ms)], dtype=PUBLISHED_DTYPE)
    closed = closed_after(make_book(1), notes, until_ms)

    assert [minute.minute - START_MS // MS_PER_MINUTE for minute in closed] == list(range(count))
    assert {(minute.weighted_sum, minute.weighted_ms) for minute in closed} == {(5 * MS_PER_MINUTE, MS_PER_MINUTE)}


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
    assert context.block.read_gauge(CONSENSUS.index("candles_failed")) == 1
    record = context.answers.read(context.answers.row_of(1))
    assert record is not None
    assert int(record["sources"][0]) == 3


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A file of another layout is set aside by name, the asset starts anew."""
    (tmp_path / "BTC").write_bytes(b"nonsense" * 1000)
    book = CandleBook(tmp_path, ["BTC"], lambda: None)
    assert list(book.set_aside) == ["BTC"]
