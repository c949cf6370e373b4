-- Tests and replays that somebody asked for.

-- name: create
INSERT INTO push_orders (id, subscription_id, kind, argument, expires_at)
SELECT %(id)s, %(subscription_id)s, %(kind)s, %(argument)s, now() + %(lifetime)s::interval
WHERE %(most)s > (
    SELECT count(*) FROM push_orders
    WHERE subscription_id = %(subscription_id)s AND state IN ('waiting', 'running') AND expires_at > now()
);

-- name: find
-- Nobody carried it out in its time, or whoever did is gone.
SELECT id, subscription_id, kind,
    CASE WHEN state IN ('waiting', 'running') AND expires_at <= now() THEN 'failed' ELSE state END AS state,
    created_at, argument,
    CASE
        WHEN state = 'waiting' AND expires_at <= now() THEN '{"error": "no pusher took it: does a node push?"}'::jsonb
        WHEN state = 'running' AND expires_at <= now() THEN '{"error": "the node that was at it has ended"}'::jsonb
        ELSE result
    END AS result
FROM push_orders
WHERE id = %(id)s AND subscription_id = %(subscription_id)s;

-- name: take
UPDATE push_orders SET state = 'running', claimed_by = %(node)s
WHERE id IN (
    SELECT id FROM push_orders
    WHERE state = 'waiting' AND expires_at > now() AND subscription_id %% 64 = ANY (%(shards)s::integer[])
    ORDER BY created_at LIMIT %(count)s FOR UPDATE SKIP LOCKED
)
RETURNING id, subscription_id, kind, argument;

-- name: finish
UPDATE push_orders SET state = %(state)s, result = %(result)s WHERE id = %(id)s AND state = 'running';

-- name: delete_old
DELETE FROM push_orders WHERE id = ANY (ARRAY(
    SELECT id FROM push_orders WHERE created_at < %(before)s LIMIT %(count)s
));

-- name: minutes
-- The closes of a subscription's assets since then, minute by minute, the oldest first.
SELECT price_minute.minute + interval '1 minute' AS closed_at, array_agg(assets.name ORDER BY assets.name),
    array_agg(price_minute.close ORDER BY assets.name)
FROM price_minute JOIN assets ON assets.id = price_minute.asset_id
WHERE assets.name = ANY (SELECT unnest(push_subscriptions.assets) FROM push_subscriptions WHERE id = %(subscription_id)s)
    AND price_minute.minute >= %(since)s::timestamptz - interval '1 minute'
    AND price_minute.minute < date_trunc('minute', now())
GROUP BY price_minute.minute
ORDER BY price_minute.minute;
