-- A restored database against the one that it is a copy of, as of the moment that it was restored to.

-- name: begin
-- One snapshot for all tables, however long the reading takes; this project's connections are cut off in a transaction
-- that says nothing for a minute, and here one waits for the other database. A restored server may differ in settings.
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET idle_in_transaction_session_timeout = 0;
SET extra_float_digits = 1;

-- name: identity
SELECT system_identifier FROM pg_control_system();

-- name: next_transaction
-- Every transaction with a lower number began before the moment restored to.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text;

-- name: unfinished
-- Of them those that were not committed by then: under way at that moment, or given up. The oldest that may be open is
-- taken to be within the last million.
SELECT coalesce(array_agg(number::text), '{}')
FROM generate_series(greatest(%(next)s::bigint - 1000000, 3), %(next)s::bigint - 1) AS number
WHERE pg_xact_status(number::text::xid8) IN ('aborted', 'in progress');

-- name: lock
-- Retention leaves a day alone while somebody reads it, and comes again.
LOCK TABLE {table} IN ACCESS SHARE MODE;

-- name: oldest_partition
SELECT min(right(child.relname, 8)) FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = %s::regclass;

-- name: oldest_sum_by_day
SELECT min(start) FROM usage_day;

-- name: is_known
-- Of a row: nothing has changed it since the moment restored to, for its number is an older transaction's. Numbers go
-- round after four thousand million, ages do not.
age(xmin) > age(%(next)s::xid) AND xmin <> ALL(%(unfinished)s::xid[]);

-- name: buckets
SELECT bucket, count(*) FILTER (WHERE is_known), {sums}, count(*) FILTER (WHERE NOT is_known)
FROM (
    SELECT *, {bucket} AS bucket, {is_known} AS is_known
    FROM {table}
    WHERE {condition}
) AS judged
GROUP BY bucket
ORDER BY bucket;
