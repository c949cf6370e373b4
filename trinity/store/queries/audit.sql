-- Who changed what: said before a change, written by the tables' triggers, read by whoever asks.

-- name: act_as
-- For this transaction alone.
SELECT
    set_config('trinity.actor', %(actor)s, true), set_config('trinity.via', %(via)s, true),
    set_config('trinity.address', %(address)s, true), set_config('trinity.action', %(action)s, true);

-- name: entries
-- The newest first; empty values select all. An amount is text, with the digits that it was written with.
SELECT id, time, actor, via, host(address) AS address, action, kind, name,
    before || CASE WHEN before ? 'price' THEN jsonb_build_object('price', before ->> 'price') ELSE '{}' END AS before,
    after || CASE WHEN after ? 'price' THEN jsonb_build_object('price', after ->> 'price') ELSE '{}' END AS after
FROM audit_log
WHERE (%(before_id)s::bigint IS NULL OR id < %(before_id)s)
    AND (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(kind)s::text IS NULL OR kind = %(kind)s)
    AND (%(name)s::text IS NULL OR name = %(name)s)
ORDER BY id DESC
LIMIT %(count)s;
