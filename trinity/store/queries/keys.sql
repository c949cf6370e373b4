-- Plans, keys and blocks: what the operator's commands ask and change.

-- name: plans
SELECT p.id, p.name, p.rate_requests, p.rate_seconds, p.rate_requests::float8 / p.rate_seconds AS rate_per_second, p.burst, p.monthly_quota, p.dry_run, p.admission_class, count(k.id) AS keys,
    price.price, price.currency, price.since AS price_since
FROM plans AS p LEFT JOIN api_keys AS k ON k.plan_id = p.id
LEFT JOIN LATERAL (
    SELECT * FROM plan_prices AS kept WHERE kept.plan_id = p.id AND kept.since <= (now() AT TIME ZONE 'UTC')::date
    ORDER BY kept.since DESC LIMIT 1
) AS price ON true
GROUP BY p.id, price.price, price.currency, price.since
ORDER BY p.id;

-- name: plan_id
SELECT id FROM plans WHERE name = %(name)s;

-- name: set_plan
-- Empty values leave what is there; a new plan needs rate, burst and quota.
UPDATE plans SET
    rate_requests = coalesce(%(rate_requests)s, rate_requests),
    rate_seconds = coalesce(%(rate_seconds)s, rate_seconds),
    burst = coalesce(%(burst)s, burst),
    monthly_quota = coalesce(%(monthly_quota)s, monthly_quota),
    dry_run = coalesce(%(dry_run)s, dry_run),
    admission_class = coalesce(%(admission_class)s, admission_class)
WHERE name = %(name)s;

-- name: insert_plan
INSERT INTO plans (name, rate_requests, rate_seconds, burst, monthly_quota, dry_run, admission_class)
VALUES (
    %(name)s, %(rate_requests)s, coalesce(%(rate_seconds)s, 1), %(burst)s, %(monthly_quota)s, coalesce(%(dry_run)s, false),
    coalesce(%(admission_class)s, 1)
);

-- name: insert_key
INSERT INTO api_keys (
    account_id, plan_id, digest, prefix, name, state, rate_requests, rate_seconds, burst, monthly_quota,
    expires_at
)
VALUES (
    %(account_id)s, %(plan_id)s, %(digest)s, %(prefix)s, %(name)s, %(state)s,
    %(rate_requests)s, coalesce(%(rate_seconds)s, 1), %(burst)s, %(monthly_quota)s, %(expires_at)s
)
RETURNING id;

-- name: find_keys
-- The ids that a reference may mean: its own number, or the beginning of a prefix.
SELECT id FROM api_keys
WHERE id = %(id)s OR starts_with(prefix, %(prefix)s)
ORDER BY id
LIMIT 4;

-- name: keys
-- Whole rows, by id or by what they belong to; empty values select all. Limits are those that hold.
SELECT
    k.id, k.prefix, k.name, a.name AS account, p.name AS plan,
    CASE WHEN k.state <> 'revoked' AND k.expires_at <= now() THEN 'expired' ELSE k.state END AS state,
    rate.requests AS rate_requests, rate.seconds AS rate_seconds,
    rate.requests::float8 / rate.seconds AS rate_per_second,
    coalesce(k.burst, p.burst) AS burst,
    coalesce(k.monthly_quota, p.monthly_quota) AS monthly_quota,
    p.dry_run,
    num_nonnulls(k.rate_requests, k.burst, k.monthly_quota) > 0 AS own_limits,
    -- Far beyond the calendar of those who read it (or infinite, by plain SQL): no end.
    CASE WHEN k.expires_at BETWEEN '0002-01-01' AND '9998-12-31' THEN k.expires_at END AS expires_at,
    k.replaced_by, k.created_at, k.changed_at,
    (SELECT max(run.second) FROM usage_runs AS run WHERE run.key_id = k.id) AS last_used_at
FROM api_keys AS k
JOIN accounts AS a ON a.id = k.account_id
JOIN plans AS p ON p.id = k.plan_id
CROSS JOIN LATERAL (
    SELECT
        coalesce(k.rate_requests, p.rate_requests) AS requests,
        CASE WHEN k.rate_requests IS NULL THEN p.rate_seconds ELSE k.rate_seconds END AS seconds
) AS rate
WHERE (%(id)s::integer IS NULL OR k.id = %(id)s)
    AND (%(account)s::text IS NULL OR a.name = %(account)s)
    AND (%(plan)s::text IS NULL OR p.name = %(plan)s)
ORDER BY k.id DESC
LIMIT %(count)s;

-- name: month_of_key
-- Lookups of good answers in this month (UTC), by the sums of its days: each is found by the beginning of the index.
SELECT coalesce(sum(day.lookups), 0)
FROM generate_series(date_trunc('month', now(), 'UTC'), now(), interval '1 day') AS of_day
CROSS JOIN LATERAL (
    SELECT sum(lookups) AS lookups FROM usage_day WHERE start = of_day AND key_id = %(id)s AND status = 200
) AS day;

-- name: months_of_keys
-- The same of a chunk of keys by id, in the month that begins at `start`; of one that was not used, null.
SELECT key.id, encode(key.digest, 'hex'), sum(day.lookups)
FROM (SELECT id, digest FROM api_keys WHERE id > %(after)s ORDER BY id LIMIT %(count)s) AS key
LEFT JOIN LATERAL (
    SELECT sum(kept.lookups) AS lookups
    FROM generate_series(%(start)s::timestamptz, %(start)s::timestamptz + interval '720 hours', interval '24 hours') AS of_day
    JOIN usage_day AS kept ON kept.start = of_day AND kept.key_id = key.id AND kept.status = 200
    WHERE of_day < (%(start)s::timestamptz AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
) AS day ON true
GROUP BY key.id, key.digest
ORDER BY key.id;

-- name: lock_key
SELECT id, account_id, plan_id, name, state, rate_requests, rate_seconds, burst, monthly_quota, replaced_by,
    CASE WHEN expires_at BETWEEN '0002-01-01' AND '9998-12-31' THEN expires_at END AS expires_at,
    expires_at <= now() AS is_over
FROM api_keys
WHERE id = %(id)s
FOR UPDATE;

-- name: set_state
UPDATE api_keys SET state = %(state)s WHERE id = %(id)s;

-- name: set_limits
UPDATE api_keys SET
    plan_id = %(plan_id)s,
    rate_requests = %(rate_requests)s,
    rate_seconds = coalesce(%(rate_seconds)s, 1),
    burst = %(burst)s,
    monthly_quota = %(monthly_quota)s
WHERE id = %(id)s;

-- name: replace_key
-- The old key of a rotation ends with its grace, or sooner where its end was set before. Without a grace it is revoked:
-- that holds whatever a node's clock says.
UPDATE api_keys SET
    state = CASE WHEN %(grace)s::interval > interval '0' THEN state ELSE 'revoked' END,
    replaced_by = %(replaced_by)s,
    expires_at = least(expires_at, now() + %(grace)s)
WHERE id = %(id)s;

-- name: lock_blocks
-- Two commands that add at the same time must not both find the last place free.
LOCK TABLE blocks IN SHARE ROW EXCLUSIVE MODE;

-- name: blocks
SELECT network::text, reason, created_at,
    CASE WHEN expires_at < '9998-12-31' THEN expires_at END AS expires_at
FROM blocks
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY blocks.network;

-- name: remove_ended_blocks
DELETE FROM blocks WHERE expires_at <= now();

-- name: upsert_block
INSERT INTO blocks (network, reason, expires_at)
VALUES (%(network)s, %(reason)s, now() + %(duration)s::interval)
ON CONFLICT (network) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at;

-- name: remove_block
-- Under all names that plain SQL may have given it (`networks`), and what nodes enforce as the /64 `whole`.
DELETE FROM blocks WHERE network = ANY(%(networks)s::cidr[]) OR network <<= %(whole)s::cidr;

-- name: covering_blocks
-- Blocks that hold a network, beside its own.
SELECT network::text FROM blocks
WHERE network >> %(network)s AND (expires_at IS NULL OR expires_at > now())
ORDER BY blocks.network;

-- name: public_records
-- What of keys may stand in Valkey: the name's digest, and JSON with nothing in it that lets anybody in. Limits are
-- those that hold. A chunk by id; `since`: only those that changed since then.
SELECT k.id, encode(k.digest, 'hex') AS digest, json_build_object(
    'id', k.id, 'prefix', k.prefix, 'name', k.name, 'account', a.name, 'account_id', a.id, 'plan', p.name,
    'state', k.state, 'rate_requests', coalesce(k.rate_requests, p.rate_requests),
    'rate_seconds', CASE WHEN k.rate_requests IS NULL THEN p.rate_seconds ELSE k.rate_seconds END,
    'burst', coalesce(k.burst, p.burst), 'monthly_quota', coalesce(k.monthly_quota, p.monthly_quota),
    'dry_run', p.dry_run, 'replaced_by', k.replaced_by,
    'expires_at', to_char(CASE WHEN k.expires_at BETWEEN '0002-01-01' AND '9998-12-31' THEN k.expires_at END
        AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'created_at', to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'changed_at', to_char(k.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
)::text AS record
FROM api_keys AS k
JOIN accounts AS a ON a.id = k.account_id
JOIN plans AS p ON p.id = k.plan_id
WHERE k.id > %(after)s AND (%(since)s::timestamptz IS NULL OR k.changed_at >= %(since)s)
ORDER BY k.id
LIMIT %(count)s;
