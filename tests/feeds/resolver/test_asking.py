"""feeds/resolver/asking.py, against running simulated exchanges (see test_flights.py for what goes wrong)."""

from feeds.resolver.asking import NOT_LISTED
from tests.feeds.resolver.asked_resolver import CATALOG, ON, ON_ALL, Bench
from trinity.memory.price_table import StoredQuote


async def test_many_that_wait_go_out_in_one_question_where_the_exchange_has_one(bench: Bench) -> None:
    """Kraken has one for many: eight assets are one question, and each gets its own quote."""
    await bench.start()
    asker = bench.resolver.rest[CATALOG.exchange_index("kraken")].asker
    before = await bench.asked_over_rest()
    futures = [asker.ask(f"{name}/USD") for name in ON_ALL[:8]]
    quotes = [await future for future in futures]
    after = await bench.asked_over_rest()
    assert all(isinstance(quote, StoredQuote) for quote in quotes)
    assert len(set(quotes)) == 8
    assert after["kraken"] - before["kraken"] == 1


async def test_a_symbol_that_is_asked_for_alone_and_is_unknown_is_said_to_be_so(bench: Bench) -> None:
    """Every exchange has its own words for it."""
    await bench.start()
    for rest in bench.resolver.rest:
        await bench.until(bench.all_have_their_turn)
        symbol = rest.exchange.rest_requests([_symbol(rest.exchange.PROFILE.name)])[0].symbols[0]
        assert await rest.asker.ask(symbol) is NOT_LISTED


async def test_what_was_not_sent_yet_can_be_withdrawn(bench: Bench) -> None:
    """And is not asked for then."""
    await bench.start()
    rest = bench.resolver.rest[CATALOG.exchange_index("gemini")]
    first, second = _two_of_gemini()
    sent = rest.asker.ask(first)
    await bench.until(sent.done)
    before = await bench.asked_over_rest()
    rest.asker.ask(second)
    assert rest.asker.withdraw(second)
    await bench.until(bench.all_have_their_turn)
    assert (await bench.asked_over_rest())["gemini"] == before["gemini"]
    assert not rest.asker.withdraw(first)


async def test_where_each_question_is_for_one_asset_those_ahead_are_waited_for(bench: Bench) -> None:
    """Coinbase has no question for many, OKX has: five that wait are five gaps there, and one question here."""
    await bench.start()
    coinbase, okx = (bench.resolver.rest[CATALOG.exchange_index(name)].asker for name in ("coinbase", "okx"))
    assert (coinbase.asks_many, okx.asks_many) == (False, True)
    now_ns = bench.context.clock.monotonic_ns()
    for name in ON_ALL[:5]:
        coinbase.ask(f"{name}-USD")
        okx.ask(f"{name}-USDT")
    assert coinbase.wait_ns(now_ns) == 5 * int(0.15e9)
    assert okx.wait_ns(now_ns) == 0


def _two_of_gemini() -> list[str]:
    return [f"{name.lower()}usd" for name, exchanges in ON.items() if "gemini" in exchanges][:2]


def _symbol(exchange: str) -> str:
    return {
        "coinbase": "NOSUCH-USD", "gemini": "nosuchusd", "kraken": "NOSUCH/USD", "gateio": "NOSUCH_USDT",
        "cryptocom": "NOSUCH_USD", "okx": "NOSUCH-USDT",
    }[exchange]  # fmt: skip
