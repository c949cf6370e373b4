-- A month's quota that is nearly or wholly used: one row a key, month and threshold in the whole cluster, whoever saw it
-- first. Its mail goes out from the one active node; a row without a time is still to be sent.
CREATE TABLE quota_warnings (
    key_id integer NOT NULL REFERENCES api_keys,
    month date NOT NULL,                     -- its first day (UTC)
    percent smallint NOT NULL,               -- of the quota
    used bigint NOT NULL,
    quota bigint NOT NULL,
    warned_at timestamptz NOT NULL DEFAULT now(),
    mailed_at timestamptz,                   -- also of what a higher threshold made needless
    tries smallint NOT NULL DEFAULT 0,
    try_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, month, percent)
);
CREATE INDEX quota_warnings_waiting ON quota_warnings (try_at) WHERE mailed_at IS NULL;
