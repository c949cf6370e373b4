"""One exchange's markets with the active faults applied: stream and REST see what they should."""

from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant

At = Callable[[float], Instant]


def _fault(bench: Any, at: At, name: str, **fields: Any) -> Any:
    return bench.faults.add({"exchange": "kraken", "fault": name, **fields}, at(0).monotonic_ns)


def test_without_faults_stream_and_rest_show_the_market(make_bench: Callable[[str], Any], at: At) -> None:
    """A quote passes unchanged, and REST answers the newest one of every row."""
    bench = make_bench("kraken")
    quote = bench.quote("BTC/USD")
    assert bench.board.on_quote(quote, at(0)) == quote
    assert bench.board.streamed("BTC/USD", at(0)) == quote
    assert bench.board.answered(quote.row, at(0)) == quote
    assert [one.row.symbol for one in bench.board.answered_all(at(0))] == ["BTC/USD", "ETH/USD", "PEPE/USD", "USDT/USD"]


def test_a_frozen_stream_carries_nothing_while_rest_stays_fresh(make_bench: Callable[[str], Any], at: At) -> None:
    """freeze of one asset stops its quotes and its snapshots, not those of others and not REST."""
    bench = make_bench("kraken")
    _fault(bench, at, "freeze", asset="BTC", seconds=5)
    quote = bench.quote("BTC/USD")
    assert bench.board.on_quote(quote, at(1)) is None
    assert bench.board.streamed("BTC/USD", at(1)) is None
    assert bench.board.answered(quote.row, at(1)) == quote
    assert bench.board.on_quote(bench.quote("ETH/USD"), at(1)) is not None
    assert bench.board.on_quote(quote, at(6)) == quote


def test_a_slow_stream_delivers_82_percent_and_falls_behind(make_bench: Callable[[str], Any], at: At) -> None:
    """Of 100 quotes 82 leave, in order, each later than the one before: the last one is 18 quotes old."""
    bench = make_bench("kraken")
    _fault(bench, at, "slow")
    made = [bench.quote("BTC/USD", number=number) for number in range(100)]
    sent = [quote for quote in (bench.board.on_quote(one, at(0)) for one in made) if quote is not None]
    assert [quote.number for quote in sent] == list(range(len(sent)))
    assert len(sent) == pytest.approx(82, abs=1)


def test_a_slow_stream_is_itself_again_after_its_time(make_bench: Callable[[str], Any], at: At) -> None:
    """When the fault ends, the backlog is dropped and the present is streamed."""
    bench = make_bench("kraken")
    _fault(bench, at, "slow", seconds=5, value=0.5)
    for number in range(10):
        bench.board.on_quote(bench.quote("BTC/USD", number=number), at(1))
    assert bench.board.on_quote(bench.quote("BTC/USD", number=10), at(6)).number == 10


def test_frozen_rest_answers_the_past(make_bench: Callable[[str], Any], at: At) -> None:
    """rest_freeze of one asset holds the quote of its beginning; other assets and the stream go on."""
    bench = make_bench("kraken")
    before = dict(bench.market.latest)
    bench.board.hold(_fault(bench, at, "rest_freeze", asset="BTC", seconds=5), at(0))
    list(bench.market.advance(at(4)))
    row, other = bench.board.rows["BTC/USD"], bench.board.rows["ETH/USD"]
    assert bench.board.answered(row, at(4)) == before[row.position]
    assert bench.board.answered(other, at(4)) == bench.market.latest[other.position] != before[other.position]
    assert bench.board.answered(row, at(6)) == bench.market.latest[row.position] != before[row.position]


def test_price_faults_hit_stream_and_rest_alike(make_bench: Callable[[str], Any], at: At) -> None:
    """A wrong price is the exchange's price, whichever way one asks."""
    bench = make_bench("kraken")
    _fault(bench, at, "scale_price", value=2)
    quote = bench.quote("BTC/USD")
    for seen in (
        bench.board.on_quote(quote, at(0)),
        bench.board.streamed("BTC/USD", at(0)),
        bench.board.answered(quote.row, at(0)),
    ):
        assert seen.bid == quote.bid * 2
