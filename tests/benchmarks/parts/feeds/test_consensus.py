"""The price of a changed quote is measured on quotes that the consensus really takes."""

import pytest

from benchmarks.parts.feeds.consensus import _Market, measure_consensus
from benchmarks.progress import Progress
from tests.support.contexts import node_of
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled
from trinity.markets import load_catalog
from trinity.memory.answer_table import ROW_WORDS, AnswerState


def test_every_turn_of_the_measurement_publishes() -> None:
    """Each prepared quote changes the consensus answer and one exchange's own."""
    catalog = load_catalog()
    with node_of(catalog) as memory:
        market = _Market(memory, catalog, SystemClock().monotonic_ns())
        row = memory.answers.row_of(catalog.asset_index("BTC"))
        market.drive(60, puts_only=False)
        before = int(memory.answers.words[row * ROW_WORDS])
        market.drive(60, puts_only=False)
        assert int(memory.answers.words[row * ROW_WORDS]) - before >= 59
        record = memory.answers.read(row)
        assert record is not None
        assert int(record["state"][0]) == AnswerState.GOOD


@pytest.mark.skipif(not jit_enabled(), reason="the figure is of compiled code")
def test_integers_cost_less_than_decimals() -> None:
    """Both ways are measured, and the compiled one is a fraction."""
    found = measure_consensus(1, Progress(SystemClock()))
    assert 0 < found["quote_us"] < found["decimal_quote_us"]
    assert found["times_less"] > 1
