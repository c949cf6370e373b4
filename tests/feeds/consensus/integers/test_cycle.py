"""Turns over real shared memory: what an asset publishes, what is left alone, and what people are told."""

import json
import logging
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED, AnswerState
from trinity.memory.price_table import RowState
from trinity.observe.metrics import CONSENSUS
from trinity.vocabulary import REJECT_REASONS

pytestmark = pytest.mark.uncompiled

BTC, SOL = 0, 1
PRICES = ["71000", "71005", "70998", "71003", "71010", "71002"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def context(clock: ManualClock) -> Iterator[OpenContext]:
    with context_of(clock) as made:
        yield made


def started(context: OpenContext) -> Aggregator:
    """A process that knows from its start what USDT is worth."""
    for exchange in ("coinbase", "kraken", "cryptocom"):
        write_quote(context, exchange, "USDT", "1")
    return Aggregator(context, context.of_consensus)


def write_all(context: OpenContext, prices: list[str] = PRICES) -> None:
    for exchange, price in zip(EXCHANGES, prices, strict=True):
        write_quote(context, exchange, "BTC", price)


def answer(context: OpenContext, asset: int, exchange: int | None = None) -> np.void:
    record = context.answers.read(context.answers.row_of(asset, exchange))
    assert record is not None
    return record[0]


def body(row: np.void) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(bytes(row["body"][: int(row["body_length"])]))
    return parsed


def states_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of BTC."""
    lines = [record.fields for record in caplog.records if record.getMessage() == "asset_state"]  # type: ignore[attr-defined]
    return [fields["state"] for fields in lines if "BTC" in fields["assets"]]


def counted(context: OpenContext, name: str, *labels: str) -> int:
    return context.block.read_counter(CONSENSUS.index(name, *labels))


def test_an_asset_without_quotes_is_empty_and_unlisted_rows_say_so(context: OpenContext, clock: ManualClock) -> None:
    """Every row of the asset holds an answer after the first review, also those that no exchange fills."""
    process = started(context)
    process.turn()

    states = [AnswerState(int(answer(context, SOL, exchange)["state"])) for exchange in (None, *range(6))]

    assert states == [AnswerState.EMPTY] * 4 + [AnswerState.NOT_LISTED] * 3
    assert int(answer(context, SOL)["sources_required"]) == 3


def test_a_review_publishes_the_price_and_each_exchanges_own(context: OpenContext, clock: ManualClock) -> None:
    """Consensus, six rows, six verdicts, one update counted for each asset with a price."""
    process = started(context)
    write_all(context)
    process.turn()

    assert body(answer(context, BTC))["price"] == 71002.5
    assert [body(answer(context, BTC, i))["price"] for i in range(6)] == [float(price) for price in PRICES]
    assert body(answer(context, BTC, 3))["currency"] == "USDT"
    assert [context.answers.read_verdict(i, BTC) for i in range(6)] == [VERDICT_USED] * 6
    assert counted(context, "price_updates_total") == 2, "BTC and USDT"


def test_nothing_new_is_not_published_again(context: OpenContext, clock: ManualClock) -> None:
    """A review that decides the same leaves every row's version alone."""
    process = started(context)
    write_all(context)
    process.turn()
    rows = context.answers.words[: context.answers.verdicts_base]
    before = rows.copy()

    clock.advance(1)
    process.turn()

    assert np.array_equal(before, rows)


def test_a_rejection_is_counted_once_however_long_it_lasts(context: OpenContext, clock: ManualClock) -> None:
    """The counter counts changes of the verdict; the word names the reason."""
    process = started(context)
    write_all(context, [*PRICES[:5], "78000"])
    for _ in range(3):
        process.turn()
        clock.advance(1)

    assert counted(context, "price_rejected_total", "okx", "outlier") == 1
    assert context.answers.read_verdict(5, BTC) == VERDICT_REJECTED + REJECT_REASONS.index("outlier")
    assert body(answer(context, BTC))["rejected"] == 1


@pytest.mark.parametrize("refusal", ["age", "frozen", "crossed"])
def test_an_exchanges_row_that_cannot_be_served_keeps_its_last_price(
    context: OpenContext, clock: ManualClock, refusal: str
) -> None:
    """Old, frozen or crossed: STALE, no body, and the last good price beside it."""
    process = started(context)
    write_all(context)
    process.turn()
    if refusal == "age":
        clock.advance(10.001)
    elif refusal == "frozen":
        context.prices.write_state(2, BTC, RowState.FROZEN)
    else:
        quote = context.prices.read(2, BTC)
        assert quote is not None
        assert quote.bid is not None
        context.prices.write(2, BTC, quote._replace(bid=quote.bid._replace(price=Decimal("70999"))))
    process.turn()

    row = answer(context, BTC, 2)

    assert AnswerState(int(row["state"])) is AnswerState.STALE
    assert int(row["body_length"]) == 0
    assert bytes(row["price_text"][: int(row["price_text_length"])]) == b"70998"


def test_a_lost_majority_is_counted_once_and_logged(
    context: OpenContext, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """503 sources_disagree begins: one count, one line, the last good price kept."""
    context.log.propagate = True
    process = started(context)
    write_all(context)
    process.turn()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger=context.log.name):
        for step in range(3):
            clock.advance(2)
            write_all(context, ["71000", "71005", "70998", "78000", "78001", f"7800{step}"])
            process.turn()

    row = answer(context, BTC)
    assert AnswerState(int(row["state"])) is AnswerState.SOURCES_DISAGREE
    assert bytes(row["price_text"][: int(row["price_text_length"])]) == b"71002.5"
    assert counted(context, "sources_disagree_total") == 1
    assert states_told(caplog) == ["sources_disagree"]


def test_a_flapping_asset_does_not_flood_the_log(
    context: OpenContext, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At most one line a second, however often the state turns."""
    context.log.propagate = True
    process = started(context)
    with caplog.at_level(logging.INFO, logger=context.log.name):
        for turn in range(100):
            clock.advance(0.03)
            write_all(context, PRICES if turn % 2 else ["71000", "71005", "70998", "78000", "78001", "78002"])
            process.turn()

    assert 1 <= len(states_told(caplog)) <= 4


def test_a_change_soon_after_the_last_line_is_made_up_for(
    context: OpenContext, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It went away in the same second as it came: the last line is what is, though nothing changes any more."""
    context.log.propagate = True
    process = started(context)
    with caplog.at_level(logging.INFO, logger=context.log.name):
        write_all(context)
        process.turn()
        clock.advance(0.3)
        write_all(context, ["71000", "71005", "70998", "78000", "78001", "78002"])
        for _ in range(10):
            process.turn()
            clock.advance(0.15)

    assert states_told(caplog) == ["good", "sources_disagree"]


def test_simulated_sources_are_marked(clock: ManualClock) -> None:
    """In the list of the consensus by name, in an exchange's own answer by a flag."""
    with context_of(clock, simulated=True) as context:
        process = started(context)
        write_all(context)
        process.turn()

        assert body(answer(context, BTC))["exchanges"] == [f"simulated:{name}" for name in EXCHANGES]
        assert body(answer(context, BTC, 0))["source"] == "coinbase"
        assert body(answer(context, BTC, 0))["simulated"] is True
