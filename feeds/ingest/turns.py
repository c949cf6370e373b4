"""Whose turn it is to ask an exchange over REST: its published gap lies between any two questions of the node.

The feed of an exchange and the resolver ask the same service, each for its own assets; they share the next free moment
in the price table, and whoever takes it moves it on. Time is an argument.
"""

from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import PriceTable


class RestTurns:
    """The turns of one exchange."""

    def __init__(self, prices: PriceTable, exchange: int, gap_seconds: float) -> None:
        self._prices = prices
        self._exchange = exchange
        self.gap_ns = int(gap_seconds * NS_PER_SECOND)

    def wait_ns(self, now_ns: int) -> int:
        """How long it would be until a turn that is taken now."""
        return self._prices.rest_wait_ns(self._exchange, now_ns)

    def take(self, now_ns: int) -> int:
        """Take the next turn; returns how long it is until then."""
        return self._prices.take_rest_turn(self._exchange, self.gap_ns, now_ns)
