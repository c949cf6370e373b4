"""One asset's desk over real shared memory: what it publishes, and what it leaves alone."""

import json
import logging
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from feeds.consensus.asset import Desk
from tests.feeds.consensus.cases import EXCHANGES, ManualClock, seat_of, write_quote
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED, AnswerState
from trinity.memory.price_table import RowState
from trinity.observe.metrics import CONSENSUS
from trinity.process import Seat
from trinity.vocabulary import REJECT_REASONS

BTC, SOL = 0, 1
INDEXES = {"USDT": Decimal(1)}
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def seat(clock: ManualClock) -> Iterator[Seat]:
    with seat_of(clock) as made:
        yield made


def write_all(seat: Seat, prices: list[str] = PRICES) -> None:
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(seat, exchange, "BTC", price)


def read_all(desk: Desk, seat: Seat) -> None:
    for row in desk.rows:
        row.read(seat.prices)


def answer(seat: Seat, asset: int, exchange: int | None = None) -> np.void:
    record = seat.answers.read(seat.answers.row_of(asset, exchange))
    assert record is not None
    return record[0]


def body(row: np.void) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(bytes(row["body"][: int(row["body_length"])]))
    return parsed


def counted(seat: Seat, name: str, *labels: str) -> int:
    return seat.block.read_counter(CONSENSUS.index(name, *labels))


def test_an_asset_without_quotes_is_empty_and_unlisted_rows_say_so(seat: Seat, clock: ManualClock) -> None:
    """Every row of the asset holds an answer after the first review, also those that no exchange fills."""
    desk = Desk(seat, SOL)
    desk.review(INDEXES, clock.monotonic_ns())

    states = [AnswerState(int(answer(seat, SOL, exchange)["state"])) for exchange in (None, *range(6))]

    assert states == [AnswerState.EMPTY] * 4 + [AnswerState.NOT_LISTED] * 3
    assert int(answer(seat, SOL)["sources_required"]) == 3


def test_a_review_publishes_the_price_and_each_exchanges_own(seat: Seat, clock: ManualClock) -> None:
    """Consensus, six rows, six verdicts, one update counted."""
    desk = Desk(seat, BTC)
    write_all(seat)
    read_all(desk, seat)
    desk.review(INDEXES, clock.monotonic_ns())

    assert body(answer(seat, BTC))["price"] == 71002.5
    assert [body(answer(seat, BTC, i))["price"] for i in range(6)] == [float(price) for price in PRICES]
    assert body(answer(seat, BTC, 3))["currency"] == "USDT"
    assert [seat.answers.read_verdict(i, BTC) for i in range(6)] == [VERDICT_USED] * 6
    assert counted(seat, "oracle_price_updates_total") == 1


def test_nothing_new_is_not_published_again(seat: Seat, clock: ManualClock) -> None:
    """A review that decides the same leaves every row's version alone."""
    desk = Desk(seat, BTC)
    write_all(seat)
    read_all(desk, seat)
    desk.review(INDEXES, clock.monotonic_ns())
    before = seat.answers.words.copy()

    clock.advance(1)
    desk.review(INDEXES, clock.monotonic_ns())

    assert np.array_equal(before, seat.answers.words)


def test_a_rejection_is_counted_once_however_long_it_lasts(seat: Seat, clock: ManualClock) -> None:
    """The counter counts changes of the verdict; the word names the reason."""
    desk = Desk(seat, BTC)
    write_all(seat, [*PRICES[:5], "78000"])
    for _ in range(3):
        read_all(desk, seat)
        desk.review(INDEXES, clock.monotonic_ns())
        clock.advance(1)

    assert counted(seat, "oracle_price_rejected_total", "okx", "outlier") == 1
    assert seat.answers.read_verdict(5, BTC) == VERDICT_REJECTED + REJECT_REASONS.index("outlier")
    assert body(answer(seat, BTC))["rejected"] == 1


@pytest.mark.parametrize("refusal", ["age", "frozen", "crossed"])
def test_an_exchanges_row_that_cannot_be_served_keeps_its_last_price(
    seat: Seat, clock: ManualClock, refusal: str
) -> None:
    """Old, frozen or crossed: STALE, no body, and the last good price beside it."""
    desk = Desk(seat, BTC)
    write_all(seat)
    read_all(desk, seat)
    desk.review(INDEXES, clock.monotonic_ns())
    if refusal == "age":
        clock.advance(10.001)
    elif refusal == "frozen":
        seat.prices.write_state(2, BTC, RowState.FROZEN)
    else:
        quote = seat.prices.read(2, BTC)
        assert quote is not None
        assert quote.bid is not None
        seat.prices.write(2, BTC, quote._replace(bid=quote.bid._replace(price=Decimal("70999"))))
    read_all(desk, seat)
    desk.review(INDEXES, clock.monotonic_ns())

    row = answer(seat, BTC, 2)

    assert AnswerState(int(row["state"])) is AnswerState.STALE
    assert int(row["body_length"]) == 0
    assert bytes(row["price_text"][: int(row["price_text_length"])]) == b"70998"


def test_a_lost_majority_is_counted_once_and_logged(
    seat: Seat, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """503 sources_disagree begins: one count, one line, the last good price kept."""
    seat.log.propagate = True
    desk = Desk(seat, BTC)
    write_all(seat)
    read_all(desk, seat)
    desk.review(INDEXES, clock.monotonic_ns())
    caplog.clear()
    with caplog.at_level(logging.INFO, logger=seat.log.name):
        for step in range(3):
            clock.advance(2)
            write_all(seat, ["71000", "71005", "70998", "78000", "78001", f"7800{step}"])
            read_all(desk, seat)
            desk.review(INDEXES, clock.monotonic_ns())

    row = answer(seat, BTC)
    assert AnswerState(int(row["state"])) is AnswerState.SOURCES_DISAGREE
    assert bytes(row["price_text"][: int(row["price_text_length"])]) == b"71002.5"
    assert counted(seat, "oracle_sources_disagree_total") == 1
    assert [record.getMessage() for record in caplog.records] == ["asset_state"]


def test_a_flapping_asset_does_not_flood_the_log(
    seat: Seat, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At most one line a second, however often the state turns."""
    seat.log.propagate = True
    desk = Desk(seat, BTC)
    with caplog.at_level(logging.INFO, logger=seat.log.name):
        for turn in range(100):
            clock.advance(0.03)
            write_all(seat, PRICES if turn % 2 else ["71000", "71005", "70998", "78000", "78001", "78002"])
            read_all(desk, seat)
            desk.review(INDEXES, clock.monotonic_ns())

    assert 1 <= len(caplog.records) <= 4


def test_a_change_soon_after_the_last_line_is_made_up_for(
    seat: Seat, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It went away in the same second as it came: the last line is what is, though nothing changes any more."""
    seat.log.propagate = True
    desk = Desk(seat, BTC)
    with caplog.at_level(logging.INFO, logger=seat.log.name):
        write_all(seat)
        read_all(desk, seat)
        desk.review(INDEXES, clock.monotonic_ns())
        clock.advance(0.3)
        write_all(seat, ["71000", "71005", "70998", "78000", "78001", "78002"])
        read_all(desk, seat)
        for _ in range(10):
            desk.review(INDEXES, clock.monotonic_ns())
            clock.advance(0.15)

    states = [record.fields["state"] for record in caplog.records]  # type: ignore[attr-defined]
    assert states == ["good", "sources_disagree"]


def test_simulated_sources_are_marked(clock: ManualClock) -> None:
    """In the list of the consensus by name, in an exchange's own answer by a flag."""
    with seat_of(clock, simulated=True) as seat:
        desk = Desk(seat, BTC)
        write_all(seat)
        read_all(desk, seat)
        desk.review(INDEXES, clock.monotonic_ns())

        assert body(answer(seat, BTC))["exchanges"] == [f"simulated:{name}" for name in EXCHANGES]
        assert body(answer(seat, BTC, 0))["source"] == "coinbase"
        assert body(answer(seat, BTC, 0))["simulated"] is True
