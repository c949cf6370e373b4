-- Events of accounts and alarms of nodes, and where they go: a durable queue. What an event tells of and its rows here
-- are one transaction.

-- Where events go.
CREATE TABLE push_endpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id integer REFERENCES accounts,  -- null: the operator's
    name text NOT NULL DEFAULT '',
    url text NOT NULL,
    types text[] NOT NULL DEFAULT '{}',      -- of events; empty: all
    secret text NOT NULL,
    secret_since timestamptz NOT NULL DEFAULT now(),
    old_secret text,
    old_secret_until timestamptz,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason text,
    disabled_at timestamptz,
    failing_since timestamptz,
    failures integer NOT NULL DEFAULT 0,
    last_failure_at timestamptz,
    last_success_at timestamptz,
    last_status integer,                     -- of HTTP; null: there was no answer
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
CREATE INDEX push_endpoints_account ON push_endpoints (account_id) WHERE deleted_at IS NULL;

CREATE TABLE push_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid text NOT NULL UNIQUE,                -- msg_...: the webhook-id of every attempt
    account_id integer REFERENCES accounts,  -- null: the operator's
    type text NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX push_events_account ON push_events (account_id, id);
CREATE INDEX push_events_occurred ON push_events (occurred_at);

CREATE TABLE push_event_deliveries (
    event_id bigint NOT NULL REFERENCES push_events ON DELETE CASCADE,
    endpoint_id bigint NOT NULL REFERENCES push_endpoints ON DELETE CASCADE,
    attempts smallint NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'aborted')),
    last_attempt_at timestamptz,
    last_status integer,
    last_error text,
    claimed_until timestamptz,               -- until then one node's worker is at it
    PRIMARY KEY (event_id, endpoint_id)
);
CREATE INDEX push_event_deliveries_waiting ON push_event_deliveries (endpoint_id, next_at) WHERE state = 'waiting';
CREATE INDEX push_event_deliveries_endpoint ON push_event_deliveries (endpoint_id, event_id);

-- What the owner is told by mail as well; a row without a time is still to be sent.
CREATE TABLE push_event_mails (
    event_id bigint PRIMARY KEY REFERENCES push_events ON DELETE CASCADE,
    mailed_at timestamptz,
    tries smallint NOT NULL DEFAULT 0,
    try_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX push_event_mails_waiting ON push_event_mails (try_at) WHERE mailed_at IS NULL;

-- An account that is deleted is told nothing more.
CREATE FUNCTION end_endpoints_of_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE push_event_deliveries SET state = 'failed', last_error = 'the account was deleted'
    WHERE state = 'waiting' AND endpoint_id IN (SELECT id FROM push_endpoints WHERE account_id = NEW.id);
    UPDATE push_endpoints SET deleted_at = NEW.deleted_at WHERE account_id = NEW.id AND deleted_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_endpoints_ended AFTER UPDATE OF deleted_at ON accounts
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION end_endpoints_of_account();
CREATE TRIGGER push_endpoints_audited AFTER INSERT OR UPDATE OR DELETE ON push_endpoints
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('endpoint', 'id');
