"""The simulated market: a correlated random walk for each asset, seen by each exchange with its own spread and noise.

Rules: pure. Time and randomness are arguments; the same seed and the same instants give the same quotes. Prices
are above zero and bid <= last <= ask. All exchanges agree within a few basis points (1/10,000), so that only a
fault moves one of them away.

An asset's price in dollars is start * exp(beta * common + own). `common` (the whole market) and `own` are walks that
return slowly to zero (Ornstein-Uhlenbeck, stepped exactly for any time step), so that a price stays within some ten
percent of its start however long the simulation runs. USDT markets are priced in measured dollars per USDT.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000

# Dollars at the start; the level of autumn 2026. An asset that is not here gets a price made of its name.
START_PRICES = {
    "BTC": 85_860.0,
    "ETH": 3_120.0,
    "SOL": 148.0,
    "XRP": 1.06,
    "DOGE": 0.142,
    "LTC": 81.5,
    "LINK": 13.4,
    "AVAX": 14.2,
    "DOT": 2.31,
    "UNI": 5.62,
    "AAVE": 172.0,
    "BCH": 485.0,
    "SUI": 1.58,
    "PEPE": 0.00000462,
    "SHIB": 0.00000851,
    "ATOM": 2.44,
    "ARB": 0.207,
    "HYPE": 34.1,
    "FIL": 1.52,
    "CRV": 0.388,
    "POL": 0.131,
    "INJ": 5.12,
    "FET": 0.248,
    "GRT": 0.0421,
    "APE": 0.214,
    "ZEC": 412.0,
    "ADA": 0.412,
    "XLM": 0.241,
    "ALGO": 0.137,
    "NEAR": 1.71,
    "ICP": 3.42,
    "TRX": 0.281,
    "BNB": 872.0,
    "ETC": 12.9,
    "APT": 1.88,
    "HBAR": 0.119,
    "ONDO": 0.452,
    "GRAM": 1.57,
    "BONK": 0.0000093,
    "CRO": 0.0982,
    "USDT": 0.9997,
    "USDC": 0.9999,
}
STABLE_ASSETS = frozenset({"USDT", "USDC"})

# Volatility of a square-root second: 1.2e-4 is about 70 % a year; stablecoins move a hundredth of that.
VOLATILITY = 1.2e-4
STABLE_VOLATILITY = 2e-6
# Time in which a walk forgets: a day for coins (3 % deviation on average), ten minutes for stablecoins (0.3 bp).
MEMORY_SECONDS = 86_400.0
STABLE_MEMORY_SECONDS = 600.0
# Three quarters of a coin's variance is the whole market's, as among large coins.
COMMON_SHARE = 0.75
# What one exchange sees beside the common price, standard deviation and bound: it redraws it for every quote.
NOISE = 0.00003
NOISE_MAX = 0.0001
# Half the spread lies between these, by asset.
HALF_SPREAD_MIN = 0.00002
HALF_SPREAD_MAX = 0.0001
# This share of the quotes comes with a trade, at the bid or at the ask.
TRADE_SHARE = 0.5
# Prices carry six significant digits: a tick of 1 bp at most, as on the real exchanges.
SIGNIFICANT_DIGITS = 6
# Quotes that are overdue by more than this (a paused process) are left out instead of sent in a burst.
BURST_SECONDS_MAX = 0.25
# A market that quotes only when it is asked keeps its quote for this long, as one that trades now and then does.
STANDING_NS = 200 * NS_PER_MS


class Instant(NamedTuple):
    """The two clocks, read together: `monotonic_ns` for intervals, `wall_ns` for what is sent as exchange time."""

    monotonic_ns: int
    wall_ns: int


class MarketRow(NamedTuple):
    """One market of one exchange.

    `position` is its place in the catalog, `symbol` the exchange's own name of it, `decimals` those of its prices.
    """

    position: int
    exchange: str
    asset: str
    currency: str
    symbol: str
    decimals: int

    def text(self, price: float) -> str:
        """A price as plain digits."""
        return f"{price:.{self.decimals}f}"


class SimulatedQuote(NamedTuple):
    """One market at one instant.

    `number` grows with every quote of the simulation. `time_ns` is the exchange's wall time, None when a fault
    takes it away. `traded`: `last` is a trade of this instant. The last two are set by faults only.
    """

    row: MarketRow
    number: int
    bid: float
    ask: float
    last: float
    time_ns: int | None
    traded: bool
    deformed: bool = False
    sequence_gap: int = 0


class SimulatedMarket:
    """All markets of all exchanges, quoting `quotes_per_second` in total."""

    def __init__(self, rows: Sequence[MarketRow], quotes_per_second: float, rng: random.Random, now: Instant) -> None:
        self.rows = list(rows)
        self.quotes_per_second = quotes_per_second
        self._rng = rng
        self._common = _Walk(VOLATILITY * math.sqrt(COMMON_SHARE), MEMORY_SECONDS, now.monotonic_ns)
        assets = dict.fromkeys([row.asset for row in self.rows] + sorted(STABLE_ASSETS))
        self._coins = {asset: _Coin(asset, now.monotonic_ns) for asset in assets}
        self._due = 0.0
        self._due_at_ns = now.monotonic_ns
        self._number = 0
        self._order = self._rounds()
        self._last: dict[int, float] = {}
        self.latest = {row.position: self._quote(row, now) for row in self.rows}

    def advance(self, now: Instant) -> Iterator[SimulatedQuote]:
        """The quotes that are due until `now`; each is also `latest` of its row."""
        passed_seconds = max(0, now.monotonic_ns - self._due_at_ns) / NS_PER_SECOND
        self._due_at_ns = now.monotonic_ns
        self._due += min(passed_seconds, BURST_SECONDS_MAX) * self.quotes_per_second
        while self._due >= 1.0 and self.rows:
            self._due -= 1.0
            row = next(self._order)
            quote = self.latest[row.position] = self._quote(row, now)
            yield quote

    def quote_now(self, row: MarketRow, now: Instant) -> SimulatedQuote:
        """The quote of a row that has no place in the rounds: made when it is asked for, a while the same."""
        quote = self.latest.get(row.position)
        if quote is None or (quote.time_ns or 0) < now.wall_ns - STANDING_NS:
            quote = self.latest[row.position] = self._quote(row, now)
        return quote

    def join(self, row: MarketRow) -> None:
        """The row quotes from the next round on, as those that were there from the start."""
        if row not in self.rows:
            self.rows.append(row)

    def _rounds(self) -> Iterator[MarketRow]:
        """Every row once per round, each round in another order: no market waits longer than two rounds."""
        while True:
            order = list(self.rows)
            self._rng.shuffle(order)
            yield from order

    def _quote(self, row: MarketRow, now: Instant) -> SimulatedQuote:
        rng = self._rng
        common = self._common.step(now.monotonic_ns, rng)
        coin = self._coins.get(row.asset)
        if coin is None:
            coin = self._coins[row.asset] = _Coin(row.asset, now.monotonic_ns)
        price = coin.price(common, now.monotonic_ns, rng)
        if row.currency != "USD":
            price /= self._coins[row.currency].price(common, now.monotonic_ns, rng)
        noise = max(-NOISE_MAX, min(NOISE_MAX, rng.gauss(0.0, NOISE)))
        mid = price * (1.0 + noise)
        tick = 10.0**-row.decimals
        bid = round(mid * (1.0 - coin.half_spread), row.decimals)
        ask = max(round(mid * (1.0 + coin.half_spread), row.decimals), round(bid + tick, row.decimals))
        traded = row.position not in self._last or rng.random() < TRADE_SHARE
        last = rng.choice((bid, ask)) if traded else min(max(self._last[row.position], bid), ask)
        self._last[row.position] = last
        self._number += 1
        return SimulatedQuote(row, self._number, bid, ask, last, now.wall_ns, traded)


class _Walk:
    """A walk that returns to zero: standard deviation `volatility` a square-root second, forgotten in `memory`."""

    def __init__(self, volatility: float, memory_seconds: float, now_ns: int) -> None:
        self._variance = volatility * volatility * memory_seconds / 2.0
        self._memory_seconds = memory_seconds
        self._at_ns = now_ns
        self._value = 0.0

    def step(self, now_ns: int, rng: random.Random) -> float:
        """Its value now; without a draw when no time has passed."""
        passed_ns = now_ns - self._at_ns
        if passed_ns > 0:
            self._at_ns = now_ns
            kept = math.exp(-passed_ns / NS_PER_SECOND / self._memory_seconds)
            self._value = self._value * kept + rng.gauss(0.0, math.sqrt(self._variance * (1.0 - kept * kept)))
        return self._value


class _Coin:
    """One asset's price in dollars."""

    def __init__(self, asset: str, now_ns: int) -> None:
        self._start = start_price(asset)
        stable = asset in STABLE_ASSETS
        self._beta = 0.0 if stable else 1.0
        volatility = STABLE_VOLATILITY if stable else VOLATILITY * math.sqrt(1.0 - COMMON_SHARE)
        self._own = _Walk(volatility, STABLE_MEMORY_SECONDS if stable else MEMORY_SECONDS, now_ns)
        spread_draw = random.Random(f"spread {asset}").random()
        self.half_spread = HALF_SPREAD_MIN + spread_draw * (HALF_SPREAD_MAX - HALF_SPREAD_MIN)

    def price(self, common: float, now_ns: int, rng: random.Random) -> float:
        return self._start * math.exp(self._beta * common + self._own.step(now_ns, rng))


def start_price(asset: str) -> float:
    """Dollars at the start, above zero for every name."""
    known = START_PRICES.get(asset)
    if known is not None:
        return known
    return round(math.pow(10.0, random.Random(f"price {asset}").uniform(-1.0, 2.0)), 3)


def decimals_of(asset: str) -> int:
    """Decimals that give a price of this asset at least SIGNIFICANT_DIGITS digits."""
    return max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(start_price(asset))))
