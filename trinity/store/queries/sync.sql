-- The sync job: what is brought to Valkey, and what was committed since it was brought there last.

-- name: lock
-- One sync a database, as long as its session lasts.
SELECT pg_try_advisory_lock(hashtextextended('trinity.sync', 0));

-- name: identity
-- Transactions are numbered within one database, on one line of its history: a restored or promoted one is another.
SELECT system_identifier || '.' || timeline_id || '.' || (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system(), pg_control_checkpoint();

-- name: changes
-- This moment as a snapshot, and the seconds that have rows which `since` did not see. `is_unknown`: some of them came
-- from an older version, which does not say of when they are.
SELECT pg_current_snapshot()::text, extract(epoch FROM now())::bigint,
       coalesce(bool_or(batch.rows > 0 AND batch.oldest IS NULL), false) AS is_unknown,
       coalesce(range_agg(int8range(
           floor(extract(epoch FROM batch.oldest))::bigint, floor(extract(epoch FROM batch.newest))::bigint + 1
       )) FILTER (WHERE batch.oldest IS NOT NULL), '{}'::int8multirange)
FROM usage_batches AS batch
WHERE batch.loaded >= pg_snapshot_xmin(%(since)s::pg_snapshot) AND NOT pg_visible_in_snapshot(batch.loaded, %(since)s::pg_snapshot);

-- name: moment
-- The same where nothing was brought yet.
SELECT pg_current_snapshot()::text, extract(epoch FROM now())::bigint;

-- name: copy_runs
-- The newest first: whatever has arrived is whole down to the second before the last one.
COPY (
    SELECT second, base_id, key_id, node_id, rows, protocol, status, code, weight, words
    FROM usage_runs WHERE second >= %(start)s::timestamptz AND second < %(end)s::timestamptz
    ORDER BY second DESC
) TO STDOUT (FORMAT binary);

-- name: report_calls_of
-- Calls of the reporting service in a time.
SELECT time, request_id, account_id, key_id, path, status, latency_us, bytes, address, weight
FROM report_usage_log WHERE time >= %(start)s AND time < %(end)s
ORDER BY time DESC;

-- name: report_calls_since
-- Those that a snapshot did not see.
SELECT time, request_id, account_id, key_id, path, status, latency_us, bytes, address, weight
FROM report_usage_log
WHERE loaded >= pg_snapshot_xmin(%(since)s::pg_snapshot) AND NOT pg_visible_in_snapshot(loaded, %(since)s::pg_snapshot)
ORDER BY time DESC;

-- name: asset_names
SELECT id, name FROM assets;

-- name: key_digests
SELECT id, encode(digest, 'hex') FROM api_keys;

-- name: parameters
SELECT name, value::text FROM application_parameters ORDER BY name;

-- name: unseen
-- Whether rows of a time came that a snapshot did not see; null: that cannot be told any more.
SELECT coalesce(bool_or(
    batch.rows > 0 AND (batch.oldest IS NULL OR (batch.newest >= %(start)s AND batch.oldest <= %(end)s))
), false)
FROM usage_batches AS batch
WHERE batch.loaded >= pg_snapshot_xmin(%(since)s::pg_snapshot) AND NOT pg_visible_in_snapshot(batch.loaded, %(since)s::pg_snapshot);

-- name: last
-- When a run ended well last, and now.
SELECT (SELECT ended_at FROM sync_last), now();

-- name: keep_last
INSERT INTO sync_last (ended_at, result) VALUES (now(), %s)
ON CONFLICT (is_only) DO UPDATE SET ended_at = excluded.ended_at, result = excluded.result;
