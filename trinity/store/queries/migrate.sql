-- name: limit_wait
-- For the advisory lock below, in milliseconds.
SELECT set_config('lock_timeout', %s, false);

-- name: lock
SELECT pg_advisory_lock(%s);

-- name: has_table
SELECT to_regclass('applied_migrations') IS NOT NULL;

-- name: create_table
CREATE TABLE IF NOT EXISTS applied_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: applied
SELECT name, digest FROM applied_migrations;

-- name: mark
INSERT INTO applied_migrations (name, digest) VALUES (%s, %s);
