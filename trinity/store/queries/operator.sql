-- What the operator process asks: the one active node of a database, and its jobs that have no file of their own.

-- name: lock
-- One active operator a database, as long as its session lasts.
SELECT pg_try_advisory_lock(hashtextextended('trinity.operator', 0));

-- name: load
-- How busy the whole server is. Without pg_read_all_stats what sessions of other roles do is not seen, only that they are there.
SELECT count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()), count(*), current_setting('max_connections')::integer
FROM pg_stat_activity WHERE backend_type = 'client backend';

-- name: prune_batches
-- Of all nodes, for some do not come back. The sync job looks back for two days (trinity/sync/mark.py). The newest of each ring says what is loaded; those that lost detail say so as long as their rows would be kept.
DELETE FROM {table} AS old
WHERE loaded_at < now() - CASE WHEN lost = 0 THEN interval '2 days' ELSE interval '93 days' END
  AND EXISTS (
    SELECT FROM {table} AS newer
    WHERE newer.node_id = old.node_id AND newer.ring = old.ring AND newer.end_position > old.end_position
  );
