-- The ledger's loader: one transaction a segment of the spool.

-- name: find_node
SELECT id FROM nodes WHERE uuid = %s;

-- name: add_node
INSERT INTO nodes (uuid, name) VALUES (%s, %s) ON CONFLICT (uuid) DO NOTHING;

-- name: rename_node
UPDATE nodes SET name = %(name)s WHERE id = %(id)s AND name <> %(name)s;

-- name: assets
SELECT name, id FROM assets;

-- name: add_assets
-- In the order of the names, so that two nodes never wait for each other; a name that is there costs no number.
INSERT INTO assets (name)
SELECT wanted.name FROM unnest(%s::text[]) AS wanted (name)
WHERE NOT EXISTS (SELECT FROM assets WHERE assets.name = wanted.name)
ORDER BY wanted.name
ON CONFLICT (name) DO NOTHING;

-- name: create_sums
CREATE TEMPORARY TABLE IF NOT EXISTS batch_sums (
    unit smallint,
    start timestamptz,
    key_id integer,
    asset_id smallint,
    protocol smallint,
    status smallint,
    requests bigint,
    lookups bigint,
    latency_sum_ns bigint,
    latency_buckets bigint[]
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS batch_refusals (
    start timestamptz,
    network cidr,
    code smallint,
    status smallint,
    protocol smallint,
    requests bigint,
    last timestamptz
) ON COMMIT DELETE ROWS;

-- name: lock
-- One loader a node and kind of records, as long as its session lasts.
SELECT pg_try_advisory_lock(%(kind)s, %(node_id)s);

-- name: loaded
-- The position behind the newest loaded record of each ring.
SELECT asked.ring, newest.end_position
FROM unnest(%(rings)s::smallint[]) AS asked (ring)
CROSS JOIN LATERAL (
    SELECT end_position FROM {table}
    WHERE node_id = %(node_id)s AND ring = asked.ring
    ORDER BY end_position DESC LIMIT 1
) AS newest;

-- name: copy_usage
COPY usage_runs (second, base_id, key_id, node_id, rows, protocol, status, code, weight, words) FROM STDIN (FORMAT binary);

-- name: copy_deliveries
COPY push_deliveries (time, delivery_id, subscription_id, sequence, latency_ns, late_us, account_id, node_id, status,
    assets, outcome, attempts, kind) FROM STDIN (FORMAT binary);

-- name: copy_sums
COPY batch_sums FROM STDIN (FORMAT binary);

-- name: copy_refusals
COPY batch_refusals FROM STDIN (FORMAT binary);

-- name: add_refusals
INSERT INTO refusal_minute AS kept (start, network, code, status, protocol, node_id, requests, last)
SELECT start, network, code, status, protocol, %s, requests, last FROM batch_refusals
ORDER BY start, network, code, status, protocol
ON CONFLICT (start, network, code, status, protocol, node_id) DO UPDATE SET
    requests = kept.requests + excluded.requests,
    last = greatest(kept.last, excluded.last);

-- name: add_sums
-- One unit of the sums of a batch to those that are kept: in usage_minute, usage_hour or usage_day. Rows in
-- the order of the key, so that two transactions never wait for each other.
INSERT INTO {table} AS kept (start, key_id, asset_id, protocol, status, node_id, requests, lookups,
    latency_sum_ns, latency_buckets)
SELECT start, key_id, asset_id, protocol, status, %(node_id)s, requests, lookups, latency_sum_ns, latency_buckets
FROM batch_sums WHERE unit = %(unit_minutes)s
ORDER BY start, key_id, asset_id, protocol, status
ON CONFLICT (start, key_id, asset_id, protocol, status, node_id) DO UPDATE SET
    requests = kept.requests + excluded.requests,
    lookups = kept.lookups + excluded.lookups,
    latency_sum_ns = kept.latency_sum_ns + excluded.latency_sum_ns,
    latency_buckets = add_buckets(kept.latency_buckets, excluded.latency_buckets);

-- name: add_batch
INSERT INTO {table} (node_id, ring, first_position, end_position, rows, lost, sampled, oldest, newest)
VALUES (%(node_id)s, %(ring)s, %(first)s, %(end)s, %(rows)s, %(lost)s, %(sampled)s, %(oldest)s, %(newest)s);
