"""Every name in Valkey: its type, its life, what it is for and who writes it. Nobody makes a name elsewhere.

`<key>` is the SHA-256 of an API key in lower-case hex (`api_keys.digest` in PostgreSQL), never the key itself;
`<ASSET>` is in upper case; `<node>` is CLUSTER_NODE; `<uuid>` a UUID. A part in braces is a hash tag: on a Valkey
Cluster all names with the same tag are on one server, so that one script may change several of them. No other two names
are ever in one command or script.
"""

from typing import Literal

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
# As long as single requests are kept in PostgreSQL by default (LEDGER_DETAIL_DAYS).
USAGE_SECONDS = 93 * DAY_SECONDS
# A node's telemetry is written every second; a node that missed ten is away.
STATS_SECONDS = 10


class Pattern:
    """One row: `name` makes a name of the pattern's parts."""

    def __init__(
        self,
        pattern: str,
        kind: Literal["string", "hash", "zset"],
        life_seconds: int | None,
        life: str,
        purpose: str,
        written_by: str,
    ) -> None:
        self.pattern = pattern
        self.kind = kind
        self.life_seconds = life_seconds  # None: it has none, or whoever writes it says how long
        self.life = life
        self.purpose = purpose
        self.written_by = written_by
        pieces = pattern.replace(">", "<").split("<")
        self._fixed, self.parts = tuple(pieces[::2]), tuple(pieces[1::2])

    def name(self, *values: str) -> str:
        """The pattern with a value for each of its parts."""
        assert len(values) == len(self.parts), f"{self.pattern} takes {self.parts}"
        text = self._fixed[0]
        for value, fixed in zip(values, self._fixed[1:], strict=True):
            text += value + fixed
        return text


API_KEY = Pattern(
    "apikey:<key>", "string", DAY_SECONDS, "24 h",
    "an API key's public record, JSON", "the sync job; the cluster process when a key changes",
)  # fmt: skip
APP_CONFIG = Pattern(
    "app:config", "hash", None, "-",
    "the application's parameters", "the sync job",
)  # fmt: skip
RATE_LIMIT = Pattern(
    "ratelimit:<key>", "string", None, "its window",
    "a key's rate over all nodes: what is reserved, by whom", "the cluster process, by script",
)  # fmt: skip
USAGE_COUNTER = Pattern(
    "usage:counter:<key>", "string", None, "rolling: the running month",
    "what a key used of its month over all nodes", "the cluster process, by script",
)  # fmt: skip
USAGE_COUNTER_NODES = Pattern(
    "{usage:counter:<key>}:nodes", "hash", None, "rolling: the running month",
    "what each node counted of it, in the slot of its sum", "the cluster process, by script",
)  # fmt: skip
PRICE = Pattern(
    "price:<ASSET>", "string", None, "short",
    "what the exchanges said of an asset beyond the catalog, JSON", "the resolver",
)  # fmt: skip
USAGE_LOG = Pattern(
    "usage_log:<uuid>", "hash", USAGE_SECONDS, "93 days",
    "one entry of the usage log, whole", "the sync job",
)  # fmt: skip
USAGE_LOGS = Pattern(
    "usage_logs:index", "zset", USAGE_SECONDS, "93 days",
    "all entries by time", "the sync job",
)  # fmt: skip
USAGE_LOGS_OF_KEY = Pattern(
    "usage_logs:api_key:<key>", "zset", USAGE_SECONDS, "93 days",
    "a key's entries by time", "the sync job",
)  # fmt: skip
USAGE_LOGS_OF_ASSET = Pattern(
    "usage_logs:asset:<ASSET>", "zset", USAGE_SECONDS, "93 days",
    "an asset's entries by time", "the sync job",
)  # fmt: skip
REPORT_USAGE = Pattern(
    "report_usage:<id>", "hash", USAGE_SECONDS, "93 days",
    "one entry of the reporting service's log", "the sync job",
)  # fmt: skip
ADAPTIVE_SUCCESSES = Pattern(
    "{adaptive:lpo}:successes", "string", None, "-",
    "the governor's count of requests that were answered, over all nodes", "the cluster process",
)  # fmt: skip
ADAPTIVE_TOTAL = Pattern(
    "{adaptive:lpo}:total", "string", None, "-",
    "the governor's count of all requests, over all nodes", "the cluster process",
)  # fmt: skip
ADAPTIVE_THROTTLE = Pattern(
    "{adaptive:lpo}:throttle", "string", None, "-",
    "the governor's count of requests that were turned away, over all nodes", "the cluster process",
)  # fmt: skip
ADAPTIVE_LEASES = Pattern(
    "{adaptive:lpo}:leases", "hash", None, "-",
    "how many connections each node may have, and until when nobody else gets them", "the cluster process, by script",
)  # fmt: skip
CLUSTER_STATS = Pattern(
    "cluster:stats:<node>", "hash", STATS_SECONDS, "10 s",
    "a node's telemetry: 24 counters, and who it is", "the cluster process, every second",
)  # fmt: skip
CLUSTER_NODES = Pattern(
    "cluster:nodes", "zset", None, "-",
    "the nodes' names by the wall-clock milliseconds of their last beat", "the cluster process, every second",
)  # fmt: skip
CLUSTER_ANSWERING = Pattern(
    "cluster:answering", "zset", None, "-",
    "the same of the nodes that answer callers, among whom limits are shared", "the cluster process, every second",
)  # fmt: skip
SESSION = Pattern(
    "session:<session_id>", "string", DAY_SECONDS, "24 h",
    "checkout sessions that were done, written after the commit that did them", "the payment webhook",
)  # fmt: skip
WEBHOOK = Pattern(
    "webhook:<event_id>", "string", DAY_SECONDS, "24 h",
    "payment events that were done, written after the commit that did them", "the payment webhook",
)  # fmt: skip
DAILY = Pattern(
    "kcc:daily", "string", DAY_SECONDS, "24 h",
    "the newest day's figures, JSON", "the operator",
)  # fmt: skip
TRANSLATION = Pattern(
    "translate:<lang>:<hash>", "string", 30 * DAY_SECONDS, "30 days",
    "a text in another language", "the support assistant",
)  # fmt: skip
REPORT = Pattern(
    "report:<sha256>", "string", None, "seconds, as long as the report may be old",
    "a report's answer by the SHA-256 of its question", "the reporter",
)  # fmt: skip

SYNC_MARK = Pattern(
    "sync:mark", "hash", None, "-",
    "what Valkey holds of the ledger, and what not (trinity/sync/mark.py)", "the sync job",
)  # fmt: skip
SYNC_MARK_OF = Pattern(
    "sync:mark:{<tag>}", "string", None, "-",
    "of a Valkey Cluster: the mark's run, on each server", "the sync job",
)  # fmt: skip

PATTERNS = (
    API_KEY,
    APP_CONFIG,
    RATE_LIMIT,
    USAGE_COUNTER,
    USAGE_COUNTER_NODES,
    PRICE,
    USAGE_LOG,
    USAGE_LOGS,
    USAGE_LOGS_OF_KEY,
    USAGE_LOGS_OF_ASSET,
    REPORT_USAGE,
    ADAPTIVE_SUCCESSES,
    ADAPTIVE_TOTAL,
    ADAPTIVE_THROTTLE,
    ADAPTIVE_LEASES,
    CLUSTER_STATS,
    CLUSTER_NODES,
    CLUSTER_ANSWERING,
    SESSION,
    WEBHOOK,
    DAILY,
    TRANSLATION,
    REPORT,
    SYNC_MARK,
    SYNC_MARK_OF,
)
