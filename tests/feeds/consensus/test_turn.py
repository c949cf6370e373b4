"""feeds/consensus/turn.py"""

from collections.abc import Iterator

import pytest

from feeds.consensus.process import Aggregator
from feeds.consensus.turn import TurnFacts
from tests.feeds.consensus.cases import EXCHANGES, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.memory.answer_table import AnswerState


@pytest.fixture
def context() -> Iterator[OpenContext]:
    with context_of(ManualClock()) as made:
        yield made


class Notes:
    """Notes the names of what it is told, and whether the price could be read already."""

    def __init__(self, context: OpenContext, log: list[tuple[str, object]], name: str) -> None:
        self._seat = context
        self._log = log
        self._name = name

    wants_each_turn = False

    def on_turn(self, facts: TurnFacts) -> None:
        market = facts.market
        decided = [market.assets[asset].name for asset in market.decided()]
        record = self._seat.answers.read(self._seat.answers.row_of(self._seat.catalog.asset_index("SOL")))
        is_good = record is not None and int(record["state"][0]) == AnswerState.GOOD
        self._log.append((self._name, ("SOL" in decided, is_good, len(market.read()))))
        assert set(market.reviewed()) >= set(market.decided())
        assert facts.published["asset"].tolist() == market.decided()

    def close(self, now_ns: int) -> None:
        self._log.append((self._name, now_ns))


def test_observers_are_told_each_turn_after_it_was_published(context: OpenContext) -> None:
    """In their order: what was read and decided, the price being served by then; at the end they are closed."""
    log: list[tuple[str, object]] = []
    process = Aggregator(context, context.of_consensus, [Notes(context, log, "first"), Notes(context, log, "second")])
    for exchange in EXCHANGES[:3]:
        write_quote(context, exchange, "SOL", "200")
    process.turn()
    process.turn()
    process.close()

    now_ns = context.clock.monotonic_ns()
    assert log == [
        ("first", (True, True, 3)),
        ("second", (True, True, 3)),
        ("first", (False, True, 0)),
        ("second", (False, True, 0)),
        ("first", now_ns),
        ("second", now_ns),
    ]


def test_a_process_without_observers_decides_the_same(context: OpenContext) -> None:
    """Nobody needs to watch."""
    process = Aggregator(context, context.of_consensus)
    for exchange in EXCHANGES[:3]:
        write_quote(context, exchange, "SOL", "200")
    process.turn()
    process.close()
    record = context.answers.read(context.answers.row_of(context.catalog.asset_index("SOL")))
    assert record is not None
    assert int(record["state"][0]) == AnswerState.GOOD
