-- Restores that proved a backup: one row each. The newest says when the next one is due, on whatever node.

CREATE TABLE drills (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text NOT NULL DEFAULT 'running' CHECK (outcome IN ('running', 'good', 'different', 'failed')),
    restored_to timestamptz,
    base_age_seconds double precision,       -- of the newest base, when the drill began
    lag_seconds double precision,            -- of the newest moment that could be restored by then
    rpo_seconds double precision,            -- from a commit until it could be restored
    rto_seconds double precision,            -- from the first byte that was fetched to the first answer
    requests bigint,                         -- single requests that both databases have
    differences bigint,
    detail text,                             -- what differs or failed
    CHECK ((outcome = 'running') = (ended_at IS NULL))
);
