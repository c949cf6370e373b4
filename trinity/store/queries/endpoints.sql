-- Where accounts want their events.

-- name: lock
-- Two that are made at one moment must not both find the last place free. The number is known to nobody else.
SELECT pg_advisory_xact_lock(521773621, coalesce(%(account_id)s::integer, 0));

-- name: insert
INSERT INTO push_endpoints (account_id, url, types, name, secret)
SELECT %(account_id)s, %(url)s, %(types)s::text[], %(name)s, %(secret)s
WHERE (SELECT count(*) FROM push_endpoints
    WHERE account_id IS NOT DISTINCT FROM %(account_id)s AND deleted_at IS NULL) < %(most)s
RETURNING id;

-- name: endpoints
SELECT endpoint.id, endpoint.url, endpoint.types, endpoint.state, endpoint.created_at, endpoint.changed_at,
    endpoint.name, account.name AS account,
    (SELECT count(*) FROM push_event_deliveries WHERE endpoint_id = endpoint.id AND state = 'waiting') AS waiting,
    endpoint.disabled_reason, endpoint.disabled_at, endpoint.failing_since, endpoint.failures,
    endpoint.last_success_at, endpoint.last_failure_at, endpoint.last_status, endpoint.last_error,
    CASE WHEN endpoint.old_secret_until > now() THEN endpoint.old_secret_until END AS old_secret_until
FROM push_endpoints AS endpoint LEFT JOIN accounts AS account ON account.id = endpoint.account_id
WHERE endpoint.deleted_at IS NULL
    AND (%(id)s::bigint IS NULL OR endpoint.id = %(id)s)
    AND (%(account_id)s::integer IS NULL OR endpoint.account_id = %(account_id)s)
ORDER BY endpoint.id DESC;

-- name: secret
SELECT secret, CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret
FROM push_endpoints WHERE id = %(id)s AND deleted_at IS NULL;

-- name: owner
SELECT account_id FROM push_endpoints WHERE id = %(id)s;

-- name: change
UPDATE push_endpoints SET url = coalesce(%(url)s, url), types = coalesce(%(types)s::text[], types),
    name = coalesce(%(name)s, name), changed_at = now()
WHERE id = %(id)s;

-- name: set_state
-- Whoever resumes one says that it works: what was counted against it is forgotten.
UPDATE push_endpoints SET state = %(state)s, disabled_reason = NULL, disabled_at = NULL, failing_since = NULL,
    failures = 0, changed_at = now()
WHERE id = %(id)s;

-- name: delete
UPDATE push_endpoints SET deleted_at = now(), changed_at = now() WHERE id = %(id)s;

-- name: rotate
UPDATE push_endpoints SET
    old_secret = CASE WHEN %(grace)s::interval > interval '0' THEN secret END,
    old_secret_until = CASE WHEN %(grace)s::interval > interval '0' THEN now() + %(grace)s END,
    secret = %(secret)s, secret_since = now(), changed_at = now()
WHERE id = %(id)s;

-- name: deliveries
SELECT event.uid AS event, event.type, event.occurred_at, delivery.state, delivery.attempts,
    CASE WHEN delivery.state = 'waiting' THEN delivery.next_at END AS next_at, delivery.last_attempt_at,
    delivery.last_status, delivery.last_error
FROM push_event_deliveries AS delivery JOIN push_events AS event ON event.id = delivery.event_id
WHERE delivery.endpoint_id = %(id)s
ORDER BY delivery.event_id DESC
LIMIT %(count)s;

-- name: replay
-- One event whatever became of it, or all that did not arrive since; what is under way is left alone.
UPDATE push_event_deliveries AS delivery
SET state = 'waiting', attempts = 0, next_at = now(), claimed_until = NULL
FROM push_events AS event
WHERE event.id = delivery.event_id AND delivery.endpoint_id = %(id)s
    AND (delivery.claimed_until IS NULL OR delivery.claimed_until <= now())
    AND CASE WHEN %(uid)s::text IS NOT NULL THEN event.uid = %(uid)s
        ELSE delivery.state IN ('failed', 'aborted') AND event.occurred_at >= %(since)s END;
