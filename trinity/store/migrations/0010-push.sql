-- Prices that are delivered: who wants which ones where (subscriptions), who sends them (shards), what became of each
-- (deliveries).

-- Counts the changes of all subscriptions. They are made one after the other (lock_push_subscriptions), so whoever has
-- read a revision will never see a smaller one.
CREATE SEQUENCE push_revisions;

CREATE TABLE push_subscriptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id integer NOT NULL REFERENCES accounts,
    key_id integer REFERENCES api_keys,      -- that made it; null: the operator
    name text NOT NULL DEFAULT '',
    target text NOT NULL,                    -- https://... or udp://host:port
    assets text[] NOT NULL CHECK (cardinality(assets) BETWEEN 1 AND 150),  -- in the order of the messages
    interval_s smallint NOT NULL DEFAULT 0 CHECK (interval_s = 0 OR interval_s BETWEEN 3 AND 60),          -- 0 is off,
    deviation_bps integer NOT NULL DEFAULT 0 CHECK (deviation_bps BETWEEN 0 AND 10000),                    -- here and below
    heartbeat_s integer NOT NULL DEFAULT 0 CHECK (heartbeat_s = 0 OR heartbeat_s BETWEEN 3 AND 86400),
    max_age_ms integer NOT NULL DEFAULT 0 CHECK (max_age_ms BETWEEN 0 AND 600000),
    min_sources smallint NOT NULL DEFAULT 0 CHECK (min_sources BETWEEN 0 AND 6),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason text,
    disabled_at timestamptz,
    secret text NOT NULL,                    -- whsec_...: messages are signed with it, so it is kept as it is
    secret_since timestamptz NOT NULL DEFAULT now(),
    old_secret text,                         -- signs as well until then
    old_secret_until timestamptz,
    revision bigint NOT NULL DEFAULT 0,      -- the trigger's
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,                  -- kept as long as its deliveries, which name it
    CHECK (interval_s > 0 OR deviation_bps > 0 OR heartbeat_s > 0),
    CHECK ((state = 'disabled') = (disabled_at IS NOT NULL)),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
CREATE INDEX push_subscriptions_revision ON push_subscriptions (revision);
CREATE INDEX push_subscriptions_account ON push_subscriptions (account_id, id) WHERE deleted_at IS NULL;
CREATE INDEX push_subscriptions_deleted ON push_subscriptions (deleted_at) WHERE deleted_at IS NOT NULL;

-- Before any row is locked, so that two transactions never wait for each other; until the end of the transaction. The
-- number is known to nobody else.
CREATE FUNCTION lock_push_subscriptions() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(521773620)
$$;
CREATE FUNCTION begin_push_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_push_subscriptions();
    RETURN NULL;
END $$;
CREATE FUNCTION stamp_push_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := nextval('push_revisions');
    NEW.changed_at := now();
    PERFORM pg_notify('push', NEW.id::text);
    RETURN NEW;
END $$;
CREATE TRIGGER push_subscriptions_begun BEFORE INSERT OR UPDATE ON push_subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION begin_push_change();
CREATE TRIGGER push_subscriptions_stamped BEFORE INSERT OR UPDATE ON push_subscriptions
    FOR EACH ROW EXECUTE FUNCTION stamp_push_change();

-- How a subscription's receiver fares, as the process that sends has seen it last.
CREATE TABLE push_states (
    subscription_id bigint PRIMARY KEY REFERENCES push_subscriptions ON DELETE CASCADE,
    node_id smallint,
    failing_since timestamptz,               -- null: the last message arrived
    failures integer NOT NULL DEFAULT 0,     -- one after the other
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    last_status integer,                     -- of HTTP; null: there was no answer
    last_error text,                         -- what of vocabulary.DELIVERY_OUTCOMES the last failure was
    last_sequence bigint,
    next_at timestamptz                      -- when it is tried again, while it fails
);
CREATE INDEX push_states_failing ON push_states (failing_since) WHERE failing_since IS NOT NULL;

-- Who serves which share: subscriptions whose id % 64 is `shard`.
CREATE TABLE push_shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    node_id smallint REFERENCES nodes,
    lease_until timestamptz,                 -- by the database's clock
    next_epoch bigint NOT NULL DEFAULT 1     -- the upper part of sequences: no epoch is given out twice
);
INSERT INTO push_shards (shard) SELECT generate_series(0, 63);

CREATE TABLE push_nodes (
    node_id smallint PRIMARY KEY REFERENCES nodes,
    seen_at timestamptz NOT NULL
);

-- One row a message's fate. Small numbers are indexes of the tuples in trinity/vocabulary.py.
CREATE TABLE push_deliveries (
    time timestamptz NOT NULL,               -- of its end
    delivery_id bigint NOT NULL,             -- unique on its node
    subscription_id bigint NOT NULL,
    sequence bigint NOT NULL,
    account_id integer NOT NULL,
    node_id smallint NOT NULL,
    latency_ns bigint NOT NULL,              -- of the last attempt
    late_us bigint NOT NULL,                 -- from when it was due until it was sent
    status smallint NOT NULL,                -- of HTTP; 0: there was no answer
    outcome smallint NOT NULL,
    attempts smallint NOT NULL,
    kind smallint NOT NULL,                  -- why it was sent
    assets smallint NOT NULL
) PARTITION BY RANGE (time);
CREATE INDEX push_deliveries_subscription ON push_deliveries (subscription_id, sequence);

-- What has been loaded, as usage_batches.
CREATE TABLE delivery_batches (LIKE usage_batches INCLUDING ALL);
ALTER TABLE delivery_batches ADD FOREIGN KEY (node_id) REFERENCES nodes;

-- A test or a replay that somebody asked for.
CREATE TABLE push_orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subscription_id bigint NOT NULL REFERENCES push_subscriptions ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('test', 'replay', 'replay_since')),
    argument jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    claimed_by smallint REFERENCES nodes,
    claimed_until timestamptz,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    result jsonb
);
CREATE INDEX push_orders_waiting ON push_orders (created_at) WHERE state IN ('waiting', 'running');
CREATE INDEX push_orders_subscription ON push_orders (subscription_id, created_at);
CREATE FUNCTION notify_push_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('push_orders', NEW.subscription_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER push_orders_made AFTER INSERT ON push_orders FOR EACH ROW EXECUTE FUNCTION notify_push_order();

-- First answers to requests with an Idempotency-Key, written in the transaction of what they did.
CREATE TABLE push_idempotency (
    account_id integer NOT NULL,             -- 0: the operator
    key text NOT NULL,
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),  -- SHA-256 of route and body
    status integer NOT NULL,
    body text NOT NULL,                      -- JSON, to the byte
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
CREATE INDEX push_idempotency_created ON push_idempotency (created_at);

-- An account that is deleted gets nothing more.
CREATE FUNCTION end_subscriptions_of_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE push_subscriptions SET deleted_at = NEW.deleted_at WHERE account_id = NEW.id AND deleted_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_subscriptions_ended AFTER UPDATE OF deleted_at ON accounts
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION end_subscriptions_of_account();

-- Secrets are in no entry: that one was made anew is seen by `secret_since`.
CREATE OR REPLACE FUNCTION audited_fields(fields jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT (fields - '{id,digest,changed_at,account_id,plan_id,secret,old_secret,revision}'::text[])
        || CASE WHEN fields ? 'account_id' THEN jsonb_build_object(
            'account', (SELECT name FROM accounts WHERE id = (fields ->> 'account_id')::integer)) ELSE '{}' END
        || CASE WHEN fields ? 'plan_id' THEN jsonb_build_object(
            'plan', (SELECT name FROM plans WHERE id = (fields ->> 'plan_id')::integer)) ELSE '{}' END
$$;
CREATE TRIGGER push_subscriptions_audited AFTER INSERT OR UPDATE OR DELETE ON push_subscriptions
    FOR EACH ROW WHEN (current_setting('trinity.actor', true) <> '') EXECUTE FUNCTION write_audit('subscription', 'id');
