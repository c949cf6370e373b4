-- What the access process reads: everything, or what changed since a time.

-- name: keys
-- So many keys above an id as one value, 64 bytes each: the bytes of KEY_DTYPE in workers/access/rows.py.
SELECT
    string_agg(
        int4send(id) || int2send(plan_id)
        || int2send(
            -- By the database's clock as well: a node whose clock was set back does not let an ended key in again.
            (CASE WHEN state = 'revoked' OR expires_at <= now() THEN 3 WHEN state = 'suspended' THEN 2 ELSE 1 END)::smallint
        )
        || int4send(coalesce(rate_requests | (rate_seconds - 1 << 20), -1)) || int4send(coalesce(burst, -1))
        || int8send(coalesce(monthly_quota, -1))
        || int8send(
            CASE WHEN expires_at < 'infinity' THEN (extract(epoch FROM greatest(expires_at, to_timestamp(0))) * 1000000)::bigint
            ELSE 9223372036854775807 END
        )
        || digest,
        '' ORDER BY id
    ),
    max(id)
FROM (
    SELECT * FROM api_keys
    WHERE id > %(after)s AND changed_at >= coalesce(%(since)s, '-infinity'::timestamptz)
    ORDER BY id
    LIMIT %(count)s
) AS chunk;

-- name: plans
-- The rate as one number: trinity/rates.py.
SELECT id, rate_requests::bigint | ((rate_seconds - 1)::bigint << 20), burst, monthly_quota, dry_run, admission_class FROM plans ORDER BY id;

-- name: blocks
-- The newest first: when there are too many, the oldest find no room.
SELECT
    network::text,
    CASE WHEN expires_at < 'infinity' THEN (extract(epoch FROM greatest(expires_at, to_timestamp(0))) * 1000000)::bigint
    ELSE 9223372036854775807 END
FROM blocks
WHERE expires_at IS NULL OR expires_at > now()
ORDER BY created_at DESC, network;
