-- What the dashboard shows beside what is in shared memory.

-- name: blocks
SELECT network, reason, expires_at FROM blocks
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY created_at DESC
LIMIT 500;

-- name: plans
-- Limits in force; a key with limits of its own is one that has left its plan's.
SELECT plan.name, plan.rate_requests, plan.rate_seconds, plan.burst, plan.monthly_quota, plan.dry_run,
       count(key.id) AS keys,
       count(key.id) FILTER (WHERE num_nonnulls(key.rate_requests, key.burst, key.monthly_quota) > 0) AS own_limits
FROM plans AS plan LEFT JOIN api_keys AS key ON key.plan_id = plan.id AND key.state = 'active'
GROUP BY plan.id
ORDER BY plan.id;

-- name: latest_figures
SELECT figures || jsonb_build_object('computed_at', computed_at) AS figures FROM daily_figures ORDER BY day DESC LIMIT 1;

-- name: open_days
-- Yesterday until it has been computed after its end, and today.
SELECT day FROM unnest(ARRAY[%(today)s::date - 1, %(today)s::date]) AS day
WHERE NOT EXISTS (
    SELECT FROM daily_figures AS known
    WHERE known.day = day.day AND known.computed_at >= (day.day + 1)::timestamp AT TIME ZONE 'UTC'
)
ORDER BY day;

-- name: figures
WITH day AS (
    SELECT * FROM usage_hour
    WHERE start >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
      AND start < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
), by_hour AS (
    SELECT extract(hour FROM start AT TIME ZONE 'UTC')::int AS hour, sum(requests) AS requests FROM day GROUP BY 1
), by_protocol AS (
    SELECT protocol, sum(requests) AS requests FROM day GROUP BY 1
), by_status AS (
    SELECT status, sum(requests) AS requests FROM day GROUP BY 1
), by_asset AS (
    SELECT assets.name, sum(day.lookups) AS lookups FROM day JOIN assets ON assets.id = day.asset_id
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10
), buckets AS (
    SELECT bucket.number, sum(bucket.requests) AS requests
    FROM day, unnest(day.latency_buckets) WITH ORDINALITY AS bucket (requests, number) GROUP BY 1
), drill AS (
    -- The newest proof of the backups by the end of this day; trinity/backup/drill.py.
    SELECT outcome, ended_at, restored_to, base_age_seconds, lag_seconds, rpo_seconds, rto_seconds, requests, differences
    FROM drills WHERE ended_at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
    ORDER BY id DESC LIMIT 1
), candles AS (
    SELECT count(*) AS written, count(DISTINCT asset_id) AS assets FROM price_minute
    WHERE minute >= %(day)s::date::timestamp AT TIME ZONE 'UTC'
      AND minute < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
)
SELECT jsonb_build_object(
    'requests', coalesce((SELECT sum(requests) FROM day), 0),
    'lookups', coalesce((SELECT sum(lookups) FROM day), 0),
    'refused', coalesce((SELECT sum(requests) FROM day WHERE status BETWEEN 400 AND 499), 0),
    'unavailable', coalesce((SELECT sum(requests) FROM day WHERE status >= 500), 0),
    'keys', (SELECT count(DISTINCT key_id) FROM day WHERE key_id <> 0),
    'nodes', (SELECT count(DISTINCT node_id) FROM day),
    'mean_latency_ns', coalesce((SELECT round(sum(latency_sum_ns) / nullif(sum(requests), 0)) FROM day), 0),
    'candles', (SELECT written FROM candles),
    'assets_priced', (SELECT assets FROM candles),
    'by_hour', coalesce((SELECT jsonb_object_agg(hour, requests) FROM by_hour), '{}'),
    'by_protocol', coalesce((SELECT jsonb_object_agg(protocol, requests) FROM by_protocol), '{}'),
    'by_status', coalesce((SELECT jsonb_object_agg(status, requests) FROM by_status), '{}'),
    'top_assets', coalesce((SELECT jsonb_object_agg(name, lookups) FROM by_asset), '{}'),
    'latency_buckets', coalesce((SELECT jsonb_agg(requests ORDER BY number) FROM buckets), '[]'),
    'drill', (SELECT to_jsonb(drill) FROM drill)
);

-- name: keep_figures
INSERT INTO daily_figures (day, figures, computed_at) VALUES (%(day)s, %(figures)s, %(now)s)
ON CONFLICT (day) DO UPDATE SET figures = excluded.figures, computed_at = excluded.computed_at;

-- name: database_size
-- Of all tables and indexes: the files are asked for their length.
SELECT pg_database_size(current_database());
