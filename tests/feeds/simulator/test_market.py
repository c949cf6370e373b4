"""The simulated market: reproducible, sane, and the same for all exchanges within a few basis points."""

import itertools
import statistics
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.simulator.market import (
    NS_PER_SECOND,
    START_PRICES,
    Instant,
    MarketRow,
    SimulatedMarket,
    SimulatedQuote,
    decimals_of,
    start_price,
)

START = Instant(5 * NS_PER_SECOND, 1_790_000_000 * NS_PER_SECOND)
STEP_NS = NS_PER_SECOND // 100


def _rows(assets: tuple[str, ...] = ("BTC", "ETH", "PEPE")) -> list[MarketRow]:
    exchanges = (("kraken", "USD"), ("gemini", "USD"), ("okx", "USDT"))
    pairs = itertools.product(exchanges, assets)
    return [
        MarketRow(number, name, asset, currency, f"{asset}-{currency}", decimals_of(asset))
        for number, ((name, currency), asset) in enumerate(pairs)
    ]


def _run(
    market: SimulatedMarket, seconds: float, start: Instant = START, step_ns: int = STEP_NS
) -> list[SimulatedQuote]:
    quotes: list[SimulatedQuote] = []
    for step in range(1, round(seconds * NS_PER_SECOND) // step_ns + 1):
        now = Instant(start.monotonic_ns + step * step_ns, start.wall_ns + step * step_ns)
        quotes.extend(market.advance(now))
    return quotes


def test_the_same_seed_gives_the_same_quotes_and_another_seed_others() -> None:
    """A run can be repeated bit for bit by its seed."""
    first, second, other = (_run(SimulatedMarket(_rows(), 300, Random(seed), START), 2.0) for seed in (4, 4, 5))
    assert first == second
    assert [quote.bid for quote in first] != [quote.bid for quote in other]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    asset=st.one_of(st.sampled_from(sorted(START_PRICES)), st.from_regex(r"[A-Z0-9]{1,16}", fullmatch=True)),
    hours=st.floats(0.001, 1000.0),
)
def test_prices_are_above_zero_and_the_book_is_never_crossed(seed: int, asset: str, hours: float) -> None:
    """For every asset name, seed and time: 0 < bid < ask, and the last price lies between them."""
    market = SimulatedMarket(_rows((asset,)), 50, Random(seed), START)
    quotes = list(market.latest.values())
    quotes += _run(market, hours * 3600.0, step_ns=round(hours * 3600.0 * NS_PER_SECOND / 4))
    for quote in quotes:
        assert 0.0 < quote.bid < quote.ask
        assert quote.bid <= quote.last <= quote.ask
        assert float(quote.row.text(quote.bid)) == quote.bid, "a price must survive its own text"
        assert "e" not in quote.row.text(quote.bid)


def test_the_rate_is_the_one_that_was_asked_for() -> None:
    """Over ten seconds, the number of quotes is the rate times the time, to one quote."""
    for rate in (1, 300, 5000):
        assert abs(len(_run(SimulatedMarket(_rows(), rate, Random(1), START), 10.0)) - rate * 10) <= 1


def test_no_market_is_left_waiting() -> None:
    """Every market quotes once in every round: none is more than one quote ahead of another."""
    counts = Counter(quote.row.position for quote in _run(SimulatedMarket(_rows(), 300, Random(3), START), 4.0))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_paused_process_does_not_send_what_it_missed() -> None:
    """After a pause of a minute only a quarter of a second's quotes come, not 18,000."""
    market = SimulatedMarket(_rows(), 300, Random(1), START)
    later = Instant(START.monotonic_ns + 60 * NS_PER_SECOND, START.wall_ns + 60 * NS_PER_SECOND)
    assert len(list(market.advance(later))) == 75


def test_a_clock_that_goes_back_makes_no_quote_and_no_error() -> None:
    """The market ignores an instant that lies before the last one."""
    market = SimulatedMarket(_rows(), 300, Random(1), START)
    assert list(market.advance(Instant(START.monotonic_ns - NS_PER_SECOND, START.wall_ns))) == []


def test_all_exchanges_agree_within_ten_basis_points_in_dollars() -> None:
    """Converted by the USDT price, the middles of all exchanges lie within 10 bp of their median."""
    rows = _rows(("BTC", "PEPE", "USDT"))
    market = SimulatedMarket(rows, 900, Random(11), START)
    _run(market, 20.0)
    usdt = statistics.median(
        (quote.bid + quote.ask) / 2
        for quote in market.latest.values()
        if (quote.row.asset, quote.row.currency) == ("USDT", "USD")
    )
    for asset in ("BTC", "PEPE"):
        middles = [
            (quote.bid + quote.ask) / 2 * (usdt if quote.row.currency == "USDT" else 1.0)
            for quote in market.latest.values()
            if quote.row.asset == asset
        ]
        middle = statistics.median(middles)
        assert max(abs(one / middle - 1.0) for one in middles) < 0.001


def test_coins_move_together_and_stablecoins_stay() -> None:
    """Minute returns of BTC and ETH are correlated; USDT stays within 20 bp of where it began."""
    rows = [
        MarketRow(number, "kraken", asset, "USD", asset, decimals_of(asset))
        for number, asset in enumerate(("BTC", "ETH", "USDT"))
    ]
    market = SimulatedMarket(rows, 100, Random(2), START)
    paths: dict[str, list[float]] = {"BTC": [], "ETH": [], "USDT": []}
    for minute in range(1, 400):
        now = Instant(START.monotonic_ns + minute * 60 * NS_PER_SECOND, START.wall_ns)
        list(market.advance(now))
        for position, asset in enumerate(paths):
            paths[asset].append(market.latest[position].bid)
    returns = {asset: [b / a - 1.0 for a, b in itertools.pairwise(path)] for asset, path in paths.items()}
    assert statistics.correlation(returns["BTC"], returns["ETH"]) > 0.4
    assert max(abs(price / start_price("USDT") - 1.0) for price in paths["USDT"]) < 0.002
    assert len(set(paths["BTC"])) > 390, "a price that does not move looks frozen"


def test_the_newest_quote_of_every_market_is_kept() -> None:
    """`latest` has a quote of every row from the start on, and the last one that was given out."""
    market = SimulatedMarket(_rows(), 300, Random(1), START)
    assert set(market.latest) == {row.position for row in market.rows}
    quotes = _run(market, 1.0)
    newest = {quote.row.position: quote for quote in quotes}
    assert market.latest == newest
