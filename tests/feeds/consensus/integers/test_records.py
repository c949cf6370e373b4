"""Answer records by compiled code: the bytes of render.py in its extremes."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.feeds.consensus.both_ways import BothWays, catalog_of
from tests.feeds.consensus.cases import EXCHANGES, quote_of
from tests.support.contexts import node_of
from trinity.clock import NS_PER_SECOND
from trinity.memory.answer_table import AnswerState

pytestmark = pytest.mark.uncompiled

BTC = 0
PAR = {"USDT": Decimal("1.000100000001")}


@pytest.fixture
def both() -> Iterator[BothWays]:
    with node_of(catalog_of()) as memory:
        yield BothWays(memory, simulated=True)


def body(both: BothWays, exchange: int | None = None) -> dict[str, object]:
    record = both.answers.read(both.answers.row_of(BTC, exchange))
    assert record is not None
    parsed: dict[str, object] = json.loads(bytes(record["body"][0][: int(record["body_length"][0])]))
    return parsed


@pytest.mark.parametrize(
    "price", ["0.000000000000000001", "0.000000123", "1", "71000.1", "123456789012", "99999999999999999"]
)
def test_any_size_of_price_is_written_like_the_decimal_one(both: BothWays, price: str) -> None:
    """From a millionth of a millionth of a millionth to 17 digits, marked as simulated, by six exchanges."""
    for exchange in range(len(EXCHANGES)):
        both.prices.write(exchange, BTC, quote_of(price, last=price))
    both.turn(PAR)
    shown = body(both)["exchanges"]
    assert isinstance(shown, list)
    assert shown[0] == "simulated:coinbase"
    assert body(both, 3)["currency"] == "USDT"


def test_a_price_that_cannot_be_given_keeps_the_last(both: BothWays) -> None:
    """Text, digits and times of the last good price stay in the record without a body."""
    for exchange in range(len(EXCHANGES)):
        both.prices.write(exchange, BTC, quote_of("71000.5"))
    both.turn(PAR)
    both.now_ns += 20 * NS_PER_SECOND
    both.turn(PAR)
    record = both.answers.read(both.answers.row_of(BTC))
    assert record is not None
    assert AnswerState(int(record["state"][0])) is AnswerState.STALE
    assert int(record["body_length"][0]) == int(record["head_length"][0]) == 0
    assert bytes(record["price_text"][0][: int(record["price_text_length"][0])]) == b"71000.5"
