-- People who sign in without holding ADMIN_KEY, and what they may do.

CREATE TABLE logins (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('billing', 'operator')),
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),  -- SHA-256 of the secret; the secret is nowhere
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TRIGGER logins_audited AFTER INSERT OR UPDATE OR DELETE ON logins
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('login', 'name');
