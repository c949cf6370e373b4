-- Subscriptions: what customers and the operator ask and change, and what the process that sends is told.

-- name: lock
-- Changes of subscriptions are made one after the other, until the end of the transaction (0010-push.sql).
SELECT lock_push_subscriptions();

-- name: lock_account
-- By its number or its name; it is not deleted meanwhile.
SELECT id FROM accounts WHERE (id = %(id)s OR name = %(name)s) AND deleted_at IS NULL FOR SHARE;

-- name: count
-- Of all accounts, and of one.
SELECT count(*), count(*) FILTER (WHERE account_id = %(account_id)s)
FROM push_subscriptions WHERE deleted_at IS NULL;

-- name: insert
INSERT INTO push_subscriptions (
    account_id, key_id, name, target, assets, interval_s, deviation_bps, heartbeat_s, max_age_ms, min_sources, secret
)
VALUES (
    %(account_id)s, %(key_id)s, %(name)s, %(target)s, %(assets)s, %(interval_s)s, %(deviation_bps)s, %(heartbeat_s)s,
    %(max_age_ms)s, %(min_sources)s, %(secret)s
)
RETURNING id;

-- name: find
-- Of one account, or of any.
SELECT id, account_id, key_id, name, target, assets, interval_s, deviation_bps, heartbeat_s, max_age_ms, min_sources,
    state, disabled_reason, disabled_at, secret, old_secret, old_secret_until, revision, created_at, changed_at, deleted_at
FROM push_subscriptions
WHERE id = %(id)s AND (%(account_id)s::integer IS NULL OR account_id = %(account_id)s) AND deleted_at IS NULL;

-- name: secret
-- For its owner.
SELECT secret, CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret
FROM push_subscriptions WHERE id = %(id)s AND account_id = %(account_id)s AND deleted_at IS NULL;

-- name: reports
-- For people: of one account or of all, in the order of their numbers; one alone by its number.
SELECT s.id, a.name AS account, s.key_id, s.name, s.target, s.assets, s.interval_s, s.deviation_bps, s.heartbeat_s,
    s.max_age_ms, s.min_sources, s.state, s.disabled_reason, s.disabled_at, s.secret_since,
    CASE WHEN s.old_secret_until > now() THEN s.old_secret_until END AS old_secret_until, s.created_at, s.changed_at,
    h.failing_since, coalesce(h.failures, 0) AS failures, h.last_attempt_at, h.last_success_at, h.last_status,
    h.last_error, h.last_sequence, h.next_at
FROM push_subscriptions AS s
JOIN accounts AS a ON a.id = s.account_id
LEFT JOIN push_states AS h ON h.subscription_id = s.id
WHERE s.deleted_at IS NULL
    AND (%(account_id)s::integer IS NULL OR s.account_id = %(account_id)s)
    AND (%(account)s::text IS NULL OR a.name = %(account)s)
    AND (%(id)s::bigint IS NULL OR s.id = %(id)s)
    AND s.id > %(after)s
ORDER BY s.id
LIMIT %(count)s;

-- name: change
UPDATE push_subscriptions SET
    name = %(name)s, target = %(target)s, assets = %(assets)s, interval_s = %(interval_s)s,
    deviation_bps = %(deviation_bps)s, heartbeat_s = %(heartbeat_s)s, max_age_ms = %(max_age_ms)s,
    min_sources = %(min_sources)s
WHERE id = %(id)s;

-- name: set_state
-- Active again, it is no longer disabled.
UPDATE push_subscriptions SET
    state = %(state)s,
    disabled_reason = %(reason)s,
    disabled_at = CASE WHEN %(state)s = 'disabled' THEN now() END
WHERE id = %(id)s;

-- name: forget_failures
UPDATE push_states SET failing_since = NULL, failures = 0, next_at = NULL WHERE subscription_id = %(id)s;

-- name: rotate
-- Without a grace the old secret ends at once.
UPDATE push_subscriptions SET
    old_secret = CASE WHEN %(grace)s > interval '0' THEN secret END,
    old_secret_until = CASE WHEN %(grace)s > interval '0' THEN now() + %(grace)s END,
    secret = %(secret)s,
    secret_since = now()
WHERE id = %(id)s;

-- name: delete
UPDATE push_subscriptions SET deleted_at = now() WHERE id = %(id)s;

-- name: changed_since
-- Deleted ones as well, as long as they are kept.
SELECT id, account_id, key_id, name, target, assets, interval_s, deviation_bps, heartbeat_s, max_age_ms, min_sources,
    state, disabled_reason, disabled_at, secret, old_secret, old_secret_until, revision, created_at, changed_at, deleted_at
FROM push_subscriptions
WHERE revision > %(revision)s
ORDER BY revision;

-- name: deliveries
-- Of one subscription, the newest first: below a sequence, or of one.
SELECT d.time, d.subscription_id, d.sequence, d.latency_ns, d.late_us, d.status, d.outcome, d.attempts, d.kind,
    d.assets, coalesce(n.name, '') AS node
FROM push_deliveries AS d
LEFT JOIN nodes AS n ON n.id = d.node_id
WHERE d.subscription_id = %(id)s
    AND d.sequence < coalesce(%(before)s::bigint, 9223372036854775807)
    AND (%(sequence)s::bigint IS NULL OR d.sequence = %(sequence)s)
    AND d.outcome = ANY (%(outcomes)s::smallint[])
ORDER BY d.sequence DESC
LIMIT %(count)s;

-- name: waiting_orders
SELECT count(*)
FROM push_orders AS o JOIN push_subscriptions AS s ON s.id = o.subscription_id
WHERE o.state IN ('waiting', 'running') AND o.expires_at > now() AND s.account_id = %(account_id)s;

-- name: delete_ended
-- What was deleted before then; its deliveries are gone by now.
DELETE FROM push_subscriptions
WHERE id = ANY(ARRAY(
    SELECT id FROM push_subscriptions WHERE deleted_at < %(before)s ORDER BY deleted_at LIMIT %(count)s
));

-- name: try_idempotency
-- False while another request with this key is being answered.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(key)s, %(account_id)s));

-- name: first_answer
SELECT request_digest, status, body FROM push_idempotency
WHERE account_id = %(account_id)s AND key = %(key)s AND created_at > now() - %(kept)s;

-- name: keep_answer
-- In the place of one that is too old.
INSERT INTO push_idempotency (account_id, key, request_digest, status, body)
VALUES (%(account_id)s, %(key)s, %(request_digest)s, %(status)s, %(body)s)
ON CONFLICT (account_id, key) DO UPDATE SET
    request_digest = excluded.request_digest, status = excluded.status, body = excluded.body, created_at = now();

-- name: delete_old_answers
DELETE FROM push_idempotency
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM push_idempotency WHERE created_at < %(before)s ORDER BY created_at LIMIT %(count)s
));

-- name: secrets_of
-- What the messages and events of an account are signed with now.
SELECT secret, CASE WHEN old_secret_until > now() THEN old_secret END FROM push_subscriptions
WHERE account_id = (SELECT id FROM accounts WHERE name = %(account)s) AND deleted_at IS NULL
UNION ALL
SELECT secret, CASE WHEN old_secret_until > now() THEN old_secret END FROM push_endpoints
WHERE account_id = (SELECT id FROM accounts WHERE name = %(account)s) AND deleted_at IS NULL;

-- name: ever_made
SELECT EXISTS (SELECT FROM push_subscriptions WHERE account_id = %(account_id)s);
