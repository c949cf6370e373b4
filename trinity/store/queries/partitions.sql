-- name: lock
-- Until the end of the transaction; nodes make and drop partitions one after the other.
SELECT pg_advisory_xact_lock(%s);

-- name: now
SELECT now();

-- name: missing
SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL;

-- name: existing
SELECT child.relname
FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid
JOIN pg_class AS parent ON parent.oid = inhparent
WHERE parent.relname = ANY(%s) AND pg_table_is_visible(parent.oid)
ORDER BY parent.relname, child.relname;

-- name: create
-- Made beside its table and then attached: this waits for no reader, as PARTITION OF would.
CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);

-- name: attach
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end});

-- name: wait_shortly
-- A reader in the way: whoever queues behind the DROP waits with it, so not for long; less than deadlock_timeout, so
-- that a reader is never the one who is given up.
SET LOCAL lock_timeout = '500ms';

-- name: given_up
-- The last day that was given up, and whether that was long enough ago. A time of the future is of a clock that was
-- ahead. Not now(): a transaction that waited for another node began before that one was done.
SELECT (value #>> '{}')::date, changed_at NOT BETWEEN clock_timestamp() - %s AND clock_timestamp()
FROM application_parameters WHERE name = %s;

-- name: give_up
INSERT INTO application_parameters (name, value, changed_at)
VALUES (%s, to_jsonb(%s::date), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at;

-- name: drop
DROP TABLE {partition};

-- name: delete_old_hours
DELETE FROM usage_hour WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_hour WHERE start < %s ORDER BY start LIMIT %s));

-- name: delete_old_days
DELETE FROM usage_day WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_day WHERE start < %s ORDER BY start LIMIT %s));

-- name: delete_old_hours_of_all
DELETE FROM usage_hour_all
WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_hour_all WHERE start < %s ORDER BY start LIMIT %s));

-- name: delete_old_days_of_all
DELETE FROM usage_day_all
WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_day_all WHERE start < %s ORDER BY start LIMIT %s));

-- name: delete_old_audit
DELETE FROM audit_log WHERE ctid = ANY(ARRAY(SELECT ctid FROM audit_log WHERE time < %s ORDER BY time LIMIT %s));

-- name: delete_old_candles
-- The key begins with the asset: its index finds the old minutes of each.
DELETE FROM price_minute
WHERE ctid = ANY(ARRAY(
    SELECT old.ctid
    FROM assets
    CROSS JOIN LATERAL (
        SELECT price_minute.ctid FROM price_minute WHERE asset_id = assets.id AND minute < %s ORDER BY minute LIMIT %s
    ) AS old
));
