"""workers/push/prices.py: the answer table's prices as pieces of messages."""

import math
import time
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from tests.support.contexts import OpenContext, open_context
from tests.workers.push.conftest import CATALOG, write_price
from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState
from workers.push.prices import CurrentPrices, refusal, time_text

NAMES = [asset.name for asset in CATALOG.assets]


@pytest.fixture(scope="module")
def context() -> Iterator[OpenContext]:
    with open_context("pusher", "pusher", CATALOG) as made:
        yield made


def test_a_price_is_rendered_when_it_changed(context: OpenContext) -> None:
    """All that a receiver needs, numbers of prices as text."""
    prices = CurrentPrices(context.answers, NAMES)
    prices.turn(time.monotonic_ns())
    write_price(context.answers, 3, 7_100_050)
    assert prices.turn(time.monotonic_ns())
    piece = msgspec.json.decode(prices.pieces[3])
    assert piece.pop("price_timestamp").endswith("Z")
    assert piece == {"asset": NAMES[3], "price": "71000.50", "confidence": "0.05", "sources": 6}
    assert prices.values[3] == 71000.5
    before = prices.pieces[3]
    assert not prices.turn(time.monotonic_ns())
    assert prices.pieces[3] is before


def test_what_nobody_has_renewed_in_time_is_refused_without_a_change_of_the_table(context: OpenContext) -> None:
    """A dead consensus leads to refusals, never to old prices."""
    prices = CurrentPrices(context.answers, NAMES)
    write_price(context.answers, 4, 100, valid_seconds=10)
    prices.turn(time.monotonic_ns())
    assert prices.values[4] == 1.0
    assert prices.turn(time.monotonic_ns() + 11 * 10**9)
    assert prices.pieces[4] == refusal(NAMES[4], "stale_price")
    assert math.isnan(prices.values[4])


def test_a_refusal_has_the_code_of_a_lookup(context: OpenContext) -> None:
    """Also for an asset that never had a price."""
    prices = CurrentPrices(context.answers, NAMES)
    record = np.zeros(1, dtype=ANSWER_DTYPE)
    record["state"] = int(AnswerState.SOURCES_DISAGREE)
    context.answers.write(context.answers.row_of(5), record)
    prices.turn(time.monotonic_ns())
    assert msgspec.json.decode(prices.pieces[5]) == {"asset": NAMES[5], "error": "sources_disagree"}
    assert msgspec.json.decode(prices.pieces[9]) == {"asset": NAMES[9], "error": "stale_price"}


@pytest.mark.parametrize(
    ("wall_ns", "text"),
    [
        (1_767_225_600_000_000_000, b"2026-01-01T00:00:00.000Z"),
        (1_767_225_600_007_999_999, b"2026-01-01T00:00:00.007Z"),
        (1_767_225_599_999_000_000, b"2025-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_cut_to_the_millisecond(wall_ns: int, text: bytes) -> None:
    """ISO 8601 in UTC."""
    assert time_text(wall_ns) == text


def test_a_row_that_cannot_be_read_is_refused_and_read_again(
    context: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before is no price of now: its writer may have been in the way at each try."""
    prices = CurrentPrices(context.answers, NAMES)
    write_price(context.answers, 6, 100)
    prices.turn(time.monotonic_ns())
    assert prices.values[6] == 1.0
    write_price(context.answers, 6, 200)
    with monkeypatch.context() as busy:
        busy.setattr(context.answers, "read_values", lambda row: None)
        assert prices.turn(time.monotonic_ns())
    assert prices.pieces[6] == refusal(NAMES[6], "stale_price")
    assert math.isnan(prices.values[6])
    assert prices.turn(time.monotonic_ns())
    assert prices.values[6] == 2.0
