-- Events of accounts and alarms of nodes, and where customers want them: a durable queue. What an event tells of and its
-- rows here are one transaction.

CREATE TABLE push_endpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id integer REFERENCES accounts,  -- null: the operator's, who hears of the nodes
    url text NOT NULL,
    types text[] NOT NULL DEFAULT '{}',      -- of these alone; empty: all
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason text,
    disabled_at timestamptz,
    secret text NOT NULL,
    old_secret text,                         -- signs as well until then
    old_secret_until timestamptz,
    failing_since timestamptz,               -- of the first failure since anything arrived
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    last_status smallint,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX push_endpoints_account ON push_endpoints (account_id) WHERE deleted_at IS NULL;

CREATE TABLE push_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid text NOT NULL UNIQUE,                -- the webhook-id, the same on every try
    account_id integer REFERENCES accounts,  -- null: the operator's
    type text NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX push_events_account ON push_events (account_id, id);
CREATE INDEX push_events_time ON push_events (occurred_at);

CREATE TABLE push_event_deliveries (
    event_id bigint NOT NULL REFERENCES push_events ON DELETE CASCADE,
    endpoint_id bigint NOT NULL REFERENCES push_endpoints,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'aborted')),
    attempts smallint NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,               -- until then one node's worker is at it
    last_attempt_at timestamptz,
    last_status smallint,
    last_error text,
    PRIMARY KEY (event_id, endpoint_id)
);
CREATE INDEX push_event_deliveries_waiting ON push_event_deliveries (endpoint_id, next_at) WHERE state = 'waiting';
CREATE INDEX push_event_deliveries_endpoint ON push_event_deliveries (endpoint_id, event_id);

-- What the owner is also told by mail; a row without a time is still to be sent.
CREATE TABLE push_event_mails (
    event_id bigint PRIMARY KEY REFERENCES push_events ON DELETE CASCADE,
    mailed_at timestamptz,
    tries smallint NOT NULL DEFAULT 0,
    try_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX push_event_mails_waiting ON push_event_mails (try_at) WHERE mailed_at IS NULL;
