"""The same quotes decided twice: by the compiled integers, into real tables, and by the decimal rules."""

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import strategies as st

from feeds.consensus.decimals.inputs import exchange_names, gather, listings_of
from feeds.consensus.decimals.render import Labels, LastGood, Rendered, render_consensus, render_nothing, render_venue
from feeds.consensus.decimals.rules import ConsensusState, evaluate, refusal_of
from feeds.consensus.decimals.stablecoins import required_of
from feeds.consensus.decimals.venue import phase_at
from feeds.consensus.exact import review_exactly
from feeds.consensus.integers.arrays import make_arrays, set_indexes
from feeds.consensus.integers.cycle import live_faulty, take_turn
from feeds.consensus.state import MarketState
from tests.feeds.consensus.cases import EXCHANGES, RULES, USDT_VENUES
from tests.support.clocks import NOW_NS, WALL_NS
from trinity.clock import NS_PER_MS
from trinity.markets import Asset, Catalog, Market
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED, AnswerState, AnswerTable
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import PriceTable, RowState, Side, StoredQuote, Via
from trinity.vocabulary import REJECT_REASONS

# What one coin of each asset costs, and how many digits exchanges give.
ASSETS = {"BTC": (Decimal("71000.25"), 2), "PEPE": (Decimal("0.0000123"), 10), "USDT": (Decimal(1), 5)}


def catalog_of() -> Catalog:
    """Three assets on six exchanges, two of which quote in USDT; the coin on the other four."""
    markets = [
        Market(name, asset, "USDT" if name in USDT_VENUES else "USD")
        for asset in ASSETS
        for name in EXCHANGES
        if asset != "USDT" or name not in USDT_VENUES
    ]
    return Catalog(EXCHANGES, tuple(Asset(name, RULES) for name in ASSETS), tuple(markets))


class BothWays:
    """Tables, the compiled consensus over them, and the decimal one beside it."""

    def __init__(self, memory: NodeMemory, *, simulated: bool = False) -> None:
        self.catalog = memory.card.catalog
        self.prices: PriceTable = memory.prices
        self.answers: AnswerTable = memory.answers
        self.simulated = simulated
        self.arrays = make_arrays(self.prices, self.answers, self.catalog, simulated)
        self.market = MarketState(self.arrays, self.answers, self.catalog)
        self.now_ns = NOW_NS
        self.exact = 0
        self.good = 0
        self._carried = [ConsensusState()] * len(self.catalog.assets)
        self._last: dict[tuple[int, int | None], LastGood | None] = {}

    def turn(self, indexes: Mapping[str, Decimal]) -> None:
        """One turn at `now_ns`; every answer, verdict and memory of both ways must be the same."""
        set_indexes(self.arrays.state, indexes)
        take_turn(*self.arrays, self.now_ns, self.now_ns - NOW_NS + WALL_NS)
        self.now_ns = int(self.arrays.state["decided_at_ns"])
        faulty = int(live_faulty(self.arrays.state, self.now_ns))
        for asset in self.market.exact():
            review_exactly(self.market, asset, indexes, faulty, self.now_ns, simulated=self.simulated)
            self.exact += 1
        for asset in self.market.reviewed():
            self._compare(asset, indexes, faulty)

    def _compare(self, asset: int, indexes: Mapping[str, Decimal], faulty: int) -> None:
        name, listings = self.catalog.assets[asset].name, listings_of(self.catalog, asset)
        rows = [gather(self.prices, asset, listing, RULES) for listing in listings]
        required = required_of(name, RULES.min_sources, faulty)
        sources = [row.source for row in rows]
        decision, carried = evaluate(sources, RULES, indexes, self._carried[asset], self.now_ns, faulty, required)
        self._carried[asset] = carried
        names, last = exchange_names(self.catalog, self.simulated), self._last.get((asset, None))
        self._same(asset, None, render_consensus(name, decision, names, decision.asked.required, last))
        assert self.market.carried(asset) == carried
        outcome = self.market.outcome(asset)
        assert outcome[:4] == (decision.state, decision.price, decision.confidence, decision.used)
        assert (outcome.rejected, outcome.valid_until_ns) == (decision.rejected, decision.valid_until_ns)
        self.good += decision.state is AnswerState.GOOD
        for listing, row in zip(listings, rows, strict=True):
            reason = decision.rejected.get(listing.exchange)
            verdict = VERDICT_USED if reason is None else VERDICT_REJECTED + REJECT_REASONS.index(reason)
            assert self.answers.read_verdict(listing.exchange, asset) == verdict
            last = self._last.get((asset, listing.exchange))
            if row.quote is None or row.source.venue is None:
                rendered = render_nothing(AnswerState.EMPTY, last)
            else:
                state = AnswerState.STALE if refusal_of(row.source, self.now_ns) else AnswerState.GOOD
                labels = Labels(name, EXCHANGES[listing.exchange], listing.currency, self.simulated)
                venue = phase_at(row.source.venue, self.now_ns)
                rendered = render_venue(labels, row.quote.via, venue, state, last)
            self._same(asset, listing.exchange, rendered)

    def _same(self, asset: int, exchange: int | None, rendered: Rendered) -> None:
        """Every byte of an answer."""
        self._last[asset, exchange] = rendered.last
        found = self.answers.read(self.answers.row_of(asset, exchange))
        assert found is not None
        if found.tobytes() != rendered.record.tobytes():
            fields = found.dtype.names or ()
            pairs = {name: (found[name][0], rendered.record[name][0]) for name in fields}
            assert {n: a for n, (a, b) in pairs.items() if a.tobytes() != b.tobytes()} == {}, "another answer"
            raise AssertionError("another answer in what no field has")


# Mostly near to each other, now and then an outlier, a jump, or nonsense.
_factors = st.one_of(
    st.integers(-8, 8).map(lambda steps: 1 + Decimal(steps) / 100_000),
    st.integers(-2_000, 2_000).map(lambda steps: 1 + Decimal(steps) / 100_000),
    st.sampled_from([Decimal(text) for text in ("0.5", "1.12", "10", "0.000001")]),
)
_ages_ms = st.one_of(st.just(0), st.integers(0, 12_000))
_behind_ms = st.one_of(st.none(), st.integers(-7_000, 7_000))


@st.composite
def sides(draw: st.DrawFn, price: Decimal, now_ns: int) -> Side:
    """A price with times around the limits."""
    received_at_ns = now_ns - draw(_ages_ms) * NS_PER_MS
    wall_ns, behind_ms = received_at_ns - NOW_NS + WALL_NS, draw(_behind_ms)
    return Side(price, None if behind_ms is None else wall_ns - behind_ms * NS_PER_MS, received_at_ns, wall_ns)


@st.composite
def quotes(draw: st.DrawFn, asset: str, now_ns: int) -> StoredQuote:
    """A quote as an exchange may send it, good or bad."""
    base, digits = ASSETS[asset]
    places = draw(st.one_of(st.just(digits), st.integers(0, 12)))
    tick = Decimal(1).scaleb(-places)
    bid = (base * draw(_factors)).quantize(tick)
    ask = bid + tick * draw(st.sampled_from([0, 1, 1, 2, 50, -1]))
    last = (bid * (1 + Decimal(draw(st.integers(-60, 60))) / 100_000)).quantize(tick)
    there = draw(st.sampled_from(["bal", "bal", "ba", "l", "bl", "a", "al", ""]))
    made = [
        draw(sides(price, now_ns)) if name in there else None for name, price in (("b", bid), ("a", ask), ("l", last))
    ]
    return StoredQuote(*made, draw(st.sampled_from([Via.WS, Via.REST])))


def index_sets() -> st.SearchStrategy[dict[str, Decimal]]:
    """What the coins are worth; now and then nobody knows."""
    worth = st.integers(-(10**10), 10**10).map(lambda steps: 1 + Decimal(steps).scaleb(-12))
    return st.one_of(st.just({}), worth.map(lambda usd: {"USDT": usd}))


row_states = st.sampled_from([RowState.LIVE] * 9 + [RowState.FROZEN])
