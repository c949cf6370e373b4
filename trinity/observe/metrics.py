"""Every metric of the node, declared once: which process counts it, and in which word of its block.

Rules: names follow Prometheus (`_total` for counters, base units), and stand here without the prefix that all of them
get where they are exported (workers/health/exposition.py). No asset or exchange is part of a name: it is a label. A
process counts into its own block of the control segment through the index that `Register.index` gives; the health
process alone exports them. Label values are closed sets of trinity/vocabulary.py, so that every series has its word
before the first event.
"""

from trinity.clock import NS_PER_SECOND
from trinity.limits import QUOTA_WARNING_PERCENTS
from trinity.memory.answer_table import COINS
from trinity.observe.register import Metric, Register
from trinity.vocabulary import (
    ACCESS_REFUSALS,
    ADMISSION_CLASSES,
    ASSET_RESULTS,
    BACKUP_STEPS,
    DELIVERY_OUTCOMES,
    DRILL_OUTCOMES,
    EVENT_STATES,
    EXCHANGE_WAYS,
    EXCHANGES,
    FAILURE_KINDS,
    HTTP_STATUSES,
    LATENCY_BOUNDS_NS,
    LATENESS_BOUNDS_NS,
    LIMIT_REFUSALS,
    MISS_OUTCOMES,
    OPERATOR_JOBS,
    RECONNECT_REASONS,
    REFUSAL_REASONS,
    REJECT_REASONS,
    UDP_RESULTS,
)

# Of the request workers' durations, in seconds as Prometheus wants them; "+Inf" and "sum" follow.
DURATION_BOUNDS = tuple(str(bound / NS_PER_SECOND) for bound in LATENCY_BOUNDS_NS)
LATENESS_BOUNDS = tuple(str(bound / NS_PER_SECOND) for bound in LATENESS_BOUNDS_NS)


# Of every process that asks Valkey (cache_meter.py).
OF_CACHE = (
    Metric("cache_up", "gauge", "1 while Valkey answers this process; 0 before it was asked, and while it is away."),
    Metric("cache_full", "gauge", "1 while Valkey has no memory left for what this process writes."),
    Metric(
        "cache_errors_total", "counter", "Questions to Valkey that came to nothing, and refusals among its replies."
    ),
)

FEED = Register(
    Metric("frames_total", "counter", "Frames received from the exchange."),
    Metric("quotes_total", "counter", "Quotes written to the table.", (("via", ("ws", "rest")),)),
    Metric(
        "parse_errors_total",
        "counter",
        "Frames or parts of frames refused.",
        (("reason", REFUSAL_REASONS),),
    ),
    Metric(
        "ws_reconnects_total",
        "counter",
        "WebSocket connections given up.",
        (("reason", RECONNECT_REASONS),),
    ),
    Metric("ws_connected", "gauge", "1 while the WebSocket is connected."),
    Metric(
        "rest_requests_total",
        "counter",
        "REST requests by outcome.",
        (("result", ("ok", "rate_limited", "refused", "failed")),),
    ),
    Metric(
        "exchange_failures_total",
        "counter",
        "Connections and REST questions that brought no answer of the exchange's service, by what happened.",
        (("way", EXCHANGE_WAYS), ("kind", FAILURE_KINDS)),
    ),
    Metric("rest_active", "gauge", "1 while REST stands in for the WebSocket."),
    Metric("payload_shape_alarm", "gauge", "1 while frames arrive in a shape that the decoder does not know."),
    Metric("unknown_symbols", "gauge", "Configured symbols that the exchange does not know or acknowledge."),
    Metric("frozen_sources", "gauge", "Assets whose price stands still while the other exchanges move."),
    Metric("feed_recording", "gauge", "1 while raw frames are recorded, -1 when an error ended it."),
)

CONSENSUS = Register(
    Metric("price_updates_total", "counter", "Consensus prices published."),
    Metric(
        "price_rejected_total",
        "counter",
        "Sources left out of a consensus price; last_off_book: their last price alone.",
        (("exchange", EXCHANGES), ("reason", REJECT_REASONS)),
    ),
    Metric("sources_disagree_total", "counter", "Times that an asset lost its majority."),
    Metric("stablecoin_usd_index", "gauge", "Measured price in USD, 0 when there is none.", (("asset", COINS),)),
    Metric(
        "stablecoin_depeg",
        "gauge",
        "0 at par, 1 when more than 50 bps off for a minute, 2 when more than 200 bps off.",
        (("asset", COINS),),
    ),
    Metric("candles_overwritten_total", "counter", "Minutes lost because no database took them in time."),
    Metric("candles_failed", "gauge", "1 when candles cannot be written; prices are served all the same."),
    Metric("consensus_recording", "gauge", "1 while decisions are recorded, -1 when an error ended it."),
)

RESOLVER = Register(
    *OF_CACHE,
    Metric("asset_misses_total", "counter", "Names beyond the catalog and the table that a process asked for."),
    Metric("asset_flights_total", "counter", "What became of them.", (("outcome", MISS_OUTCOMES),)),
    Metric(
        "asset_rest_requests_total",
        "counter",
        "REST requests for assets beyond the catalog.",
        (("exchange", EXCHANGES), ("result", ("ok", "rate_limited", "refused", "failed"))),
    ),
    Metric("price_cache_refused_total", "counter", "Values under price:<ASSET> that were not as we write them."),
    Metric("asset_rows", "gauge", "Assets beyond the catalog that have a row."),
    Metric("asset_rows_hot", "gauge", "Of them those that are looked up often."),
    Metric("asset_rows_on_sockets", "gauge", "Of them those on the exchanges' live sockets."),
    Metric(
        "asset_listing_age_seconds",
        "gauge",
        "Age of each exchange's list of what it trades, -1 without one.",
        (("exchange", EXCHANGES),),
    ),
)

REQUEST = Register(
    Metric("http_responses_total", "counter", "HTTP answers by status.", (("status", HTTP_STATUSES),)),
    Metric("udp_datagrams_total", "counter", "Datagrams by result.", (("result", UDP_RESULTS),)),
    Metric("lookups_total", "counter", "Prices looked up, over all protocols."),
    Metric(
        "asset_lookups_total",
        "counter",
        "Names looked up by what they were: of the catalog, beyond it in the table, asked for, refused.",
        (("result", ASSET_RESULTS),),
    ),
    Metric("usage_refused_total", "counter", "Answers without a usage record, because the worker's ring was full."),
    Metric("http_connections", "gauge", "Open HTTP connections."),
    Metric("http_connections_total", "counter", "HTTP connections accepted."),
    Metric("http_connections_refused_total", "counter", "Connections turned away for want of room."),
    Metric("http_connections_refused_last_second", "gauge", "Of them, in the last second."),
    Metric("http_connections_displaced_total", "counter", "Idle connections that gave way to new ones."),
    Metric(
        "proxy_headers_refused_total",
        "counter",
        "Connections of trusted proxies that were closed for their PROXY header.",
    ),
    Metric("access_refusals_total", "counter", "Callers turned away.", (("code", ACCESS_REFUSALS),)),
    Metric(
        "limit_dry_run_total",
        "counter",
        "Requests over the limit of a plan that only counts them.",
        (("code", LIMIT_REFUSALS),),
    ),
    Metric("internal_errors_total", "counter", "Requests that cost their connection by an internal error."),
    Metric(
        "overload_refusals_total",
        "counter",
        "Requests refused unread, over the governor's limit, by the admission class of their connection.",
        (("class", ADMISSION_CLASSES),),
    ),
    Metric("overload_refusals_last_second", "gauge", "Of them, in the last second."),
    Metric("admission_limit", "gauge", "Connections with a request that the worker takes at once."),
    Metric("admission_in_flight", "gauge", "The most of them at one time in the last 100 ms."),
    Metric("admission_datagram_limit", "gauge", "Datagrams that may wait for the worker."),
    Metric(
        "queue_delay_seconds",
        "gauge",
        "How long half and 90 % of the requests waited in the last 100 ms at most, from readable to handled.",
        (("share", ("0.5", "0.9")),),
    ),
    Metric("admission_connections_limit", "gauge", "Connections that the node may have, out of the cluster's."),
    Metric(
        "http_request_duration_seconds",
        "histogram",
        "Time from when the worker saw the request to its connection's last answer of that turn.",
        (("le", (*DURATION_BOUNDS, "+Inf", "sum")),),
    ),
)


def _of_ledger(name: str, what: str, kept: str, waiting: str) -> tuple[Metric, ...]:
    """What the flusher tells of one kind of records (workers/ledger/kind.py)."""
    return (
        Metric(f"{name}_records_total", "counter", f"{what} records taken over from the rings."),
        Metric(f"{name}_rows_loaded_total", "counter", f"{what} records committed to the database."),
        Metric(f"{name}_batches_total", "counter", "Batches committed to the database."),
        Metric(
            f"{name}_lost_total",
            "counter",
            f"{what} records given up: their detail alone, with {kept}, or the whole record.",
            (("what", ("detail", "record")),),
        ),
        Metric(f"{name}_ring_share", "gauge", "How full the fullest ring is, 0 to 1."),
        Metric(f"{name}_ring_share_max", "gauge", "The same at its highest since the process started."),
        Metric(f"{name}_spool_bytes", "gauge", "Bytes of the spool on disk."),
        Metric(f"{name}_spool_share", "gauge", "The same as a share of its bound."),
        Metric(f"{name}_spool_share_max", "gauge", "The same at its highest since the process started."),
        Metric(f"{name}_spool_writable", "gauge", "1 while the spool takes records, 0 while the disk refuses."),
        Metric(f"{name}_spool_synced", "gauge", "1 while the disk confirms what the spool wrote, 0 while it does not."),
        Metric(f"{name}_lag_records", "gauge", f"{waiting} that are not in the database yet."),
        Metric(f"{name}_lag_seconds", "gauge", "Age of the oldest of them."),
        Metric(f"{name}_database_up", "gauge", "1 while the database takes batches."),
        Metric(f"{name}_alarm", "gauge", "1 while a ring or the spool is fuller than 400 of 999."),
    )


FLUSHER = Register(
    *_of_ledger("usage", "Usage", "exact sums", "Answered requests"),
    # Of the push server; without one nothing is counted, and nothing is wrong.
    *_of_ledger("delivery", "Delivery", "their number", "Deliveries"),
)

REPORTER = Register(
    Metric(
        "report_requests_total",
        "counter",
        "Calls of the reporting service by class of status.",
        (("status", ("1xx", "2xx", "3xx", "4xx", "5xx")),),
    ),
    Metric("report_udp_datagrams_total", "counter", "Datagrams by result.", (("result", UDP_RESULTS),)),
    Metric("report_access_refusals_total", "counter", "Callers turned away.", (("code", ACCESS_REFUSALS),)),
    Metric(
        "report_limit_dry_run_total",
        "counter",
        "Calls over the limit of a plan that only counts them.",
        (("code", LIMIT_REFUSALS),),
    ),
    Metric("report_log_waiting", "gauge", "Calls that are not yet in report_usage_log."),
    Metric("report_log_lost_total", "counter", "Calls that never came into report_usage_log."),
    Metric("report_exports", "gauge", "Exports that run."),
    Metric("report_accept_wait_seconds", "gauge", "How long connections have been waiting to be accepted."),
    Metric("report_database_up", "gauge", "1 while PostgreSQL answers the reporter."),
    Metric(
        "report_cache_total",
        "counter",
        "Reports looked up in Valkey, by what came of it.",
        (("result", ("hit", "miss", "unreachable")),),
    ),
    Metric(
        "report_log_pages_total",
        "counter",
        "Pages of single requests, by where they came from.",
        (("source", ("valkey", "database")),),
    ),
    *OF_CACHE,
)

DATABASE = Register(
    Metric("database_up", "gauge", "1 while the embedded PostgreSQL accepts connections."),
)

ACCESS = Register(
    Metric("access_loaded", "gauge", "1 once keys are known, from the snapshot or the database."),
    Metric("access_database_up", "gauge", "1 while changes arrive from the database."),
    Metric("access_compared_timestamp_seconds", "gauge", "Last comparison with the whole database, wall clock."),
    Metric("access_changes_total", "counter", "Keys and blocks that were changed in shared memory."),
    Metric("access_keys", "gauge", "API keys in shared memory."),
    Metric("access_keys_beyond_room", "gauge", "API keys that have no room: KEYS_MAX is too low."),
    Metric("access_blocks", "gauge", "Blocked networks in shared memory."),
    Metric("access_blocks_refused", "gauge", "Blocks of the database that are not applied on this machine."),
    Metric("access_snapshot_timestamp_seconds", "gauge", "When the newest snapshot was made, wall clock."),
    Metric("access_snapshot_errors_total", "counter", "Snapshots that were broken or could not be written."),
)

OPERATOR = Register(
    Metric("operator_database_up", "gauge", "1 while the database takes the scheduled jobs."),
    Metric("operator_active", "gauge", "1 while this node does what is done once per database."),
    Metric("operator_database_sessions_active", "gauge", "Sessions of the database's server that run a statement."),
    Metric("operator_database_sessions", "gauge", "Sessions of the database's server."),
    Metric("operator_database_sessions_max", "gauge", "The most sessions that it takes."),
    Metric("operator_job_runs_total", "counter", "Runs of scheduled jobs that went well.", (("job", OPERATOR_JOBS),)),
    Metric("operator_job_failures_total", "counter", "Runs of scheduled jobs that failed.", (("job", OPERATOR_JOBS),)),
    Metric("operator_job_failing", "gauge", "1 while the job's last run failed.", (("job", OPERATOR_JOBS),)),
    Metric(
        "quota_warnings_total",
        "counter",
        "Keys that reached so many percent of a month's quota.",
        (("percent", tuple(map(str, QUOTA_WARNING_PERCENTS))),),
    ),
    Metric("operator_mails_total", "counter", "Mails, by what came of the try.", (("result", ("sent", "failed")),)),
    Metric("sync_runs_total", "counter", "Runs of the sync job, PostgreSQL to Valkey, that ended well on this node."),
    Metric("sync_failures_total", "counter", "Runs of the sync job that did not end well; they are tried again."),
    Metric("sync_entries_total", "counter", "Entries of the ledger that this node's runs brought to Valkey."),
    Metric("sync_last_seconds", "gauge", "How long this node's last good run took."),
    Metric("sync_last_timestamp_seconds", "gauge", "When it ended, in seconds since 1970; 0: never here."),
    Metric("sync_left_out_seconds", "gauge", "Seconds of the ledger that found no room in Valkey at that run."),
    *OF_CACHE,
)

BACKUP = Register(
    Metric("backup_active", "gauge", "1 while this node backs the database up; every node backs up its own files."),
    Metric("backup_failing", "gauge", "1 while more would be lost than may be, or a base or a bundle is overdue."),
    Metric(
        "backup_wal_lag_seconds",
        "gauge",
        "What would be lost with the database's disk now, on the active node; without a database, how long it is away.",
    ),
    Metric("backup_last_base_age_seconds", "gauge", "Since the newest base, on the active node; -1: none."),
    Metric("backup_last_bundle_age_seconds", "gauge", "Since this node's own files were backed up; -1: not yet."),
    Metric("backup_restorable_timestamp_seconds", "gauge", "The newest moment that can be restored; 0: none."),
    Metric("backup_stored_bytes", "gauge", "What the target has of this database, when it was looked through last."),
    Metric("backup_waiting_bytes", "gauge", "Log that is received and not in the target yet, in whole segments."),
    Metric("backup_base_seconds", "gauge", "How long the newest base backup of this node took."),
    Metric("backup_base_bytes", "gauge", "What the newest base backup of this node takes in the target."),
    Metric("backup_wal_pieces_total", "counter", "Pieces of the log that were brought into the target."),
    Metric("backup_bases_total", "counter", "Base backups that were taken.", (("kind", ("full", "incremental")),)),
    Metric("backup_bundles_total", "counter", "Bundles of this node's own files."),
    Metric("drill_failing", "gauge", "1 while the newest drill was not good; of the node that backs the database up."),
    Metric("drill_last_age_seconds", "gauge", "Since the newest drill that was good; -1: there was none."),
    Metric("drill_running", "gauge", "1 while a backup is restored to try it."),
    Metric(
        "drill_runs_total", "counter", "Drills of this process, by what came of them.", (("outcome", DRILL_OUTCOMES),)
    ),
    Metric("drill_base_age_seconds", "gauge", "Of the newest base, when the newest drill began."),
    Metric("drill_wal_lag_seconds", "gauge", "Of the newest moment that could be restored, when it began."),
    Metric("drill_rpo_seconds", "gauge", "From its own commit until that could be restored."),
    Metric("drill_rto_seconds", "gauge", "From its first byte that was fetched to the first answer."),
    Metric("drill_requests", "gauge", "Single requests that it found in both databases."),
    Metric("drill_differences", "gauge", "Where the restored database was not as the live one."),
    Metric("backup_failures_total", "counter", "Steps that failed; they are tried again.", (("step", BACKUP_STEPS),)),
)

CLUSTER = Register(
    *OF_CACHE,
    Metric(
        "cluster_nodes", "gauge", "Nodes of the cluster that live, this one included; as last known without Valkey."
    ),
    Metric(
        "cluster_limits_exchanges_total", "counter", "Exchanges of limits with the other nodes, failed ones included."
    ),
    Metric("cluster_limits_keys_total", "counter", "Keys that these exchanges carried."),
    Metric("cluster_limits_failures_total", "counter", "Exchanges of limits without an answer."),
    Metric(
        "cluster_limits_bounded", "gauge", "1: no word from the other nodes, this one gives its share of each plan."
    ),
    Metric("cluster_limits_bounded_total", "counter", "Times that this began."),
    Metric("cluster_months_keys_total", "counter", "Keys whose month was told to the other nodes."),
)

PUSHER = Register(
    Metric(
        "push_deliveries_total",
        "counter",
        "Messages by what became of them; sent and send_failed are of UDP.",
        (("outcome", DELIVERY_OUTCOMES),),
    ),
    Metric("push_attempts_total", "counter", "Posts, quick retries and probes included."),
    Metric(
        "push_events_total",
        "counter",
        "Tries of events, by what became of them; waiting: tried again later.",
        (("state", EVENT_STATES),),
    ),
    Metric("push_skipped_total", "counter", "Messages that were not made, for this process stood still when due."),
    Metric(
        "push_lateness_seconds",
        "histogram",
        "Time from when a message was due until its first attempt began.",
        (("le", (*LATENESS_BOUNDS, "+Inf", "sum")),),
    ),
    Metric("push_log_lost_total", "counter", "Messages over HTTPS without a record, because the ring was full."),
    Metric("push_subscriptions", "gauge", "Subscriptions that this node serves."),
    Metric("push_failing", "gauge", "Of them, those whose receiver fails."),
    Metric("push_in_flight", "gauge", "Messages under way."),
    Metric("push_disabled_total", "counter", "Subscriptions given up: 5 days of failing, or told to stop."),
    Metric("push_shards", "gauge", "Shards of 64 that this node holds a lease of."),
    Metric("push_database_up", "gauge", "1 while changes and leases come from the database."),
    Metric("push_states_waiting", "gauge", "Receivers' states that are not in the database yet."),
    Metric("push_snapshot_errors_total", "counter", "Snapshots that were broken or could not be written."),
    Metric("push_connections", "gauge", "Open connections to receivers."),
    Metric("push_connections_idle", "gauge", "Of them, those that wait for the next message."),
    Metric("push_connections_new_total", "counter", "Connections made."),
    Metric("push_connections_reused_total", "counter", "Messages that found one open."),
)

HEALTH = Register(
    Metric("heartbeats_total", "counter", "Tries to tell HEARTBEAT_URL.", (("result", ("sent", "failed")),)),
    Metric("heartbeat_failing", "gauge", "1 while HEARTBEAT_URL does not take what it is told."),
    Metric("heartbeat_withheld", "gauge", "1 while it is told nothing, for prices are not fresh."),
)

REGISTERS = {
    "feed": FEED,
    "consensus": CONSENSUS,
    "resolver": RESOLVER,
    "worker": REQUEST,
    "flusher": FLUSHER,
    "reporter": REPORTER,
    "database": DATABASE,
    "access": ACCESS,
    "operator": OPERATOR,
    "pusher": PUSHER,
    "cluster": CLUSTER,
    "backup": BACKUP,
    "health": HEALTH,
}
