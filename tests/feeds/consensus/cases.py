"""What the tests of the consensus share: rules, quotes and sources in one line, and a context."""

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal

from feeds.consensus.decimals.rules import ConsensusState, Decision, Source, evaluate
from feeds.consensus.decimals.venue import judge_quote
from tests.support.clocks import NOW_NS, WALL_NS
from tests.support.contexts import OpenContext, open_context
from tests.support.quotes import stored_quote
from trinity.clock import Clock
from trinity.markets import Asset, AssetRules, Catalog, Market
from trinity.memory.price_table import RowState, StoredQuote, Via

RULES = AssetRules(max_age_ms=10_000, min_sources=3, majority_window_bps=100, outlier_floor_bps=10, max_spread_bps=200)
EXCHANGES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
USDT_VENUES = ("gateio", "okx")


def quote_of(
    bid: str | Decimal | None,
    ask: str | Decimal | None = None,
    last: str | Decimal | None = None,
    *,
    at_ns: int = NOW_NS,
    behind_ns: int | None = 0,
) -> StoredQuote:
    """A quote received at `at_ns` (monotonic) whose exchange time is `behind_ns` older; one price is a book of it."""
    wall_ns = at_ns - NOW_NS + WALL_NS
    prices = [Decimal(price) if price is not None else None for price in (bid, ask if ask is not None else bid, last)]
    exchange_time_ns = wall_ns - behind_ns if behind_ns is not None else None
    return stored_quote(prices[0], prices[1], prices[2], exchange_time_ns, at_ns, wall_ns, Via.WS)


def source_of(
    exchange: int,
    quote: StoredQuote | None,
    currency: str = "USD",
    state: RowState = RowState.LIVE,
    rules: AssetRules = RULES,
) -> Source:
    return Source(exchange, currency, state, judge_quote(quote, rules) if quote is not None else None)


def sources_of(prices: Sequence[str | Decimal], *, at_ns: int = NOW_NS, rules: AssetRules = RULES) -> list[Source]:
    return [source_of(i, quote_of(price, at_ns=at_ns), rules=rules) for i, price in enumerate(prices)]


def decide(
    prices: Sequence[str | Decimal], rules: AssetRules = RULES, carried: ConsensusState | None = None
) -> tuple[Decision, ConsensusState]:
    """One evaluation of fresh USD prices at NOW_NS."""
    return evaluate(sources_of(prices, rules=rules), rules, {}, carried or ConsensusState(), NOW_NS)


def catalog_of() -> Catalog:
    """BTC on six exchanges, SOL on three, and the legs of both coins."""
    markets = [Market(name, "BTC", "USDT" if name in USDT_VENUES else "USD") for name in EXCHANGES]
    markets += [Market(name, "SOL", "USD") for name in EXCHANGES[:3]]
    markets += [Market(name, "USDT", "USD") for name in ("coinbase", "kraken", "cryptocom")]
    markets += [Market("kraken", "USDC", "USD"), Market("gateio", "USDC", "USDT"), Market("okx", "USDC", "USDT")]
    return Catalog(EXCHANGES, tuple(Asset(name, RULES) for name in ("BTC", "SOL", "USDT", "USDC")), tuple(markets))


@contextlib.contextmanager
def context_of(clock: Clock, *, simulated: bool = False) -> Iterator[OpenContext]:
    """The consensus process's context in a node of its own, over real shared memory."""
    with open_context("consensus", "consensus", catalog_of(), clock, simulated=simulated) as context:
        yield context


def write_quote(context: OpenContext, exchange: str, asset: str, price: str, **times: int | None) -> None:
    """What the feed of `exchange` does for one quote."""
    row = (context.catalog.exchange_index(exchange), context.catalog.asset_index(asset))
    at_ns = times.pop("at_ns", None) or context.clock.monotonic_ns()
    context.prices.write(*row, quote_of(price, at_ns=at_ns, **times))
    context.prices.write_state(*row, RowState.LIVE)
