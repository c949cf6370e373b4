"""What the resolver counts. The only file here that knows metric names."""

from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import RESOLVER

_BAD_VALUES = RESOLVER.index("price_cache_refused_total")


class ResolverCounters:
    """Counts into the process's block."""

    def __init__(self, block: ProcessBlock) -> None:
        self._block = block

    def miss(self) -> None:
        """A process asked for a name."""
        self._block.count(RESOLVER.index("asset_misses_total"))

    def outcome(self, outcome: str) -> None:
        """A name is decided; one of vocabulary.MISS_OUTCOMES."""
        self._block.count(RESOLVER.index("asset_flights_total", outcome))

    def asked(self, exchange: str, result: str) -> None:
        """A question over REST."""
        self._block.count(RESOLVER.index("asset_rest_requests_total", exchange, result))

    def bad_cache_value(self) -> None:
        self._block.count(_BAD_VALUES)

    def rows(self, used: int, hot: int, on_sockets: int) -> None:
        self._block.set_gauge(RESOLVER.index("asset_rows"), used)
        self._block.set_gauge(RESOLVER.index("asset_rows_hot"), hot)
        self._block.set_gauge(RESOLVER.index("asset_rows_on_sockets"), on_sockets)

    def listing_age(self, exchange: str, seconds: float) -> None:
        self._block.set_gauge(RESOLVER.index("asset_listing_age_seconds", exchange), seconds)
