"""feeds/resolver/market.py"""

from decimal import Decimal

from feeds.resolver.market import MarketView
from tests.support.contexts import open_context
from tests.support.quotes import stored_quote
from trinity.clock import NS_PER_SECOND
from trinity.markets import load_catalog

CATALOG = load_catalog()


def test_the_market_is_what_the_tables_say_of_the_catalog_s_rows() -> None:
    """Four exchanges say what USDT is worth; two seconds later nobody has been heard for longer than it may."""
    with open_context("resolver", "resolver", CATALOG) as context:
        view = MarketView(context.prices, context.answers, CATALOG)
        now_ns, usdt, price = 10**15, CATALOG.asset_index("USDT"), Decimal("0.9997")
        said = [market.exchange for market in CATALOG.markets if (market.asset, market.quote) == ("USDT", "USD")]
        for name in said:
            quote = stored_quote(price, price, price, None, now_ns, now_ns)
            context.prices.write(CATALOG.exchange_index(name), usdt, quote)
        assert view.live(now_ns) == {CATALOG.exchange_index(name) for name in said}
        assert view.indexes(now_ns) == {"USDT": price}
        late_ns = now_ns + 100 * NS_PER_SECOND
        assert view.live(late_ns) == frozenset()
        assert view.indexes(late_ns) == {}
