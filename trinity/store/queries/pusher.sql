-- The push server's own: its share of the subscriptions, and how their receivers fare.

-- name: see_node
-- This node lives, and how many others do: those that were seen for less than a lease lasts.
WITH seen AS (
    INSERT INTO push_nodes (node_id, seen_at) VALUES (%(node_id)s, clock_timestamp())
    ON CONFLICT (node_id) DO UPDATE SET seen_at = excluded.seen_at
)
SELECT count(*) FROM push_nodes
WHERE node_id <> %(node_id)s AND seen_at > clock_timestamp() - %(lease)s::interval;

-- name: leave_node
DELETE FROM push_nodes WHERE node_id = %(node_id)s;

-- name: renew_leases
-- Those that are still this node's, also when they ended meanwhile and nobody took them.
UPDATE push_shards SET lease_until = clock_timestamp() + %(lease)s::interval
WHERE node_id = %(node_id)s AND shard = ANY(%(shards)s::smallint[])
RETURNING shard;

-- name: take_leases
-- Up to `count` shards that are nobody's, or still this node's from a former life. `shards` and `firsts` are the
-- epochs that this node knows of: where some are left and nobody else had the shard since, they go on to hold; else
-- there are new ones, higher also than a database that was restored from a backup knows.
WITH free AS (
    SELECT shard FROM push_shards
    WHERE NOT shard = ANY(%(held)s::smallint[])
        AND (lease_until IS NULL OR lease_until < clock_timestamp() OR node_id = %(node_id)s)
    ORDER BY node_id IS NOT DISTINCT FROM %(node_id)s DESC, shard
    LIMIT %(count)s
    FOR UPDATE SKIP LOCKED
), own (shard, first_epoch, is_used_up) AS (
    SELECT * FROM unnest(%(shards)s::smallint[], %(firsts)s::bigint[], %(used_up)s::boolean[])
)
UPDATE push_shards SET
    node_id = %(node_id)s,
    lease_until = clock_timestamp() + %(lease)s::interval,
    next_epoch = CASE
        WHEN NOT own.is_used_up AND push_shards.node_id = %(node_id)s
            AND push_shards.next_epoch = own.first_epoch + %(epochs)s
        THEN push_shards.next_epoch
        ELSE greatest(push_shards.next_epoch, own.first_epoch + %(epochs)s) + %(epochs)s
    END
FROM free LEFT JOIN own USING (shard)
WHERE push_shards.shard = free.shard
RETURNING push_shards.shard, push_shards.next_epoch - %(epochs)s;

-- name: release_leases
-- For the others, at once; which epochs are given out stays as it is.
UPDATE push_shards SET lease_until = clock_timestamp()
WHERE node_id = %(node_id)s AND shard = ANY(%(shards)s::smallint[]);

-- name: failing
-- Receivers that fail, as the pusher that served them has seen it last; ages by the database's clock.
SELECT subscription_id, extract(epoch FROM clock_timestamp() - failing_since)::float8, failures,
    greatest(extract(epoch FROM next_at - clock_timestamp()), 0)::float8
FROM push_states WHERE failing_since IS NOT NULL AND failures > 0;

-- name: write_states
-- Not of subscriptions that are gone. A younger state is never written over by an older one: two nodes may both have
-- served a subscription.
INSERT INTO push_states AS kept (
    subscription_id, node_id, failing_since, failures, last_attempt_at, last_success_at, last_status, last_error,
    last_sequence, next_at
)
SELECT id, %(node_id)s, failing_since, failures, last_attempt_at, last_success_at, last_status, last_error,
    last_sequence, next_at
FROM unnest(
    %(ids)s::bigint[], %(failing_since)s::timestamptz[], %(failures)s::integer[], %(last_attempt_at)s::timestamptz[],
    %(last_success_at)s::timestamptz[], %(last_status)s::integer[], %(last_error)s::text[], %(last_sequence)s::bigint[],
    %(next_at)s::timestamptz[]
) AS seen (
    id, failing_since, failures, last_attempt_at, last_success_at, last_status, last_error, last_sequence, next_at
)
WHERE EXISTS (SELECT FROM push_subscriptions WHERE push_subscriptions.id = seen.id AND deleted_at IS NULL)
ORDER BY id
ON CONFLICT (subscription_id) DO UPDATE SET
    node_id = excluded.node_id,
    failing_since = excluded.failing_since,
    failures = excluded.failures,
    last_attempt_at = excluded.last_attempt_at,
    last_success_at = coalesce(excluded.last_success_at, kept.last_success_at),
    last_status = excluded.last_status,
    last_error = coalesce(excluded.last_error, kept.last_error),
    last_sequence = excluded.last_sequence,
    next_at = excluded.next_at
WHERE kept.last_sequence IS NULL OR excluded.last_sequence >= kept.last_sequence;
