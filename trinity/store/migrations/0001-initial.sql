-- The source of truth: who may ask (accounts, plans, keys, blocks), what was asked (usage), what was answered (prices).

CREATE TABLE nodes (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid uuid NOT NULL UNIQUE,               -- of the node's data directory
    name text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE assets (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE accounts (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    email text,
    language text NOT NULL DEFAULT 'en',     -- BCP 47, what the customer prefers to read
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE plans (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    rate_per_second integer NOT NULL CHECK (rate_per_second >= 0),  -- 0: no limit
    burst integer NOT NULL CHECK (burst >= 0),
    monthly_quota bigint NOT NULL CHECK (monthly_quota >= 0),       -- 0: no quota
    dry_run boolean NOT NULL DEFAULT false,  -- count what would be refused instead of refusing it
    CHECK (rate_per_second = 0 OR burst > 0)
);

INSERT INTO plans (name, rate_per_second, burst, monthly_quota) VALUES
    ('free', 10, 20, 1000000),
    ('standard', 100, 200, 100000000),
    ('pro', 1000, 2000, 0),
    ('unlimited', 0, 0, 0);

CREATE TABLE api_keys (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id integer NOT NULL REFERENCES accounts,
    plan_id smallint NOT NULL REFERENCES plans,
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),  -- SHA-256 of the key; the key is nowhere
    prefix text NOT NULL,                    -- the key's first characters, to recognise it by
    name text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'revoked')),
    rate_per_second integer CHECK (rate_per_second >= 0),  -- null: the plan's
    burst integer CHECK (burst > 0),
    monthly_quota bigint CHECK (monthly_quota >= 0),
    expires_at timestamptz,                  -- set by a rotation: the old key works until then
    replaced_by integer REFERENCES api_keys,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_account ON api_keys (account_id);
CREATE INDEX api_keys_changed ON api_keys (changed_at);

CREATE TABLE blocks (
    network cidr PRIMARY KEY,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

CREATE TABLE application_parameters (
    name text PRIMARY KEY,
    value jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Every change of who may ask wakes every node: which table, how, and since when (microseconds since 1970). A row's
-- changed_at is the start of its transaction, so "changed since then" finds what a long transaction changed as well.
CREATE FUNCTION notify_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access', TG_TABLE_NAME || ' ' || TG_OP || ' ' || (extract(epoch FROM now()) * 1000000)::bigint);
    RETURN NULL;
END $$;
CREATE FUNCTION stamp_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER api_keys_stamped BEFORE INSERT OR UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION stamp_change();
CREATE TRIGGER api_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION notify_access();
CREATE TRIGGER plans_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON plans
    FOR EACH STATEMENT EXECUTE FUNCTION notify_access();
CREATE TRIGGER blocks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON blocks
    FOR EACH STATEMENT EXECUTE FUNCTION notify_access();

-- One row an answer, refusals included. Small numbers are indexes of the tuples in trinity/outcomes.py.
CREATE TABLE usage_log (
    time timestamptz NOT NULL,
    request_id bigint NOT NULL,              -- unique on its node
    address inet NOT NULL,                   -- IPv4 as ::ffff:a.b.c.d
    key_id integer NOT NULL,                 -- 0: no key
    latency_ns bigint NOT NULL,
    node_id smallint NOT NULL,
    asset_id smallint NOT NULL,              -- 0: none, or several
    assets smallint NOT NULL,                -- prices looked up
    status smallint NOT NULL,
    protocol smallint NOT NULL,
    source smallint NOT NULL,
    code smallint NOT NULL
) PARTITION BY RANGE (time);
CREATE INDEX usage_log_time ON usage_log (time);
CREATE INDEX usage_log_key ON usage_log (key_id, time);
-- Errors are few and looked for; a good answer costs this index nothing.
CREATE INDEX usage_log_error ON usage_log (key_id, time) INCLUDE (code, status, protocol) WHERE code <> 0;

-- Exact sums by time, key, asset, protocol and status; the hour and the day are sums of the minutes, kept at hand.
CREATE TABLE usage_minute (
    start timestamptz NOT NULL,
    key_id integer NOT NULL,
    asset_id smallint NOT NULL,
    protocol smallint NOT NULL,
    status smallint NOT NULL,
    node_id smallint NOT NULL,
    requests bigint NOT NULL,
    lookups bigint NOT NULL,
    latency_sum_ns bigint NOT NULL,
    latency_buckets bigint[] NOT NULL,       -- outcomes.LATENCY_BOUNDS_NS and one more without a bound
    PRIMARY KEY (start, key_id, asset_id, protocol, status, node_id)
) PARTITION BY RANGE (start);
CREATE TABLE usage_hour (LIKE usage_minute INCLUDING ALL);
CREATE TABLE usage_day (LIKE usage_minute INCLUDING ALL);

-- The same over all keys and nodes: what the operator looks at. Kept by the database itself, in the transaction that
-- changes the hours and days, so that they always agree.
CREATE TABLE usage_hour_all (
    start timestamptz NOT NULL,
    asset_id smallint NOT NULL,
    protocol smallint NOT NULL,
    status smallint NOT NULL,
    node_id smallint NOT NULL,               -- so that two nodes never wait for each other's rows
    requests bigint NOT NULL,
    lookups bigint NOT NULL,
    latency_sum_ns bigint NOT NULL,
    latency_buckets bigint[] NOT NULL,
    PRIMARY KEY (start, asset_id, protocol, status, node_id)
);
CREATE TABLE usage_day_all (LIKE usage_hour_all INCLUDING ALL);

-- Adds what one statement changed to <table>_all; an update takes away what it replaced.
CREATE FUNCTION sum_over_keys() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT 1 AS sign, * FROM after_change'
        ELSE 'SELECT 1 AS sign, * FROM after_change UNION ALL SELECT -1, * FROM before_change' END;
BEGIN
    EXECUTE format($query$
        INSERT INTO %1$I AS kept
        SELECT start, asset_id, protocol, status, node_id,
               sum(sign * requests), sum(sign * lookups), sum(sign * latency_sum_ns),
               ARRAY[sum(sign * latency_buckets[1]), sum(sign * latency_buckets[2]), sum(sign * latency_buckets[3]),
                     sum(sign * latency_buckets[4]), sum(sign * latency_buckets[5]), sum(sign * latency_buckets[6]),
                     sum(sign * latency_buckets[7]), sum(sign * latency_buckets[8]), sum(sign * latency_buckets[9]),
                     sum(sign * latency_buckets[10]), sum(sign * latency_buckets[11]), sum(sign * latency_buckets[12]),
                     sum(sign * latency_buckets[13]), sum(sign * latency_buckets[14]), sum(sign * latency_buckets[15])]
        FROM (%2$s) AS changed
        GROUP BY start, asset_id, protocol, status, node_id
        ORDER BY start, asset_id, protocol, status, node_id
        ON CONFLICT (start, asset_id, protocol, status, node_id) DO UPDATE SET
            requests = kept.requests + excluded.requests,
            lookups = kept.lookups + excluded.lookups,
            latency_sum_ns = kept.latency_sum_ns + excluded.latency_sum_ns,
            latency_buckets = add_buckets(kept.latency_buckets, excluded.latency_buckets)
    $query$, TG_TABLE_NAME || '_all', changed);
    RETURN NULL;
END $$;
CREATE TRIGGER usage_hour_inserted AFTER INSERT ON usage_hour REFERENCING NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION sum_over_keys();
CREATE TRIGGER usage_hour_updated AFTER UPDATE ON usage_hour
    REFERENCING NEW TABLE AS after_change OLD TABLE AS before_change
    FOR EACH STATEMENT EXECUTE FUNCTION sum_over_keys();
CREATE TRIGGER usage_day_inserted AFTER INSERT ON usage_day REFERENCING NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION sum_over_keys();
CREATE TRIGGER usage_day_updated AFTER UPDATE ON usage_day
    REFERENCING NEW TABLE AS after_change OLD TABLE AS before_change
    FOR EACH STATEMENT EXECUTE FUNCTION sum_over_keys();

-- The kept sums of a span, cut into pieces as workers/reports/spans.py draws them. key_ids NULL: of every key. With
-- over_keys the hours and days come from the sums over all keys, and key_id means nothing. The planner takes the
-- function apart and leaves out what the arguments exclude: pieces that are empty are compared for that.
CREATE FUNCTION usage_between(
    over_keys boolean, key_ids integer[], minute_from timestamptz, hour_from timestamptz, day_from timestamptz,
    day_to timestamptz, hour_to timestamptz, minute_to timestamptz
) RETURNS TABLE (
    start timestamptz, key_id integer, asset_id smallint, protocol smallint, status smallint, requests bigint,
    lookups bigint, latency_sum_ns bigint, latency_buckets bigint[]
) LANGUAGE sql STABLE AS $$
    SELECT start, key_id, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_minute AS part WHERE part.start >= minute_from AND part.start < hour_from AND minute_from < hour_from
      AND (key_ids IS NULL OR part.key_id = ANY(key_ids))
    UNION ALL
    SELECT start, key_id, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_minute AS part WHERE part.start >= hour_to AND part.start < minute_to AND hour_to < minute_to
      AND (key_ids IS NULL OR part.key_id = ANY(key_ids))
    UNION ALL
    SELECT start, key_id, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_hour AS part WHERE part.start >= hour_from AND part.start < day_from AND hour_from < day_from
      AND NOT over_keys AND (key_ids IS NULL OR part.key_id = ANY(key_ids))
    UNION ALL
    SELECT start, key_id, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_day AS part WHERE part.start >= day_from AND part.start < day_to AND day_from < day_to
      AND NOT over_keys AND (key_ids IS NULL OR part.key_id = ANY(key_ids))
    UNION ALL
    SELECT start, key_id, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_hour AS part WHERE part.start >= day_to AND part.start < hour_to AND day_to < hour_to
      AND NOT over_keys AND (key_ids IS NULL OR part.key_id = ANY(key_ids))
    UNION ALL
    SELECT start, 0, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_hour_all AS part WHERE part.start >= hour_from AND part.start < day_from AND hour_from < day_from AND over_keys
    UNION ALL
    SELECT start, 0, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_day_all AS part WHERE part.start >= day_from AND part.start < day_to AND day_from < day_to AND over_keys
    UNION ALL
    SELECT start, 0, asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_hour_all AS part WHERE part.start >= day_to AND part.start < hour_to AND day_to < hour_to AND over_keys
$$;

-- The latency in ns below which a share of the requests stayed, as far as buckets can say: within a bucket they are
-- taken as spread evenly, beyond the last bound nothing is known but the bound.
CREATE FUNCTION latency_quantile(buckets bigint[], bounds bigint[], share double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(bounds[number - 1], 0)
         + (coalesce(bounds[number], bounds[number - 1]) - coalesce(bounds[number - 1], 0))
         * (share * whole - (through - inside)) / inside
    FROM (
        SELECT number, inside, sum(inside) OVER (ORDER BY number) AS through, sum(inside) OVER () AS whole
        FROM unnest(buckets) WITH ORDINALITY AS bucket (inside, number)
    ) AS cumulated
    WHERE inside > 0 AND through >= share * whole
    ORDER BY number LIMIT 1
$$;

-- Two histograms as one; written out, because a query over the elements takes ten times as long.
CREATE FUNCTION add_buckets(a bigint[], b bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[
        a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5],
        a[6] + b[6], a[7] + b[7], a[8] + b[8], a[9] + b[9], a[10] + b[10],
        a[11] + b[11], a[12] + b[12], a[13] + b[13], a[14] + b[14], a[15] + b[15]
    ]
$$;

-- What has been loaded, in the same transaction as its rows: the answer to "is this batch in already?".
CREATE TABLE usage_batches (
    node_id smallint NOT NULL REFERENCES nodes,
    ring smallint NOT NULL,
    first_position bigint NOT NULL,
    end_position bigint NOT NULL,
    rows integer NOT NULL,                   -- in usage_log
    lost integer NOT NULL DEFAULT 0,         -- in the sums only: their detail was given up
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, ring, end_position)
);

-- One-minute candles of the consensus prices.
CREATE TABLE price_minute (
    asset_id smallint NOT NULL,
    minute timestamptz NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    sources smallint NOT NULL,               -- of the last price
    confidence numeric NOT NULL,             -- of the last price
    samples integer NOT NULL,                -- prices seen in this minute
    weighted_sum numeric NOT NULL,           -- price times milliseconds that it stood, for exact averages
    weighted_ms integer NOT NULL,
    node_id smallint NOT NULL,
    PRIMARY KEY (asset_id, minute)
);

CREATE TABLE report_usage_log (
    time timestamptz NOT NULL DEFAULT now(),
    request_id uuid NOT NULL,
    account_id integer,
    key_id integer,
    path text NOT NULL,
    status smallint NOT NULL,
    latency_us bigint NOT NULL,              -- a stream is open for hours
    bytes bigint NOT NULL,
    address inet NOT NULL
) PARTITION BY RANGE (time);
CREATE INDEX report_usage_log_time ON report_usage_log (time);

-- The specification's daily dashboard figures (kcc:daily).
CREATE TABLE daily_figures (
    day date PRIMARY KEY,
    figures jsonb NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT now()
);
