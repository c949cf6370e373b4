"""A whole market for the tests of the consensus: the catalog's exchanges and assets, who lies, who is away.

The rules run as the node composes them (`Rerun`: all assets, carried, the coins' indexes of the turn before), without
shared memory. What is true is known here, so each price can be held against what the honest exchanges said.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random
from typing import NamedTuple

from feeds.audit.entries import CONSENSUS_STREAM, VERSION, AssetState, Checkpoint, Header, RowInput
from feeds.audit.rerun import Rerun
from feeds.consensus.decimals.rules import ConsensusState, Decision
from tests.feeds.consensus.cases import NOW_NS, WALL_NS, quote_of
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.markets import Catalog, Market, load_catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState

CATALOG = load_catalog()
COINBASE, GEMINI, KRAKEN, GATEIO, CRYPTOCOM, OKX = range(6)
ALL = frozenset(range(6))
BPS = Decimal(10_000)
# Each honest quote is off by so much at most.
NOISE_BPS = Decimal(1)
PRICES = {asset.name: Decimal(100 + 7 * i) for i, asset in enumerate(CATALOG.assets)}
COINS = {"USDT": Decimal("0.9996"), "USDC": Decimal("1.0001")}


class Lie(NamedTuple):
    """What an exchange makes of its prices: all by `scale`, but a market named in `by_asset` by that."""

    scale: Decimal
    by_asset: Mapping[str, Decimal] = {}

    def factor(self, asset: str) -> Decimal:
        return self.by_asset.get(asset, self.scale)


class Range(NamedTuple):
    """What the honest exchanges say of an asset, in USD."""

    low: Decimal
    high: Decimal

    def off_bps(self, price: Decimal) -> Decimal:
        """How far outside a price is."""
        return max(self.low - price, price - self.high, Decimal(0)) / self.low * BPS


class Said(NamedTuple):
    usd: Decimal
    at_ns: int
    is_lie: bool


class WholeMarket:
    """All markets of the catalog; `turn` is one of the consensus process with fresh quotes of whoever is up."""

    def __init__(self, seed: int = 1, catalog: Catalog = CATALOG) -> None:
        self.catalog = catalog
        self.now_ns = NOW_NS
        self.prices = {**PRICES, **COINS}
        self.lies: dict[int, Lie] = {}
        self.away: set[int] = set()
        self.decisions: dict[str, Decision] = {}
        self.rerun = self._fresh_process()
        self._rng = Random(seed)
        self._said: dict[tuple[int, str], Said] = {}
        self._rows = [(catalog.exchange_index(m.exchange), catalog.asset_index(m.asset), m) for m in catalog.markets]

    def restart(self) -> None:
        """The consensus process is killed and begins anew, with what the answer table keeps for it."""
        checkpoint = self.rerun.checkpoint(self.now_ns, WALL_NS)
        assets = tuple(
            AssetState(
                ConsensusState(dict.fromkeys(state.carried.held), state.carried.last_price), state.last, state.state, 0
            )
            for state in checkpoint.assets
        )
        held = {coin: one._replace(jump_since_ns=None) for coin, one in checkpoint.held.items()}
        self.rerun = Rerun(self._header(), Checkpoint(self.now_ns, WALL_NS, checkpoint.rows, assets, {}, held))
        self.rerun.measure_coins(self.now_ns)

    def turn(self, seconds: float = 0.5) -> dict[str, Decision]:
        """Everybody who is up quotes, all assets are decided, and then `seconds` pass."""
        for exchange, asset, market in self._rows:
            if exchange not in self.away:
                price = self._quote(exchange, market)
                quote = quote_of(price, at_ns=self.now_ns)
                self.rerun.set_row(RowInput(exchange, asset, RowState.LIVE, quote), quote)
        everything = range(len(self.catalog.assets))
        for asset in everything:
            self.decisions[self.catalog.assets[asset].name] = self.rerun.review(asset, self.now_ns).decision
        self.rerun.measure_coins(self.now_ns)
        self.decided_at_ns = self.now_ns
        self.now_ns += int(seconds * NS_PER_SECOND)
        return self.decisions

    def settle(self) -> dict[str, Decision]:
        """Two turns: the first measures the coins, the second uses them."""
        self.turn(0.2)
        return self.turn(0.2)

    def served(self) -> dict[str, Decimal]:
        return {
            name: decision.price
            for name, decision in self.decisions.items()
            if decision.state is AnswerState.GOOD and decision.price is not None
        }

    def refused(self) -> set[str]:
        return set(self.decisions) - set(self.served())

    def honest(self, asset: str) -> Range:
        """What was said honestly of an asset and is not yet old."""
        max_age_ns = self.catalog.assets[self.catalog.asset_index(asset)].rules.max_age_ms * NS_PER_MS
        said = [
            one.usd
            for (_, name), one in self._said.items()
            if name == asset and not one.is_lie and self.decided_at_ns - one.at_ns <= max_age_ns
        ]
        return Range(min(said) * (1 - 3 * NOISE_BPS / BPS), max(said) * (1 + 3 * NOISE_BPS / BPS))

    def lying(self) -> set[int]:
        """Who lies, or did so lately enough that a lie may still be taken for fresh."""
        old_ns = 31 * NS_PER_SECOND
        late = {key[0] for key, one in self._said.items() if one.is_lie and self.now_ns - one.at_ns <= old_ns}
        return late | set(self.lies)

    def _quote(self, exchange: int, market: Market) -> Decimal:
        """The price in the market's currency, at six digits behind the point."""
        noise = 1 + NOISE_BPS / BPS * self._rng.randint(-100, 100) / 100
        usd = self.prices[market.asset] * noise
        lie = self.lies.get(exchange)
        self._said[exchange, market.asset] = Said(usd, self.now_ns, lie is not None)
        price = usd / (self.prices["USDT"] if market.quote == "USDT" else 1)
        return (price * (lie.factor(market.asset) if lie is not None else 1)).quantize(Decimal("1e-6"))

    def _fresh_process(self) -> Rerun:
        nothing = AssetState(ConsensusState(), None, AnswerState.EMPTY, 0)
        assets = tuple(nothing for _ in self.catalog.assets)
        return Rerun(self._header(), Checkpoint(self.now_ns, WALL_NS, (), assets, {}, {}))

    def _header(self) -> Header:
        return Header(VERSION, CONSENSUS_STREAM, "boot", 1, 0, self.now_ns, WALL_NS, True, self.catalog)


def lying(exchanges: Iterable[int], lie: Lie) -> dict[int, Lie]:
    return dict.fromkeys(exchanges, lie)
