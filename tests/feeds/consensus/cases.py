"""What the tests of the consensus share: rules, quotes and sources in one line, and a seat over real shared memory."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from uuid import uuid4

from feeds.consensus.rules import ConsensusState, Decision, Source, evaluate
from feeds.consensus.venue import judge_quote
from tests.quotes import stored_quote
from trinity.clock import NS_PER_SECOND
from trinity.markets import Asset, AssetRules, Catalog, Market
from trinity.memory.answer_table import AnswerTable
from trinity.memory.control import Control
from trinity.memory.price_table import PriceTable, RowState, StoredQuote, Via
from trinity.process import Seat

RULES = AssetRules(max_age_ms=10_000, min_sources=3, majority_window_bps=100, outlier_floor_bps=10, max_spread_bps=200)
EXCHANGES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
NOW_NS = 1_000 * NS_PER_SECOND
WALL_NS = 1_767_225_600 * NS_PER_SECOND
USDT_VENUES = ("gateio", "okx")


class ManualClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns - NOW_NS + WALL_NS

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_SECOND)


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
def seat_of(clock: object, *, simulated: bool = False) -> Iterator[Seat]:
    """The consensus process's seat in a node of its own, over real shared memory."""
    name = f"test-consensus-{uuid4().hex[:12]}"
    catalog = catalog_of()
    control = Control.create(f"{name}-control", 1)
    prices = PriceTable.create(f"{name}-prices", len(EXCHANGES), len(catalog.assets))
    answers = AnswerTable.create(f"{name}-answers", len(EXCHANGES), len(catalog.assets))
    log = logging.getLogger(f"test.{name}")
    log.setLevel(logging.INFO)
    wake_fd, control_fd = os.eventfd(0), os.eventfd(0)
    try:
        yield Seat(
            name="consensus",
            kind="consensus",
            index=0,
            catalog=catalog,
            clock=clock,  # type: ignore[arg-type]
            prices=prices,
            answers=answers,
            control=control,
            block=control.block(0),
            wake_fd=wake_fd,
            control_fd=control_fd,
            simulated=simulated,
            log=log,
        )
    finally:
        for segment in (prices.segment, answers.segment, control.segment):
            segment.unlink()
        os.close(wake_fd)
        os.close(control_fd)


def write_quote(seat: Seat, exchange: str, asset: str, price: str, **times: int | None) -> None:
    """What the feed of `exchange` does for one quote."""
    row = (seat.catalog.exchange_index(exchange), seat.catalog.asset_index(asset))
    at_ns = times.pop("at_ns", None) or seat.clock.monotonic_ns()
    seat.prices.write(*row, quote_of(price, at_ns=at_ns, **times))
    seat.prices.write_state(*row, RowState.LIVE)
