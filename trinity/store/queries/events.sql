-- Events, the queue of their deliveries, and the mails of some.

-- name: emit
-- The event, a delivery for each endpoint that wants it, and its mail. One that stands already is left as it is. Who is
-- disabled can have it replayed later.
WITH event AS (
    INSERT INTO push_events (uid, account_id, type, data)
    VALUES (%(uid)s, %(account_id)s, %(type)s, %(data)s)
    ON CONFLICT (uid) DO NOTHING
    RETURNING id, account_id, type
), deliveries AS (
    INSERT INTO push_event_deliveries (event_id, endpoint_id, state, last_error)
    SELECT event.id, endpoint.id,
        CASE WHEN endpoint.state = 'disabled' THEN 'failed' ELSE 'waiting' END,
        CASE WHEN endpoint.state = 'disabled' THEN 'the endpoint was disabled' END
    FROM event JOIN push_endpoints AS endpoint ON endpoint.account_id IS NOT DISTINCT FROM event.account_id
    WHERE endpoint.deleted_at IS NULL AND CASE WHEN %(endpoint_id)s::bigint IS NOT NULL
        THEN endpoint.id = %(endpoint_id)s
        ELSE endpoint.types = '{}' OR event.type = ANY (endpoint.types) END
    RETURNING 1
), mail AS (
    INSERT INTO push_event_mails (event_id) SELECT id FROM event WHERE %(is_mailed)s RETURNING 1
)
SELECT pg_notify('push_events', '') FROM event;

-- name: feed
-- The newest first. `all` is the operator's view: of every account, and the nodes' own.
SELECT event.id, event.uid, event.type, event.occurred_at, event.data, account.name AS account
FROM push_events AS event LEFT JOIN accounts AS account ON account.id = event.account_id
WHERE (%(all)s OR event.account_id = %(account_id)s)
    AND (%(types)s::text[] IS NULL OR event.type = ANY (%(types)s))
    AND (%(before_id)s::bigint IS NULL OR event.id < %(before_id)s)
ORDER BY event.id DESC
LIMIT %(count)s;

-- name: claim
-- What is due, by its endpoint, so that one that hangs holds no more than `each` of the places. Who is at one already
-- keeps it until the claim ends.
UPDATE push_event_deliveries AS delivery
SET claimed_until = clock_timestamp() + %(claim)s::interval
FROM push_events AS event, push_endpoints AS endpoint
WHERE event.id = delivery.event_id AND endpoint.id = delivery.endpoint_id
    AND (delivery.event_id, delivery.endpoint_id) IN (
        SELECT due.event_id, due.endpoint_id
        FROM push_endpoints AS wanted
        CROSS JOIN LATERAL (
            SELECT event_id, endpoint_id, next_at FROM push_event_deliveries
            WHERE endpoint_id = wanted.id AND state = 'waiting' AND next_at <= now()
                AND (claimed_until IS NULL OR claimed_until <= now())
            ORDER BY next_at
            LIMIT greatest(0, %(each)s - (
                SELECT count(*) FROM push_event_deliveries
                WHERE endpoint_id = wanted.id AND state = 'waiting' AND claimed_until > now()
            ))
            FOR UPDATE SKIP LOCKED
        ) AS due
        WHERE wanted.state = 'active' AND wanted.deleted_at IS NULL
        ORDER BY due.next_at
        LIMIT %(count)s
    )
RETURNING delivery.event_id, delivery.endpoint_id, delivery.claimed_until, delivery.attempts, event.uid, event.type,
    event.data, event.occurred_at, endpoint.account_id, endpoint.url, endpoint.secret,
    CASE WHEN endpoint.old_secret_until > now() THEN endpoint.old_secret END, endpoint.failing_since IS NOT NULL;

-- name: settle
-- What came of a try. That it arrived counts whoever is at it by now; anything else only of whoever has the claim.
UPDATE push_event_deliveries
SET state = %(state)s, attempts = attempts + 1, claimed_until = NULL, last_attempt_at = now(),
    last_status = %(status)s, last_error = %(error)s, next_at = now() + %(next_in)s::interval
WHERE event_id = %(event_id)s AND endpoint_id = %(endpoint_id)s AND state = 'waiting'
    AND (claimed_until = %(claimed_until)s OR %(state)s = 'delivered')
RETURNING 1;

-- name: note
-- The endpoint's own state after a try; the answer says whether it has failed for too long.
UPDATE push_endpoints
SET last_status = %(status)s, last_error = %(error)s,
    last_success_at = CASE WHEN %(is_good)s THEN now() ELSE last_success_at END,
    last_failure_at = CASE WHEN %(is_good)s THEN last_failure_at ELSE now() END,
    failing_since = CASE WHEN NOT %(is_good)s THEN coalesce(failing_since, now()) END,
    failures = CASE WHEN %(is_good)s THEN 0 ELSE failures + 1 END
WHERE id = %(endpoint_id)s
RETURNING failing_since <= now() - %(disable_after)s::interval;

-- name: give_up
-- What waits for an endpoint that was disabled; a replay brings it back.
UPDATE push_event_deliveries
SET state = 'failed', claimed_until = NULL, last_error = coalesce(last_error, 'the endpoint was disabled')
WHERE endpoint_id = %(endpoint_id)s AND state = 'waiting';

-- name: take_mails
-- A try is counted before it is made: should this node die over it, the next one waits as for a failure. What was not
-- sent within a week is no news any more.
UPDATE push_event_mails AS mail
SET tries = mail.tries + 1, try_at = now() + least(interval '1 hour', interval '1 minute' * 2 ^ mail.tries)
FROM push_events AS event LEFT JOIN accounts AS account ON account.id = event.account_id
WHERE event.id = mail.event_id AND mail.event_id IN (
    SELECT waiting.event_id FROM push_event_mails AS waiting JOIN push_events AS told ON told.id = waiting.event_id
    WHERE waiting.mailed_at IS NULL AND waiting.try_at <= now() AND told.occurred_at > now() - interval '7 days'
    ORDER BY waiting.try_at LIMIT %(count)s FOR UPDATE OF waiting SKIP LOCKED
)
RETURNING mail.event_id, event.type, event.data, event.occurred_at, account.name, account.email;

-- name: mailed
UPDATE push_event_mails SET mailed_at = now() WHERE event_id = %s;

-- name: now
SELECT now();

-- name: delete_old
-- What is over age; one that still waits for its endpoint stays.
DELETE FROM push_events WHERE id = ANY (ARRAY(
    SELECT event.id FROM push_events AS event
    WHERE event.occurred_at < %(before)s
        AND NOT EXISTS (SELECT FROM push_event_deliveries WHERE event_id = event.id AND state = 'waiting')
    ORDER BY event.occurred_at LIMIT %(count)s
));

-- name: disable
UPDATE push_endpoints
SET state = 'disabled', disabled_reason = %(reason)s, disabled_at = now(), changed_at = now()
WHERE id = %(endpoint_id)s AND state = 'active' AND deleted_at IS NULL
RETURNING 1;

-- name: last_alarms
-- What was told last of each thing of a node.
SELECT DISTINCT ON (thing) thing, type
FROM (
    SELECT coalesce(data ->> 'exchange', split_part(substr(type, length('node.') + 1), '_', 1)) AS thing, type, id
    FROM push_events
    WHERE account_id IS NULL AND type LIKE 'node.%%' AND data ->> 'node' = %(node)s
) AS told
ORDER BY thing, id DESC;
