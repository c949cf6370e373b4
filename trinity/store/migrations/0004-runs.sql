-- Single requests are packed: one row for those of a key that went alike, in a second. A row each took 93 bytes and 37
-- of indexes, and 3 us of processor time; packed they take a sixth of the bytes and a twentieth of the time, and who asks sees the same: usage_log.

-- Requests of one second (UTC), of neighbouring ids, that have everything in common but what `words` has.
CREATE TABLE usage_runs (
    second timestamptz NOT NULL,             -- its beginning
    base_id bigint NOT NULL,                 -- what their request ids begin with: the last 20 bits are in `words`
    key_id integer NOT NULL,                 -- 0: no key
    node_id smallint NOT NULL,
    rows smallint NOT NULL,
    protocol smallint NOT NULL,              -- small numbers are indexes of the tuples in trinity/vocabulary.py
    status smallint NOT NULL,
    code smallint NOT NULL,
    weight smallint NOT NULL,                -- requests that each row stands for
    -- Two numbers a request, then two an address (its halves): one address a request, or a single one for all of them.
    --   microseconds in the second (20 bits), latency_ns (32)
    --   last bits of the request id (20), asset_id (15), assets (15), source (8)
    words bigint[] NOT NULL
) PARTITION BY RANGE (second);
-- Never compressed or moved elsewhere: a number is found in place. 240 rows, the most that a run has, fit into a page.
ALTER TABLE usage_runs ALTER COLUMN words SET STORAGE PLAIN;
CREATE INDEX usage_runs_second ON usage_runs (second);
CREATE INDEX usage_runs_key ON usage_runs (key_id, second);
-- Errors are few and looked for; a good answer costs this index nothing.
CREATE INDEX usage_runs_error ON usage_runs (key_id, second) WHERE code <> 0;

-- Rows of a table with usage_log's columns, packed.
CREATE FUNCTION pack_usage(source regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($query$
        WITH placed AS (
            SELECT *, date_trunc('second', time) AS of_second, (row_number() OVER run - 1) / 240 AS part,
                   (extract(microseconds FROM time)::bigint %% 1000000 << 32) | latency_ns AS first_word,
                   ((request_id & 1048575) << 38) | (asset_id::bigint << 23) | (assets::bigint << 8) | source AS second_word,
                   encode(inet_send(address), 'hex') AS bits
            FROM %s
            WINDOW run AS (
                PARTITION BY date_trunc('second', time), request_id >> 20, key_id, node_id, protocol, status, code, weight
                ORDER BY request_id
            )
        )
        INSERT INTO usage_runs
        SELECT of_second, request_id >> 20 << 20, key_id, node_id, count(*), protocol, status, code, weight,
               ARRAY(SELECT unnest(array_agg(ARRAY[first_word, second_word] ORDER BY request_id)))
               || ARRAY(SELECT unnest(array_agg(
                    ARRAY[('x' || substr(bits, 9, 16))::bit(64)::bigint, ('x' || substr(bits, 25))::bit(64)::bigint]
                    ORDER BY request_id
               )))
        FROM placed
        GROUP BY of_second, request_id >> 20, key_id, node_id, protocol, status, code, weight, part
        ORDER BY of_second
    $query$, source);
END $$;

DO $$
DECLARE
    day record;
BEGIN
    FOR day IN
        SELECT child.oid::regclass AS rows, replace(child.relname, 'usage_log', 'usage_runs') AS runs,
               pg_get_expr(child.relpartbound, child.oid) AS bounds
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'usage_log'::regclass
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF usage_runs %s', day.runs, day.bounds);
        PERFORM pack_usage(day.rows);
        EXECUTE format('DROP TABLE %s', day.rows);
    END LOOP;
END $$;
DROP TABLE usage_log;

-- An address of IPv6 by its halves.
CREATE FUNCTION usage_address(high bigint, low bigint) RETURNS inet LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT rtrim(
        regexp_replace(lpad(to_hex(high), 16, '0') || lpad(to_hex(low), 16, '0'), '(....)', '\1:', 'g'), ':'
    )::inet
$$;

-- One request of a run, by its number from 1 on. The planner takes the function apart.
CREATE FUNCTION usage_request(second timestamptz, base_id bigint, rows integer, words bigint[], number integer)
RETURNS TABLE (
    "time" timestamptz, request_id bigint, address inet, latency_ns bigint, asset_id smallint, assets smallint,
    source smallint
) LANGUAGE sql STABLE AS $$
    SELECT second + (word.a >> 32) * interval '1 us',
           base_id + (word.b >> 38),
           CASE WHEN half.high = 0 AND half.low >= 0 THEN '::'::inet + half.low
                ELSE usage_address(half.high, half.low) END,
           word.a & 4294967295,
           (word.b >> 23 & 32767)::smallint,
           (word.b >> 8 & 32767)::smallint,
           (word.b & 255)::smallint
    FROM (SELECT words[2 * number - 1] AS a, words[2 * number] AS b,
                 2 * rows + CASE WHEN cardinality(words) = 2 * rows + 2 THEN 2 ELSE 2 * number END AS at) AS word
    CROSS JOIN LATERAL (SELECT words[word.at - 1] AS high, words[word.at] AS low) AS half
$$;

-- One row an answer, refusals included. Indexes know its second: that stands here to be asked for.
CREATE VIEW usage_log AS
SELECT request.time,
       request.request_id,                   -- unique on its node
       request.address,                      -- IPv4 as ::ffff:a.b.c.d
       run.key_id,
       request.latency_ns,
       run.node_id,
       request.asset_id,                     -- 0: none, or several
       request.assets,                       -- prices looked up
       run.status,
       run.protocol,
       request.source,
       run.code,
       run.weight,
       run.second
FROM usage_runs AS run
CROSS JOIN LATERAL generate_series(1, run.rows) AS number
CROSS JOIN LATERAL usage_request(run.second, run.base_id, run.rows, run.words, number) AS request;
