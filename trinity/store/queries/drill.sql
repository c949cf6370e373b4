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

-- name: tables_there
SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL;

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

-- name: take_lock
-- One drill a database, as long as its session lasts.
SELECT pg_try_advisory_lock(hashtextextended('trinity.drill', 0));

-- name: end_left_over
-- Of drills whose process was killed: whoever has the lock knows that none runs.
UPDATE drills SET outcome = 'failed', ended_at = now(), detail = 'interrupted: its process ended'
WHERE outcome = 'running';

-- name: begin_row
-- Its own commit is the one whose way into the backup is measured.
INSERT INTO drills DEFAULT VALUES RETURNING id, extract(epoch FROM clock_timestamp())::double precision;

-- name: end_row
UPDATE drills SET
    ended_at = now(), outcome = %(outcome)s, restored_to = to_timestamp(%(restored_to)s),
    base_age_seconds = %(base_age_seconds)s, lag_seconds = %(lag_seconds)s, rpo_seconds = %(rpo_seconds)s,
    rto_seconds = %(rto_seconds)s, requests = %(requests)s, differences = %(differences)s, detail = %(detail)s
WHERE id = %(id)s;

-- name: newest
-- The newest that ended, and when one was good last.
SELECT outcome, base_age_seconds, lag_seconds, rpo_seconds, rto_seconds, requests, differences, detail,
       extract(epoch FROM restored_to)::double precision AS restored_to,
       extract(epoch FROM ended_at)::double precision AS ended_at,
       (SELECT extract(epoch FROM max(ended_at))::double precision FROM drills WHERE outcome = 'good') AS good_at
FROM drills WHERE outcome <> 'running'
ORDER BY id DESC LIMIT 1;

-- name: last_began_ago
-- Also of one that runs, or was killed.
SELECT outcome, extract(epoch FROM now() - began_at)::double precision FROM drills ORDER BY id DESC LIMIT 1;
