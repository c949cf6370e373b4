"""The account as data: every number of the decision, exact, and JSON that says the same."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest

from feeds.audit.account import DecisionAccount
from feeds.audit.explain import explain_now, text_of
from feeds.consensus.process import Aggregator
from tests.feeds.consensus.cases import EXCHANGES, context_of, write_quote
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from trinity.memory.price_table import RowState

PRICES = ["71002.1", "70995.0", "71000.0", "70990.5", "70998.0", "70991.2"]


@pytest.fixture
def context() -> Iterator[OpenContext]:
    with context_of(ManualClock()) as made:
        for exchange, price in zip(EXCHANGES, PRICES, strict=True):
            write_quote(made, exchange, "BTC", price, behind_ns=40_000_000)
        for exchange, price in (("coinbase", "1.0002"), ("kraken", "0.9998"), ("cryptocom", "1.0001")):
            write_quote(made, exchange, "USDT", price)
        yield made


def account_of(context: OpenContext, asset: str = "BTC") -> DecisionAccount:
    return explain_now(
        context.prices, context.answers, context.catalog, context.catalog.asset_index(asset), context.clock
    )


def test_every_source_has_its_quote_age_conversion_and_verdict(context: OpenContext) -> None:
    """Raw prices with all digits, both ages, the vote in USD, and what became of it."""
    Aggregator(context, context.of_consensus).turn()
    context.clock.advance(1.5)  # type: ignore[attr-defined]
    context.prices.write_state(2, 0, RowState.FROZEN)
    account = account_of(context)
    by_name = {source.exchange: source for source in account.sources}

    gateio = by_name["gateio"]
    assert gateio.quote is not None
    assert gateio.quote.bid is not None
    assert (str(gateio.quote.bid.price), gateio.quote.last, gateio.quote.via) == ("70990.5", None, "ws")
    assert (gateio.quote.bid.age_ms, gateio.quote.bid.exchange_age_ms) == (1500.0, 1540.0)
    assert (gateio.currency, gateio.converted, gateio.venue_price) == ("USDT", True, Decimal("70990.5"))
    assert gateio.usd_price == Decimal("70990.5") * account.indexes[0].usd  # type: ignore[operator]
    assert (by_name["kraken"].freshness, by_name["kraken"].verdict) == ("frozen", "frozen")
    assert by_name["coinbase"].verdict == "used"
    assert account.left_out == {"kraken": "frozen"}
    assert account.used == tuple(name for name in EXCHANGES if name != "kraken")


def test_steps_hold_the_numbers_of_the_decision(context: OpenContext) -> None:
    """Majority, cut, price and jump guard, and what the node serves."""
    Aggregator(context, context.of_consensus).turn()
    account = account_of(context)

    assert account.majority is not None
    assert (account.majority.needed, account.majority.of) == (4, 6)
    assert (account.market.live, account.market.faulty) == (EXCHANGES, 2)
    (usdt,) = account.indexes
    assert (usdt.coin, usdt.state, usdt.exchanges, usdt.exchanges_needed) == ("USDT", "measured", 3, 3)
    assert [leg.exchanges for leg in usdt.legs] == [("kraken",), ("cryptocom",), ("coinbase",)]
    assert all(leg.agrees for leg in usdt.legs)
    assert account.cut is not None
    assert account.cut.limit >= account.cut.mad
    assert account.price_found is not None
    assert account.price_found.price == account.price
    assert account.jump is not None
    assert (account.jump.last_price, account.jump.passed) == (account.price, True)
    assert (account.state, account.served_as) == ("good", "good")
    assert account.good_for_ms == pytest.approx(10_000)


def test_the_age_of_a_price_is_that_of_its_median(context: OpenContext) -> None:
    """With the newest quote's beside it, and the names of those that the median stands on."""
    context.clock.advance(2)  # type: ignore[attr-defined]
    write_quote(context, "coinbase", "BTC", PRICES[0])
    Aggregator(context, context.of_consensus).turn()
    account = account_of(context)

    assert account.price_found is not None
    assert account.price_found.median_of == ("cryptocom", "okx")
    assert (account.age_ms, account.newest_age_ms) == (2000.0, 0.0)
    assert account.good_for_ms == pytest.approx(8_000)


def test_a_disputed_price_uses_nobody(context: OpenContext) -> None:
    """Three against three: no price, no source in it, all of them disputed, with the spread and what was needed."""
    for exchange in EXCHANGES[:3]:
        write_quote(context, exchange, "BTC", "78000")
    Aggregator(context, context.of_consensus).turn()
    account = account_of(context)

    assert (account.state, account.price, account.age_ms, account.used) == ("sources_disagree", None, None, ())
    assert {source.verdict for source in account.sources} == {"disputed"}
    assert account.majority is not None
    assert (account.majority.needed, account.majority.low) == (4, None)
    assert 900 < account.majority.spread_bps < 1000
    assert "no 4 of 6 within 100 bps: they are 939.93 bps apart" in text_of(account)


def test_json_and_text_say_the_same(context: OpenContext) -> None:
    """The account survives JSON, so text made of either is one."""
    Aggregator(context, context.of_consensus).turn()
    account = account_of(context)
    again = msgspec.json.decode(msgspec.json.encode(account), type=DecisionAccount)

    assert again == account
    assert text_of(again) == text_of(account)


def test_steps_that_were_not_reached_are_null(context: OpenContext) -> None:
    """Too few sources: no majority, no cut, no price."""
    account = account_of(context, "SOL")
    assert (account.majority, account.cut, account.price_found, account.jump) == (None, None, None, None)
    assert (account.state, account.price, account.good_for_ms) == ("empty", None, None)
    assert [source.quote for source in account.sources] == [None] * 3
    assert all(source.verdict == "no_quote" for source in account.sources)
