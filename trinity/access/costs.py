"""What a call costs its caller's month: the one table, which the services obey and the documents show.

    PRICES               each price that is given is one
    STREAM, SUBSCRIBE    each asset is one when it is asked for; what then comes is free
    ANSWER               the answer as a whole is one
    FREE                 nothing; the call has a rate of its own (FREE_RATE), and is answered when the month is spent

Rules: a path that is not in the table costs an ANSWER, so nothing is given away by being forgotten. A row stands for
its path and all below it; the longest one counts. A version before the path changes nothing. Whatever the dashboard
asks for somebody who is signed in is FREE. What is refused costs nothing; what the caller got wrong (400, 404) costs
nothing up to MISTAKES_PER_MINUTE a minute, and then as much as a price.
"""

import re
from enum import Enum
from typing import NamedTuple

from trinity.limits import MISTAKES_PER_MINUTE

_VERSION = re.compile(r"/v1(?=/)")


class Cost(Enum):
    """What a good answer costs; the value is how the documents say it."""

    PRICES = "one for each price that it gives"
    STREAM = "when it is opened, one for each asset; what then comes, heartbeats as well, is free"
    SUBSCRIBE = "opening it is free; a `subscribe` costs one for each asset that it adds"
    ANSWER = "one"
    FREE = "nothing, also when the month is spent"


class Row(NamedTuple):
    """A path and what it costs."""

    path: str
    cost: Cost


TABLE = (
    Row("/price", Cost.PRICES),
    Row("/prices", Cost.PRICES),
    Row("/assets", Cost.FREE),
    Row("/health", Cost.FREE),
    Row("/account", Cost.FREE),
    Row("/key", Cost.FREE),
    Row("/reports", Cost.FREE),
    Row("/docs", Cost.FREE),
    Row("/openapi.json", Cost.FREE),
    Row("/node", Cost.PRICES),
    Row("/node/asset", Cost.ANSWER),
    Row("/node/inside", Cost.FREE),
    Row("/cluster", Cost.FREE),
    Row("/administration", Cost.FREE),
    Row("/subscriptions", Cost.FREE),
    Row("/events", Cost.FREE),
    Row("/endpoints", Cost.FREE),
    Row("/node/day", Cost.ANSWER),
    Row("/stream/prices", Cost.STREAM),
    Row("/stream/rows", Cost.STREAM),
    Row("/ws", Cost.SUBSCRIBE),
    Row("/history", Cost.ANSWER),
    Row("/twap", Cost.ANSWER),
    Row("/price_at", Cost.ANSWER),
    Row("/explain", Cost.ANSWER),
    Row("/api/v3/ping", Cost.FREE),
    Row("/api/v3/key", Cost.FREE),
    Row("/api/v3/simple", Cost.PRICES),
    Row("/api/v3/simple/supported_vs_currencies", Cost.FREE),
    Row("/api/v3/coins/markets", Cost.PRICES),
    Row("/api/v3/coins/list", Cost.FREE),
    Row("/api/v3/coins/categories", Cost.FREE),
    Row("/api/v3/exchange_rates", Cost.PRICES),
    Row("/api/v3/exchanges", Cost.FREE),
    Row("/api/v3/asset_platforms", Cost.FREE),
    Row("/api/v3/search", Cost.FREE),
    Row("/api/v3/global", Cost.FREE),
    Row("/v2/price_feeds", Cost.FREE),
    Row("/v2/updates", Cost.PRICES),
    Row("/v2/updates/price/stream", Cost.STREAM),
    Row("/udf/config", Cost.FREE),
    Row("/udf/time", Cost.FREE),
    Row("/udf/symbols", Cost.FREE),
    Row("/udf/symbol_info", Cost.FREE),
    Row("/udf/search", Cost.FREE),
    Row("/udf/quotes", Cost.PRICES),
)
MISTAKES = (
    f"A caller's mistakes (400, 404) cost nothing, {MISTAKES_PER_MINUTE} of them a minute; further ones one each."
)

_COSTS = {row.path: row.cost for row in TABLE}


def cost_of(path: str) -> Cost:
    """What the call of this path, or route's template, costs."""
    path = _VERSION.sub("", path, count=1) if path.startswith("/v1/") else path
    while path:
        if path in _COSTS:
            return _COSTS[path]
        path = path.rpartition("/")[0]
    return Cost.ANSWER
