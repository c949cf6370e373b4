"""The dictionary of the domain: what exchanges, reasons, outcomes, key states and sources are called, each said once.

    exchanges and frames   EXCHANGES, REFUSAL_REASONS, RECONNECT_REASONS, FAILURE_KINDS
    consensus              REJECT_REASONS
    answers                OUTCOMES: code -> HTTP status -> text, and the sharper texts of a code by cause
    usage records          CODES, PROTOCOLS, SOURCES, LATENCY_BOUNDS_NS: numbers that are stored
    deliveries             DELIVERY_OUTCOMES, DELIVERY_REASONS: the same
    scheduled jobs         OPERATOR_JOBS
    keys                   KeyState, KEY_START

Rules: words and numbers alone, no behaviour: metrics count by these words, they are not declared there. What is stored
as a number (CODES, PROTOCOLS, SOURCES, LATENCY_BOUNDS_NS for 93 days and more; KeyState in shared memory) keeps its
number: those only grow at their end. A code is the text that the client got, and never changes; sentences may.
"""

import enum
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

from trinity.limits import HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX

# --- exchanges and their frames -------------------------------------------------------------------------------

EXCHANGES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")

# Why a frame, or a part of it, was refused. The first five mean that the payload has not the documented shape.
REFUSAL_REASONS = (
    "not_json",
    "unknown_shape",
    "missing_field",
    "bad_number",
    "bad_time",
    "nonpositive_price",
    "unknown_symbol",
    "bad_sequence",
    "exchange_error",
    "too_large",
    "last_off_book",  # the last price alone: the book beside it stays
    "bad_acknowledgement",  # a subscription that failed, or an answer to it that was not understood
)
SHAPE_REASONS = REFUSAL_REASONS[:5]

# Why a WebSocket connection was given up.
RECONNECT_REASONS = ("refused", "closed", "silent", "stale", "frozen", "sequence", "planned", "error")

# What became of a name that no catalog has (feeds/resolver/flights.py): it was decided meanwhile, by what another node
# had heard, by the exchanges, or refused for a reason, or as unknown; or nobody could be asked: none had its turn, the
# budget of all misses was used, no row was free, or our own fault.
MISS_OUTCOMES = ("known", "cache", "rest", "refused", "unknown", "busy", "budget", "full", "failed")

# Why a connection to an exchange, or a REST question, brought nothing (trinity/net/egress.py).
EXCHANGE_WAYS = ("ws", "rest")
FAILURE_KINDS = (
    "unresolved",
    "unreachable",
    "timeout",
    "tls",
    "proxy",
    "redirect",
    "status",
    "not_http",
    "closed",
    "other",
)

# --- consensus ------------------------------------------------------------------------------------------------

# Why the consensus left a source out; with `last_off_book` its last price alone. The answer table holds their numbers.
REJECT_REASONS = (
    "no_quote",
    "nonpositive_price",
    "crossed_book",
    "wide_spread",
    "stale",
    "stale_exchange_time",
    "future_exchange_time",
    "frozen",
    "no_index",
    "outlier",
    "held_out",
    "one_sided_book",
    "last_off_book",
)

# --- answers --------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What an answer was: its code, its HTTP status, and what it says; `causes` are sharper texts, by what was wrong.

    The causes `udp...` are what a datagram says instead: it has no headers and no paths.
    """

    code: str
    status: int
    text: str = ""
    causes: Mapping[str, str] = MappingProxyType({})


_BAD_REQUEST = {
    "request_line": "malformed request line",
    "version": "only HTTP/1.0 and HTTP/1.1 are spoken here",
    "header": "malformed header",
    "host": "exactly one valid Host header is needed",
    "length": "malformed or repeated Content-Length",
    "transfer_encoding": "Transfer-Encoding is not accepted",
    "expect": "Expect is not accepted",
    "target": "malformed target",
    "udp_text": "text is BTC or BTC,ETH with 1 to 64 names",
    "udp_json": "JSON is one flat object of plain strings, numbers and lists",
}
_BAD_PARAMETER = {
    "assets": "assets must be names with commas between them",
    "key_repeated": "give the API key once: as X-API-Key, as Authorization: Bearer or as api_key",
}

# Short: a datagram that asks so is small, and its reply is no longer.
_UNKNOWN_EXCHANGE = {"udp": "no such exchange"}

# In the order of their numbers in usage records.
OUTCOMES = (
    Outcome("ok", 200),
    # prices
    Outcome("stale_price", 503, "no fresh price"),
    Outcome(
        "too_few_sources",
        503,
        "too few exchanges have a good price",
        {"min_sources": "fewer sources than min_sources"},
    ),
    Outcome("sources_disagree", 503, "the exchanges' prices disagree and none has a majority"),
    Outcome("unknown_market", 404, "this exchange does not list the asset"),
    Outcome("price_too_old", 503, "the price is older than max_age_ms"),
    Outcome("confidence_too_wide", 503, "the confidence interval is wider than max_conf_bps"),
    Outcome("unknown_asset", 404, "no such asset; GET /assets lists them"),
    # requests
    Outcome("bad_request", 400, "malformed request", _BAD_REQUEST),
    Outcome("body_not_accepted", 413, "no request here has a body"),
    Outcome("target_too_long", 414, f"the request line is longer than {REQUEST_LINE_BYTES_MAX} bytes"),
    Outcome("head_too_large", 431, f"the headers are longer than {HEAD_BYTES_MAX} bytes or more than {HEADERS_MAX}"),
    Outcome("unknown_path", 404, "there are /price, /prices, /assets and /health"),
    Outcome("method_not_allowed", 405, "GET, HEAD and OPTIONS are served"),
    Outcome("missing_asset", 400, "say which asset, as in /price?asset=BTC", {"udp": "say which asset"}),
    Outcome("bad_parameter", 400, "unknown, repeated or malformed parameter", _BAD_PARAMETER),
    Outcome("unknown_exchange", 404, f"no such exchange: it is one of {', '.join(EXCHANGES)}", _UNKNOWN_EXCHANGE),
    Outcome("request_timeout", 408, "the request did not arrive in time"),
    Outcome("too_many_connections", 503, "this worker has no free connection"),
    Outcome("pad_request", 400, "the reply is longer than the request"),
    # access
    Outcome(
        "missing_key",
        401,
        "an API key is needed: as X-API-Key, as Authorization: Bearer or as api_key",
        {
            "udp": "an API key is needed: key= in text, api_key in JSON",
            "usage": "usage belongs to a key: send one",
        },
    ),
    Outcome(
        "invalid_key", 401, "there is no such API key", {"sign_in": "this is neither the admin key nor an API key"}
    ),
    Outcome("key_revoked", 403, "this API key was revoked"),
    Outcome("key_suspended", 403, "this API key is suspended"),
    Outcome("address_blocked", 403, "this address is blocked"),
    Outcome("rate_limited", 429, "too many requests a second"),
    Outcome("quota_exceeded", 429, "this month has fewer lookups left than were asked for"),
    Outcome("keys_unavailable", 503, "the API keys are not loaded yet"),
    Outcome("bad_version", 400, "this version of the frame is not spoken here"),
    # assets beyond the catalog
    Outcome("asset_resolving", 503, "the asset is being looked for on the exchanges: ask again"),
    Outcome("miss_budget_exceeded", 429, "too many new assets a second: ask again later"),
    # the governor
    Outcome("overloaded", 503, "this node has more requests than it can answer in time: ask again, not at once"),
)
CODES = tuple(outcome.code for outcome in OUTCOMES)
CODE_OK = 0

# Why a caller was turned away: what the gate may say, in its order; compiled code counts by the distance.
ACCESS_REFUSALS = CODES[CODES.index("missing_key") : CODES.index("keys_unavailable") + 1]
LIMIT_REFUSALS = ("rate_limited", "quota_exceeded")


# Plans are of one of these classes: over a worker's limit the first gives way first, down to its share.
ADMISSION_CLASSES = ("0", "1", "2", "3")

# Which field of a request is at fault, by code and cause; a parameter that nobody knows is named where it is found.
_FIELDS = {
    ("unknown_market", ""): "exchange",
    ("price_too_old", ""): "max_age_ms",
    ("too_few_sources", "min_sources"): "min_sources",
    ("confidence_too_wide", ""): "max_conf_bps",
    ("unknown_asset", ""): "asset",
    ("asset_resolving", ""): "asset",
    ("miss_budget_exceeded", ""): "asset",
    ("missing_asset", ""): "asset",
    ("missing_asset", "udp"): "asset",
    ("bad_parameter", "assets"): "assets",
    ("bad_parameter", "key_repeated"): "api_key",
    ("unknown_exchange", ""): "exchange",
    ("unknown_exchange", "udp"): "exchange",
}


class Problem(NamedTuple):
    """Why a request is refused, as it is said to the client; `field` is empty where no field is at fault."""

    status: int
    code: str
    text: str
    field: str = ""

    @property
    def members(self) -> str:
        """What stands inside of `"error":{...}`; none of it needs an escape."""
        return f'"code":"{self.code}","message":"{self.text}"' + (f',"field":"{self.field}"' if self.field else "")


def problem_for(code: str, cause: str = "") -> Problem:
    """The refusal of this code, in the words of the cause; KeyError for one that is not in the table."""
    outcome = _BY_CODE[code]
    text = outcome.causes[cause] if cause else outcome.text
    return Problem(outcome.status, code, text, _FIELDS.get((code, cause), ""))


_BY_CODE = {outcome.code: outcome for outcome in OUTCOMES}

# What the request workers answer with: statuses are counted by these words.
HTTP_STATUSES = ("200", "204", "400", "401", "403", "404", "405", "408", "413", "414", "429", "431", "503")
UDP_RESULTS = ("answered", "error", "dropped")
# What became of a name that was looked up: a row of the catalog, a spare row at once, asked for, refused at once.
ASSET_RESULTS = ("catalog", "table", "miss", "refused")

# RFC 9110 renamed three, which older versions of Python do not know.
_RENAMED = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


def status_reason(status: int) -> str:
    """The words beside an HTTP status; ValueError for one that does not exist."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase


# --- usage records --------------------------------------------------------------------------------------------

# `reports`: HTTP and WebSocket on the port of the reporting service.
PROTOCOLS = ("http", "udp_text", "udp_json", "udp_binary", "reports")
HTTP, UDP_TEXT, UDP_JSON, UDP_BINARY, REPORTS = range(len(PROTOCOLS))

# Where a price came from. A list of prices has the source that was asked for.
SOURCES = ("none", "consensus", *EXCHANGES)
SOURCE_NONE, SOURCE_CONSENSUS = 0, 1

# Upper bounds of the latency histogram in nanoseconds, in the ledger and in /metrics; one bucket more has no bound. An
# answer takes microseconds, the tail shows a worker that was not scheduled.
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

# --- deliveries -----------------------------------------------------------------------------------------------

# What became of a message of the push server. `sent` and `send_failed` are datagrams, which nobody confirms; all others
# are of HTTPS. Stored for as long as deliveries are kept.
DELIVERY_OUTCOMES = (
    "delivered",
    "refused_status",
    "redirect",
    "timeout",
    "connect",
    "tls",
    "reset",
    "protocol",
    "resolve",
    "refused_address",
    "busy",
    "gone",
    "sent",
    "send_failed",
)
# What becomes of an event on its way to an endpoint; `waiting`: it is tried again.
EVENT_STATES = ("waiting", "delivered", "failed", "aborted")

# Why a message was made; stored as well, and a datagram says it by number.
DELIVERY_REASONS = ("interval", "deviation", "heartbeat", "recovery", "test", "replay")

# Upper bounds of how late messages are begun, in nanoseconds, in /metrics; one bucket more has no bound. Later than a
# second is none (workers/push/schedule.py).
LATENESS_BOUNDS_NS = (
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
)

# --- the operator process -------------------------------------------------------------------------------------

# What a backup is made of (workers/backup/), by what can fail: the database's session, the place, then each part.
BACKUP_STEPS = ("database", "target", "log", "base", "bundle", "retention", "drill")
# Of drills: what the restored database turned out to be.
DRILL_OUTCOMES = ("good", "different", "failed")

# What it does now and then, by what its metrics and its log call it; workers/operator/jobs.py has the periods.
OPERATOR_JOBS = (
    "partitions", "retention", "batches", "daily_figures", "candles", "quota_warnings", "quota_mails",
    "event_mails", "node_alarms", "push_leavings", "database_load",
)  # fmt: skip

# --- keys -----------------------------------------------------------------------------------------------------

# The key of a caller without one.
ANONYMOUS_KEY_ID = 0

# What every API key begins with, and how much of it people recognise it by: long enough to tell keys apart, no secret.
KEY_START = "trk_"
KEY_PREFIX_CHARS = 12

# What the secret of a login of people begins with, and what such a login may be for.
LOGIN_START = "trl_"
LOGIN_ROLES = ("billing", "operator")


class KeyState(enum.IntEnum):
    """Whether a key is good; EMPTY: no key has this id. The database has the words, shared memory the numbers."""

    EMPTY = 0
    ACTIVE = 1
    SUSPENDED = 2
    REVOKED = 3

    @property
    def word(self) -> str:
        """As the database and the operator's tools call it."""
        return self.name.lower()
