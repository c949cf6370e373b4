"""What a usage record says in small numbers, and what the numbers mean: protocols, codes, sources, latency buckets.

Rules: numbers are stored for 93 days, so the tuples only grow at their end. A code is the text that the client got
(`unknown_asset`), "ok" for an answer without an error.
"""

from trinity.observe.metrics import EXCHANGES

PROTOCOLS = ("http", "udp_text", "udp_json", "udp_binary")
HTTP, UDP_TEXT, UDP_JSON, UDP_BINARY = range(len(PROTOCOLS))

# Where a price came from. A list of prices has the source that was asked for.
SOURCES = ("none", "consensus", *EXCHANGES)
SOURCE_NONE, SOURCE_CONSENSUS = 0, 1

CODES = (
    "ok",
    # prices
    "stale_price",
    "too_few_sources",
    "sources_disagree",
    "unknown_market",
    "price_too_old",
    "confidence_too_wide",
    "unknown_asset",
    # requests
    "bad_request",
    "body_not_accepted",
    "target_too_long",
    "head_too_large",
    "unknown_path",
    "method_not_allowed",
    "missing_asset",
    "bad_parameter",
    "unknown_exchange",
    "request_timeout",
    "too_many_connections",
    "pad_request",
    # access
    "missing_key",
    "invalid_key",
    "key_revoked",
    "key_suspended",
    "address_blocked",
    "rate_limited",
    "quota_exceeded",
    "keys_unavailable",
    "bad_version",
)
CODE_OK = 0

# Upper bounds of the latency histogram in nanoseconds; one bucket more has no bound. An answer takes microseconds,
# the tail shows a worker that was not scheduled.
LATENCY_BOUNDS_NS = (
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    100_000_000,
)
LATENCY_BUCKETS = len(LATENCY_BOUNDS_NS) + 1

# The key of a caller without one.
ANONYMOUS_KEY_ID = 0
