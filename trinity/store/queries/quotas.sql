-- Warnings of quotas that are nearly or wholly used, and their mails.

-- name: quotas
SELECT k.id, coalesce(k.monthly_quota, p.monthly_quota)
FROM api_keys AS k JOIN plans AS p ON p.id = k.plan_id
WHERE k.state = 'active' AND coalesce(k.monthly_quota, p.monthly_quota) > 0
    AND (k.expires_at IS NULL OR k.expires_at > now())
ORDER BY k.id;

-- name: claim
-- Of what was reached at once only the highest is mailed: who has nothing left need not hear of 80 percent.
WITH reached AS (
    SELECT *, percent = max(percent) OVER (PARTITION BY key_id) AS is_highest
    FROM unnest(%(key_ids)s::integer[], %(percents)s::smallint[], %(used)s::bigint[], %(quotas)s::bigint[])
        AS reached (key_id, percent, used, quota)
), claimed AS (
    INSERT INTO quota_warnings (key_id, month, percent, used, quota, mailed_at)
    SELECT key_id, %(month)s, percent, used, quota, CASE WHEN is_highest THEN NULL ELSE now() END FROM reached
    ON CONFLICT DO NOTHING
    RETURNING key_id, percent, used, quota, mailed_at
)
SELECT claimed.key_id, k.prefix, a.name, a.id, claimed.percent, claimed.used, claimed.quota
FROM claimed JOIN api_keys AS k ON k.id = claimed.key_id JOIN accounts AS a ON a.id = k.account_id
WHERE claimed.mailed_at IS NULL
ORDER BY claimed.key_id;

-- name: take_mails
-- A try is counted before it is made: should this node die over it, the next one waits as for a failure. What was not
-- sent within a week is no news any more.
UPDATE quota_warnings AS warning
SET tries = warning.tries + 1, try_at = now() + least(interval '1 hour', interval '1 minute' * 2 ^ warning.tries)
FROM api_keys AS k JOIN accounts AS a ON a.id = k.account_id
WHERE k.id = warning.key_id AND (warning.key_id, warning.month, warning.percent) IN (
    SELECT key_id, month, percent FROM quota_warnings
    WHERE mailed_at IS NULL AND try_at <= now() AND warned_at > now() - interval '7 days'
    ORDER BY try_at LIMIT %(count)s FOR UPDATE SKIP LOCKED
)
RETURNING warning.key_id, warning.month, warning.percent, warning.used, warning.quota, k.prefix, k.name, a.name, a.email;

-- name: mailed
UPDATE quota_warnings SET mailed_at = now() WHERE (key_id, month, percent) = (%s, %s, %s);
