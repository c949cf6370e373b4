"""The explanation over real tables: every step is there, with the numbers of the decision."""

from collections.abc import Iterator

import pytest

from feeds.audit.account import DecisionAccount
from feeds.audit.explain import explain_now, text_of
from feeds.consensus.decimals.inputs import Gathered, gather
from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.markets import AssetRules
from trinity.memory.price_table import PriceTable, RowState

PRICES = ["71002.1", "70995.0", "71000.0", "70990.5", "70998.0", "70991.2"]
# Their median with the crossed leg 1 / 1.0003 is 0.99995, and two exchanges would have to lie to touch all.
LEGS = [("coinbase", "1.0002"), ("kraken", "0.9998"), ("cryptocom", "1.0001")]
STEPS = (
    "0 market",
    "1 venue",
    "2 fresh",
    "3 conv",
    "4 enough",
    "5 major",
    "6 robust",
    "7 hold",
    "8 price",
    "9 jump",
    "result",
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def context(clock: ManualClock) -> Iterator[OpenContext]:
    with context_of(clock) as made:
        for exchange, price in zip(EXCHANGES, PRICES, strict=True):
            write_quote(made, exchange, "BTC", price)
        for exchange, price in LEGS:
            write_quote(made, exchange, "USDT", price)
        write_quote(made, "kraken", "USDC", "1")
        write_quote(made, "gateio", "USDC", "1.0003")
        yield made


def account(context: OpenContext, asset: str = "BTC") -> DecisionAccount:
    return explain_now(
        context.prices, context.answers, context.catalog, context.catalog.asset_index(asset), context.clock
    )


def text(context: OpenContext, asset: str = "BTC") -> str:
    return text_of(account(context, asset))


def test_every_step_is_told_in_order_with_its_numbers(context: OpenContext) -> None:
    """The published conversion example, step by step."""
    Aggregator(context, context.of_consensus).turn()
    told = text(context)

    positions = [told.find(f"\n{step}") for step in STEPS]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert "0 market: 6 live exchanges (" + ", ".join(EXCHANGES) + "), of which 2 may lie together" in told
    legs = "kraken x gateio 0.999700089973, kraken 0.9998, cryptocom 1.0001, coinbase 1.0002"
    assert f"USDT/USD 0.99995 from {legs}" in told
    assert "is touched by 3 exchanges at least, 3 needed -> measured" in told
    assert "-> 4 of 6 within" in told
    assert "70990.5 -> 70986.950475 USD" in told
    assert "result: 70996.5 USD from 6 sources, 0.0 ms old, good for another 10000.0 ms" in told
    assert "the node serves it as: good" in told


def test_a_quote_that_comes_while_the_tables_are_read_is_not_from_the_future(
    context: OpenContext, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No age is below zero."""
    Aggregator(context, context.of_consensus).turn()

    def late(prices: PriceTable, asset: int, listing: tuple[int, str], rules: AssetRules) -> Gathered:
        clock.advance(0.001)
        write_quote(context, EXCHANGES[listing[0]], context.catalog.assets[asset].name, "71000.0")
        return gather(prices, asset, listing, rules)

    monkeypatch.setattr("feeds.audit.explain.gather", late)
    quotes = [source.quote for source in account(context).sources if source.quote is not None]
    ages = [quote.bid.age_ms for quote in quotes if quote.bid is not None]
    assert len(ages) == 6
    assert min(ages) >= 0


def test_what_was_left_out_is_named_with_its_reason(context: OpenContext, clock: ManualClock) -> None:
    """Outlier, frozen, crossed and stale sources each by name; the hold-out comes from the running node."""
    process = Aggregator(context, context.of_consensus)
    write_quote(context, "coinbase", "BTC", "75000")
    process.turn()
    write_quote(context, "coinbase", "BTC", "71000")
    process.turn()
    context.prices.write_state(2, 0, RowState.FROZEN)

    told = text(context)

    assert "row frozen -> frozen" in told
    assert "-> coinbase held out" in told
    assert "left out: coinbase: held_out; kraken: frozen" in told


def test_a_price_that_cannot_be_given_ends_at_its_step(context: OpenContext) -> None:
    """No majority: steps 6 to 9 are not reached, and the text says why."""
    for exchange in EXCHANGES[:3]:
        write_quote(context, exchange, "BTC", "80000")
    Aggregator(context, context.of_consensus).turn()
    told = text(context)

    assert "no 4 of 6 within 100 bps" in told
    assert "\n6 robust" not in told
    assert "result: sources_disagree" in told
    assert "the node serves it as: sources_disagree" in told


def test_an_index_that_liars_could_have_made_is_told_as_refused(context: OpenContext) -> None:
    """Kraken and Crypto.com lie, and in USDC: two legs here, two there, and the USDT quotes count but cannot vote."""
    for exchange, asset, price in (
        ("kraken", "USDT", "0.95"),
        ("cryptocom", "USDT", "0.95"),
        ("kraken", "USDC", "0.95"),
        ("kraken", "BTC", "67450"),
        ("cryptocom", "BTC", "67450"),
    ):
        write_quote(context, exchange, asset, price)
    process = Aggregator(context, context.of_consensus)
    process.turn()
    told = text(context)

    assert "USDT/USD refused from" in told
    assert "is touched by 2 exchanges at least, 3 needed -> refused" in told
    assert "no 4 of 6 within 100 bps" in told
    assert "left out: gateio: no_index; okx: no_index" in told
    assert "the node serves it as: sources_disagree" in told


def test_a_price_that_is_not_backed_says_so(context: OpenContext) -> None:
    """Four USD quotes, two and two within the cut: three would have to stand around the middle."""
    for exchange, price in zip(EXCHANGES, ["71000", "71000", "71300", "1", "71300", "1"], strict=True):
        write_quote(context, exchange, "BTC", price)
    context.prices.write_state(3, 0, RowState.FROZEN)
    context.prices.write_state(5, 0, RowState.FROZEN)
    Aggregator(context, context.of_consensus).turn()
    told = text(context)

    assert "8 price: refused, no 3 of the kept lie around their median within 20 bps" in told
    assert "result: sources_disagree" in told


def test_a_dead_consensus_process_is_seen(context: OpenContext, clock: ManualClock) -> None:
    """The published answer ages on its own: after its validity the node serves it as stale."""
    Aggregator(context, context.of_consensus).turn()
    clock.advance(11)

    assert "the node serves it as: stale" in text(context)
    assert "-> stale\n" in text(context)


def test_an_empty_asset_is_explained_too(context: OpenContext) -> None:
    """No quote yet, no answer yet: said, not guessed."""
    told = text(context, "SOL")

    assert told.count("no quote yet") == 3
    assert "3 conversion: none needed" in told
    assert "result: empty" in told
    assert "the node serves it as: empty" in told
