-- What customers pay: prices of plans, and the bill of a month. docs/billing.md has the rules in words.

-- name: set_price
INSERT INTO plan_prices (plan_id, since, price, currency)
SELECT id, coalesce(%(since)s, (now() AT TIME ZONE 'UTC')::date), %(price)s, %(currency)s FROM plans WHERE name = %(name)s
ON CONFLICT (plan_id, since) DO UPDATE SET price = excluded.price, currency = excluded.currency
RETURNING since;

-- name: bill
-- One row an account and plan of the month from %(start)s until %(end)s; of %(account_ids)s, or of all.
-- A key is for the whole month on the plan that it was on at the month's first second, or, made later, on its first
-- one. A price and a quota are taken by the same rule.
WITH terms AS (
    SELECT DISTINCT ON (key_id) key_id, account_id, plan_id, monthly_quota, is_revoked, since
    FROM key_terms
    WHERE since < %(end)s AND (%(account_ids)s::integer[] IS NULL OR account_id = ANY(%(account_ids)s))
    ORDER BY key_id, since <= %(start)s DESC, CASE WHEN since <= %(start)s THEN since END DESC, since
), last_terms AS (
    SELECT DISTINCT ON (key_id) key_id, plan_id FROM key_terms WHERE since < %(end)s ORDER BY key_id, since DESC
), used AS (
    SELECT key_id, sum(requests)::bigint AS answers, sum(billable(lookups, status))::bigint AS billable,
           min(start) AS first_start, max(start) AS last_start
    FROM usage_day
    WHERE start >= %(start)s AND start < %(end)s AND key_id <> 0
    GROUP BY key_id
), keys AS (
    SELECT terms.account_id, terms.plan_id, nullif(last_terms.plan_id, terms.plan_id) AS next_plan_id,
           NOT terms.is_revoked AND (key.expires_at IS NULL OR key.expires_at > %(start)s) AS is_good,
           coalesce(terms.monthly_quota, plan.monthly_quota, 0) AS quota, began.since,
           used.answers, used.billable, used.first_start, used.last_start
    FROM terms
    JOIN last_terms USING (key_id)
    LEFT JOIN api_keys AS key ON key.id = terms.key_id
    LEFT JOIN used USING (key_id)
    LEFT JOIN LATERAL (
        SELECT monthly_quota FROM plan_terms AS kept
        WHERE kept.plan_id = terms.plan_id AND kept.since < %(end)s
        ORDER BY kept.since <= %(start)s DESC, CASE WHEN kept.since <= %(start)s THEN kept.since END DESC, kept.since
        LIMIT 1
    ) AS plan ON true
    -- Since when it is on this plan: after the last time that it was on another.
    CROSS JOIN LATERAL (
        SELECT min(same.since) AS since FROM key_terms AS same
        WHERE same.key_id = terms.key_id AND same.since > coalesce(
            (SELECT max(other.since) FROM key_terms AS other
             WHERE other.key_id = terms.key_id AND other.plan_id <> terms.plan_id AND other.since < terms.since),
            '-infinity'
        )
    ) AS began
), lines AS (
    SELECT account_id, plan_id, count(*) AS keys, bool_or(is_good) AS is_good, min(since) AS since,
           -- The largest quota of its keys; 0 is none, and so larger than any.
           CASE WHEN min(quota) > 0 THEN max(quota) END AS included,
           coalesce(sum(answers), 0)::bigint AS answers, coalesce(sum(billable), 0)::bigint AS billable,
           min(first_start) AS first_start, max(last_start) AS last_start, min(next_plan_id) AS next_plan_id
    FROM keys
    WHERE is_good OR answers > 0
    GROUP BY account_id, plan_id
)
SELECT to_char(%(start)s::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM'), account.id, account.name, plan.name,
       (line.since AT TIME ZONE 'UTC')::date, coalesce(line.keys, 0), price.price, price.currency, price.since,
       CASE WHEN line.is_good THEN price.price WHEN price.price IS NOT NULL THEN 0 END, line.included,
       coalesce(line.answers, 0), coalesce(line.billable, 0),
       CASE WHEN line.included < line.billable THEN line.billable - line.included ELSE 0 END,
       (line.first_start AT TIME ZONE 'UTC')::date, (line.last_start AT TIME ZONE 'UTC')::date, next_plan.name
FROM accounts AS account
LEFT JOIN lines AS line ON line.account_id = account.id
LEFT JOIN plans AS plan ON plan.id = line.plan_id
LEFT JOIN plans AS next_plan ON next_plan.id = line.next_plan_id
LEFT JOIN LATERAL (
    SELECT price, currency, since FROM plan_prices AS kept
    WHERE kept.plan_id = line.plan_id AND kept.since < (%(end)s::timestamptz AT TIME ZONE 'UTC')::date
    ORDER BY kept.since <= (%(start)s::timestamptz AT TIME ZONE 'UTC')::date DESC,
             CASE WHEN kept.since <= (%(start)s::timestamptz AT TIME ZONE 'UTC')::date THEN kept.since END DESC, kept.since
    LIMIT 1
) AS price ON true
WHERE account.created_at < %(end)s AND (line.account_id IS NOT NULL OR account.deleted_at >= %(start)s IS NOT FALSE)
  AND (%(account_ids)s::integer[] IS NULL OR account.id = ANY(%(account_ids)s))
ORDER BY lower(account.name), account.name, account.id, plan.id;

-- name: accounts
SELECT account.id, account.name, string_agg(DISTINCT plan.name, ', ' ORDER BY plan.name), count(key.id),
       (account.created_at AT TIME ZONE 'UTC')::date
FROM accounts AS account
LEFT JOIN api_keys AS key ON key.account_id = account.id AND key.state <> 'revoked'
    AND (key.expires_at IS NULL OR key.expires_at > now())
LEFT JOIN plans AS plan ON plan.id = key.plan_id
WHERE account.deleted_at IS NULL AND (%(account_ids)s::integer[] IS NULL OR account.id = ANY(%(account_ids)s))
GROUP BY account.id
ORDER BY lower(account.name), account.name, account.id;

-- name: plans
SELECT plan.name, plan.monthly_quota, kept.price, kept.currency, kept.since
FROM plans AS plan LEFT JOIN plan_prices AS kept ON kept.plan_id = plan.id
ORDER BY plan.id, kept.since;
