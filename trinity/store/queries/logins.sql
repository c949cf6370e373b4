-- People who sign in: what the operator's commands ask and change, and whom the reporting service knows.

-- name: create
INSERT INTO logins (name, role, digest) VALUES (%(name)s, %(role)s, %(digest)s) ON CONFLICT (name) DO NOTHING RETURNING id;

-- name: list
SELECT id, name, role, created_at, revoked_at FROM logins ORDER BY id;

-- name: revoke
UPDATE logins SET revoked_at = now() WHERE name = %(name)s AND revoked_at IS NULL;

-- name: by_digest
SELECT digest, name, role, revoked_at IS NOT NULL FROM logins WHERE digest = %(digest)s;
