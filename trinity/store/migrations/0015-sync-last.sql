-- The last run of the sync job that ended well, of whatever node: the next one is due by it.
CREATE TABLE sync_last (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    ended_at timestamptz NOT NULL,
    result jsonb NOT NULL
);
