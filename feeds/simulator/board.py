"""One exchange's markets: what it streams, what it answers, with the active faults applied.

Rules: pure; time is an argument. The stream and the REST answers show the same market: a fault of prices or times
hits both, `freeze` and `slow` only the stream, `rest_freeze` only the answers.
"""

from collections import deque
from collections.abc import Sequence

from feeds.simulator.faults import Fault, FaultTable, distort
from feeds.simulator.market import Instant, MarketRow, SimulatedMarket, SimulatedQuote

# Quotes that one slow market may owe: an hour at 10 quotes a second loses 18 % = 6,480.
BACKLOG_MAX = 10_000


class ExchangeBoard:
    """The rows of one exchange by symbol, in the order of the catalog.

    `rows` are those that quote all the time; `further` markets are listed beyond them and quote when they are asked
    for, until somebody subscribes one.
    """

    def __init__(
        self, exchange: str, market: SimulatedMarket, faults: FaultTable, further: Sequence[MarketRow] = ()
    ) -> None:
        self.exchange = exchange
        self.rows = {row.symbol: row for row in market.rows if row.exchange == exchange}
        self.further = {row.symbol: row for row in further if row.exchange == exchange}
        self._market = market
        self._faults = faults
        self._owed: dict[int, _Backlog] = {}
        self._held: dict[int, dict[int, SimulatedQuote]] = {}

    def find(self, symbol: str) -> MarketRow | None:
        """A market by the exchange's own name of it."""
        return self.rows.get(symbol) or self.further.get(symbol)

    def listed(self) -> list[MarketRow]:
        """Every market that the exchange's list has."""
        return [*self.rows.values(), *self.further.values()]

    def subscribe(self, symbol: str) -> MarketRow | None:
        """A market that somebody wants to be told of from now on: it quotes all the time."""
        further = self.further.pop(symbol, None)
        if further is not None:
            self.rows[symbol] = further
            self._market.join(further)
        return self.rows.get(symbol)

    def on_quote(self, quote: SimulatedQuote, now: Instant) -> SimulatedQuote | None:
        """What the stream carries at the moment at which the market made `quote`: itself, an older one or nothing."""
        faults = self._faults.on(self.exchange, quote.row.asset, now.monotonic_ns)
        slow = next((fault for fault in faults if fault.fault == "slow"), None)
        if slow is None:
            if self._owed:
                self._owed.pop(quote.row.position, None)
            streamed: SimulatedQuote | None = quote
        else:
            backlog = self._owed.setdefault(quote.row.position, _Backlog())
            streamed = backlog.pass_through(quote, slow.value or 1.0)
        if streamed is None or any(fault.fault == "freeze" for fault in faults):
            return None
        return distort(streamed, faults)

    def streamed(self, symbol: str, now: Instant) -> SimulatedQuote | None:
        """The newest quote for a socket that just subscribed; None while the stream is frozen."""
        row = self.rows[symbol]
        faults = self._faults.on(self.exchange, row.asset, now.monotonic_ns)
        if any(fault.fault == "freeze" for fault in faults):
            return None
        return distort(self._market.latest.get(row.position) or self._market.quote_now(row, now), faults)

    def answered(self, row: MarketRow, now: Instant) -> SimulatedQuote:
        """The newest quote for a REST answer."""
        faults = self._faults.on(self.exchange, row.asset, now.monotonic_ns)
        frozen = next((fault for fault in faults if fault.fault == "rest_freeze"), None)
        held = self._held.get(frozen.id, {}).get(row.position) if frozen is not None else None
        if held is None:
            held = self._market.quote_now(row, now) if row.symbol in self.further else self._market.latest[row.position]
        return distort(held, faults)

    def answered_all(self, now: Instant) -> Sequence[SimulatedQuote]:
        return [self.answered(row, now) for row in self.listed()]

    def hold(self, fault: Fault, now: Instant) -> None:
        """Remember the market as it is now, for as long as this rest_freeze lasts."""
        alive = {active.id for active in self._faults.active(now.monotonic_ns)}
        self._held = {fault_id: held for fault_id, held in self._held.items() if fault_id in alive}
        self._held[fault.id] = dict(self._market.latest)


class _Backlog:
    """A queue that lets `share` of the quotes out for each one that comes in, so that they get older and older."""

    def __init__(self) -> None:
        self._quotes: deque[SimulatedQuote] = deque(maxlen=BACKLOG_MAX)
        self._credit = 0.0

    def pass_through(self, quote: SimulatedQuote, share: float) -> SimulatedQuote | None:
        self._quotes.append(quote)
        self._credit += share
        if self._credit < 1.0:
            return None
        self._credit -= 1.0
        return self._quotes.popleft()
