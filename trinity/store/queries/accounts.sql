-- Customers: what the operator's commands ask and change.

-- name: upsert
-- Empty values leave what is there; no row for an account that was deleted.
INSERT INTO accounts (name, email, language)
VALUES (%(name)s, %(email)s, coalesce(%(language)s, 'en'))
ON CONFLICT (name) DO UPDATE SET
    email = coalesce(%(email)s, accounts.email),
    language = coalesce(%(language)s, accounts.language)
WHERE accounts.deleted_at IS NULL
RETURNING id;

-- name: accounts
-- Of one name, or all.
SELECT a.id, a.name, a.email, a.language, count(k.id) AS keys, a.created_at, a.deleted_at
FROM accounts AS a LEFT JOIN api_keys AS k ON k.account_id = a.id
WHERE (%(name)s::text IS NULL OR a.name = %(name)s) AND (%(with_deleted)s OR a.deleted_at IS NULL)
GROUP BY a.id
ORDER BY a.id;

-- name: lock
SELECT id, deleted_at FROM accounts WHERE name = %(name)s FOR UPDATE;

-- name: rename
UPDATE accounts SET name = %(name)s WHERE id = %(id)s;

-- name: live_keys
-- What can still ask, or can be resumed.
SELECT id FROM api_keys
WHERE account_id = %(id)s AND state <> 'revoked' AND (expires_at IS NULL OR expires_at > now())
ORDER BY id;

-- name: revoke_keys
UPDATE api_keys SET state = 'revoked' WHERE id = ANY(%(ids)s);

-- name: delete
-- How to reach somebody is kept no longer than it is needed.
UPDATE accounts SET deleted_at = now(), email = NULL WHERE id = %(id)s;
