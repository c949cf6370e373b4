"""Request rate limits as the exchanges publish them: token buckets by caller.

Rules: pure; time is an argument. A bucket holds `amount` tokens and fills up again evenly in `seconds`.
"""

from collections.abc import Hashable
from typing import NamedTuple

from feeds.simulator.market import NS_PER_SECOND

# On loopback there is one caller; a flood of addresses is not worth remembering.
CALLERS_MAX = 4_096


class Limit(NamedTuple):
    """At most `amount` requests in `seconds`, counted over all that share the limit's name."""

    name: str
    amount: int
    seconds: float


class Buckets:
    """The token buckets of all callers."""

    def __init__(self) -> None:
        self._tokens: dict[Hashable, tuple[float, int]] = {}

    def take(self, caller: Hashable, limit: Limit, now_ns: int) -> int | None:
        """Take one token: how many whole ones are left, or None when there is none to take."""
        key = (caller, limit.name)
        tokens, filled_at_ns = self._tokens.get(key, (float(limit.amount), now_ns))
        passed_seconds = (now_ns - filled_at_ns) / NS_PER_SECOND
        tokens = min(limit.amount, tokens + passed_seconds * limit.amount / limit.seconds)
        if len(self._tokens) >= CALLERS_MAX and key not in self._tokens:
            self._tokens.clear()
        if tokens < 1.0:
            self._tokens[key] = (tokens, now_ns)
            return None
        self._tokens[key] = (tokens - 1.0, now_ns)
        return int(tokens - 1.0)
