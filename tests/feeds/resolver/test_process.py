"""feeds/resolver/process.py"""

from tests.feeds.resolver.asked_resolver import CATALOG, ON_ALL, Bench
from trinity.memory.asset_table import is_resolver_there
from trinity.observe.metrics import RESOLVER


async def test_it_says_that_it_is_there_and_how_old_each_list_is(bench: Bench) -> None:
    """Workers wait for nobody who is not; metrics say which list is missing."""
    words, clock = bench.context.memory.assets.words, bench.context.clock
    assert not is_resolver_there(words, clock.monotonic_ns())
    await bench.fault(exchange="okx", fault="rest_500", seconds=600)
    await bench.start(with_lists=False)
    await bench.until(lambda: bench.resolver.lists_tried == len(CATALOG.exchanges))
    assert is_resolver_there(words, clock.monotonic_ns())
    turn = bench.resolver.turns
    await bench.until(lambda: bench.resolver.turns > turn + 1)
    ages = {
        name: bench.context.block.read_gauge(RESOLVER.index("asset_listing_age_seconds", name))
        for name in CATALOG.exchanges
    }
    assert ages.pop("okx") == -1
    assert min(ages.values()) >= 0


async def test_what_was_asked_while_no_resolver_lived_is_answered_by_the_next(bench: Bench) -> None:
    """The queue outlives it."""
    bench.put(ON_ALL[0])
    await bench.start(with_lists=False)
    await bench.until(lambda: bench.is_decided(ON_ALL[0]))
