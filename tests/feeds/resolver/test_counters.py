"""feeds/resolver/counters.py"""

from feeds.resolver.counters import ResolverCounters
from tests.support.contexts import open_context
from trinity.markets import load_catalog
from trinity.observe.metrics import RESOLVER
from trinity.vocabulary import EXCHANGES, MISS_OUTCOMES


def test_every_outcome_and_every_answer_of_an_exchange_has_its_word() -> None:
    """And the gauges hold what was said last."""
    with open_context("resolver", "resolver", load_catalog()) as context:
        counters, block = ResolverCounters(context.block), context.block
        for outcome in MISS_OUTCOMES:
            counters.outcome(outcome)
            assert block.read_counter(RESOLVER.index("asset_flights_total", outcome)) == 1
        for exchange in EXCHANGES:
            for result in ("ok", "rate_limited", "refused", "failed"):
                counters.asked(exchange, result)
                assert block.read_counter(RESOLVER.index("asset_rest_requests_total", exchange, result)) == 1
        counters.rows(3, 2, 1)
        names = ("asset_rows", "asset_rows_hot", "asset_rows_on_sockets")
        assert [block.read_gauge(RESOLVER.index(name)) for name in names] == [3, 2, 1]
        counters.miss()
        counters.bad_cache_value()
        counters.listing_age("okx", 7.5)
        assert block.read_gauge(RESOLVER.index("asset_listing_age_seconds", "okx")) == 7.5
