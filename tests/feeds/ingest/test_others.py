"""feeds/ingest/others.py; test_rows.py has what is made of it."""

from decimal import Decimal

from feeds.ingest.others import OtherPrices
from tests.support.contexts import open_context
from tests.support.quotes import stored_quote
from trinity.clock import NS_PER_SECOND
from trinity.markets import load_catalog

CATALOG = load_catalog()
KRAKEN, GATEIO, BTC = CATALOG.exchange_index("kraken"), CATALOG.exchange_index("gateio"), CATALOG.asset_index("BTC")


def test_the_others_are_seen_in_our_own_currency_or_not_at_all() -> None:
    """A price in USDT needs the measured index; our own price is none of the others'."""
    with open_context("feed", "feed", CATALOG) as context:
        now_ns, price = 10**15, Decimal(100)
        quote = stored_quote(price, price, price, None, now_ns, now_ns)
        for exchange in (KRAKEN, GATEIO, CATALOG.exchange_index("gemini")):
            context.prices.write(exchange, BTC, quote)
        others = OtherPrices(context.prices, context.answers, CATALOG, KRAKEN)
        others.refresh(now_ns)
        assert others.fresh(BTC, now_ns, NS_PER_SECOND)[GATEIO] is None
        context.answers.write_index(0, 0.5)
        others.refresh(now_ns + 2 * NS_PER_SECOND)
        fresh = others.fresh(BTC, now_ns, NS_PER_SECOND)
        assert fresh[GATEIO] == 50.0
        assert fresh[KRAKEN] is None
        assert others.fresh(BTC, now_ns + 2 * NS_PER_SECOND, NS_PER_SECOND) == [None] * len(CATALOG.exchanges)
