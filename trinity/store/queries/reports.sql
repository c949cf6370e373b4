-- Statements of the reporting service. Its connections are read-only, except the one that writes report_usage_log.
-- `key_ids` NULL is every key; `over_keys` is true where no key is told from another (see usage_between).

-- name: key_by_digest
SELECT key.digest, key.id, key.account_id, key.state, key.expires_at,
       (SELECT array_agg(other.id) FROM api_keys AS other WHERE other.account_id = key.account_id)
FROM api_keys AS key
WHERE key.digest = %(digest)s;

-- name: key_ids_of_account
SELECT (SELECT array_agg(id) FROM api_keys WHERE account_id = account.id)
FROM accounts AS account
WHERE account.id = %(account_id)s;

-- name: account_by_name
SELECT id FROM accounts WHERE name = %(name)s;

-- name: account_of_key
SELECT account_id FROM api_keys WHERE id = %(key_id)s;

-- name: plan_of_key
SELECT plans.name FROM api_keys JOIN plans ON plans.id = plan_id WHERE api_keys.id = %(key_id)s;

-- name: begin_rows
SELECT set_config('TimeZone', %(zone)s, true), set_config('statement_timeout', %(milliseconds)s, true);

-- name: write_calls
COPY report_usage_log (time, request_id, account_id, key_id, path, status, latency_us, bytes, address, weight) FROM STDIN;

-- name: usage
-- One row a bucket and member of the group, empty ones left out.
WITH sums AS (
    SELECT CASE %(granularity)s WHEN 'whole' THEN %(minute_from)s
                ELSE date_trunc(%(granularity)s, start, %(zone)s) END AS bucket,
           CASE %(group_by)s WHEN 'key' THEN key_id WHEN 'account' THEN coalesce(key.account_id, 0)
                              WHEN 'asset' THEN asset_id WHEN 'protocol' THEN protocol
                              WHEN 'status' THEN status ELSE 0 END AS member,
           sum(requests)::bigint AS requests, sum(lookups)::bigint AS lookups, sum(billable(lookups, status))::bigint AS billable,
           coalesce(sum(requests) FILTER (WHERE status >= 400), 0)::bigint AS errors, sum(latency_sum_ns) AS latency_sum_ns
    FROM usage_between(
        %(over_keys)s, %(key_ids)s, %(minute_from)s, %(hour_from)s, %(day_from)s, %(day_to)s, %(hour_to)s, %(minute_to)s
    ) AS part
    LEFT JOIN api_keys AS key ON %(group_by)s = 'account' AND key.id = part.key_id
    GROUP BY 1, 2
)
SELECT bucket, called."group", called.name, called.account,
       requests, lookups, billable, errors, round(latency_sum_ns / nullif(requests, 0) / 1000, 3)::double precision
FROM sums CROSS JOIN LATERAL usage_group(%(group_by)s, member, %(protocols)s) AS called
ORDER BY bucket, member;

-- name: top
-- The members of the group with the most requests.
WITH sums AS (
    SELECT CASE %(group_by)s WHEN 'key' THEN key_id WHEN 'account' THEN coalesce(key.account_id, 0)
                              WHEN 'asset' THEN asset_id WHEN 'protocol' THEN protocol
                              WHEN 'status' THEN status ELSE 0 END AS member,
           sum(requests)::bigint AS requests, sum(lookups)::bigint AS lookups, sum(billable(lookups, status))::bigint AS billable,
           coalesce(sum(requests) FILTER (WHERE status >= 400), 0)::bigint AS errors, sum(latency_sum_ns) AS latency_sum_ns
    FROM usage_between(
        %(over_keys)s, %(key_ids)s, %(minute_from)s, %(hour_from)s, %(day_from)s, %(day_to)s, %(hour_to)s, %(minute_to)s
    ) AS part
    LEFT JOIN api_keys AS key ON %(group_by)s = 'account' AND key.id = part.key_id
    GROUP BY 1
    ORDER BY 2 DESC, 1
    LIMIT %(limit)s
)
SELECT called."group", called.name, called.account,
       requests, lookups, billable, errors, round(latency_sum_ns / nullif(requests, 0) / 1000, 3)::double precision
FROM sums CROSS JOIN LATERAL usage_group(%(group_by)s, member, %(protocols)s) AS called
ORDER BY requests DESC, member;

-- name: latency
-- Quantiles of each bucket and member, in microseconds.
WITH sums AS (
    SELECT CASE %(granularity)s WHEN 'whole' THEN %(minute_from)s
                ELSE date_trunc(%(granularity)s, start, %(zone)s) END AS bucket,
           CASE %(group_by)s WHEN 'key' THEN key_id WHEN 'account' THEN coalesce(key.account_id, 0)
                              WHEN 'asset' THEN asset_id WHEN 'protocol' THEN protocol
                              WHEN 'status' THEN status ELSE 0 END AS member,
           sum(requests)::bigint AS requests, sum(latency_sum_ns) AS latency_sum_ns,
           ARRAY[sum(latency_buckets[1]), sum(latency_buckets[2]), sum(latency_buckets[3]), sum(latency_buckets[4]), sum(latency_buckets[5]),
                 sum(latency_buckets[6]), sum(latency_buckets[7]), sum(latency_buckets[8]), sum(latency_buckets[9]), sum(latency_buckets[10]),
                 sum(latency_buckets[11]), sum(latency_buckets[12]), sum(latency_buckets[13]), sum(latency_buckets[14]), sum(latency_buckets[15])]::bigint[] AS buckets
    FROM usage_between(
        %(over_keys)s, %(key_ids)s, %(minute_from)s, %(hour_from)s, %(day_from)s, %(day_to)s, %(hour_to)s, %(minute_to)s
    ) AS part
    LEFT JOIN api_keys AS key ON %(group_by)s = 'account' AND key.id = part.key_id
    GROUP BY 1, 2
)
SELECT bucket, called."group", called.name, called.account,
       requests, round(latency_sum_ns / nullif(requests, 0) / 1000, 3)::double precision,
       round((latency_quantile(buckets, %(bounds)s, 0.5) / 1000)::numeric, 3)::double precision,
       round((latency_quantile(buckets, %(bounds)s, 0.9) / 1000)::numeric, 3)::double precision,
       round((latency_quantile(buckets, %(bounds)s, 0.99) / 1000)::numeric, 3)::double precision,
       round((latency_quantile(buckets, %(bounds)s, 0.999) / 1000)::numeric, 3)::double precision
FROM sums CROSS JOIN LATERAL usage_group(%(group_by)s, member, %(protocols)s) AS called
ORDER BY bucket, member;

-- name: summary
-- The whole, each status, each protocol and each asset: `part` says which. The histogram is that of the whole.
WITH kept AS MATERIALIZED (
    SELECT asset_id, protocol, status, requests, lookups, latency_sum_ns, latency_buckets
    FROM usage_between(
        %(over_keys)s, %(key_ids)s, %(minute_from)s, %(hour_from)s, %(day_from)s, %(day_to)s, %(hour_to)s, %(minute_to)s
    )
), sums AS (
    SELECT grouping(status, protocol, asset_id) AS part, coalesce(status, protocol, asset_id, 0) AS member,
           sum(requests)::bigint AS requests, sum(lookups)::bigint AS lookups, sum(billable(lookups, status))::bigint AS billable, sum(latency_sum_ns)::bigint AS latency_sum_ns
    FROM kept
    GROUP BY GROUPING SETS ((), (status), (protocol), (asset_id))
)
SELECT part, CASE part WHEN 6 THEN coalesce((SELECT name FROM assets WHERE id = member), '')
                       WHEN 5 THEN (%(protocols)s::text[])[member + 1]
                       ELSE member::text END,
       requests, lookups, latency_sum_ns, billable,
       CASE part WHEN 7 THEN (SELECT ARRAY[sum(latency_buckets[1]), sum(latency_buckets[2]), sum(latency_buckets[3]), sum(latency_buckets[4]), sum(latency_buckets[5]),
                 sum(latency_buckets[6]), sum(latency_buckets[7]), sum(latency_buckets[8]), sum(latency_buckets[9]), sum(latency_buckets[10]),
                 sum(latency_buckets[11]), sum(latency_buckets[12]), sum(latency_buckets[13]), sum(latency_buckets[14]), sum(latency_buckets[15])]::bigint[] FROM kept) END
FROM sums
ORDER BY part, requests DESC, member;

-- name: summary_rows
-- The same as rows for tables, without the histogram.
WITH sums AS (
    SELECT grouping(status, protocol, asset_id) AS part, coalesce(status, protocol, asset_id, 0) AS member,
           sum(requests)::bigint AS requests, sum(lookups)::bigint AS lookups, sum(billable(lookups, status))::bigint AS billable, sum(latency_sum_ns) AS latency_sum_ns
    FROM usage_between(
        %(over_keys)s, %(key_ids)s, %(minute_from)s, %(hour_from)s, %(day_from)s, %(day_to)s, %(hour_to)s, %(minute_to)s
    )
    GROUP BY GROUPING SETS ((), (status), (protocol), (asset_id))
)
SELECT CASE part WHEN 7 THEN 'all' WHEN 6 THEN 'asset' WHEN 5 THEN 'protocol' ELSE 'status' END,
       CASE part WHEN 7 THEN 'all'
                 WHEN 6 THEN coalesce((SELECT name FROM assets WHERE id = member), '')
                 WHEN 5 THEN (%(protocols)s::text[])[member + 1]
                 ELSE member::text END,
       coalesce(requests, 0), coalesce(lookups, 0), coalesce(billable, 0),
       round(latency_sum_ns / nullif(requests, 0) / 1000, 3)::double precision
FROM sums
ORDER BY part DESC, requests DESC, member;

-- name: errors
-- Every refusal and failure by its code: of keys out of the single requests, without a key out of the exact sums, whose
-- minutes are whole ones. With %(by_network)s the latter alone, by who was refused; none where there was no room.
WITH found AS (
    SELECT code, status, protocol, NULL::cidr AS network, count(*) AS requests, max(time) AS last
    FROM usage_log
    WHERE code <> 0 AND key_id <> 0 AND time >= %(start)s AND time < %(end)s AND NOT %(by_network)s
      AND second >= date_bin('1 second', %(start)s, '2000-01-01Z') AND second < %(end)s
      AND (%(key_ids)s::integer[] IS NULL OR key_id = ANY(%(key_ids)s))
    GROUP BY code, status, protocol
    UNION ALL
    SELECT code, status, protocol, CASE WHEN %(by_network)s AND masklen(network) > 0 THEN network END, requests, last
    FROM refusal_minute
    WHERE start >= date_trunc('minute', %(start)s::timestamptz) AND start < %(end)s
      AND (%(key_ids)s::integer[] IS NULL OR 0 = ANY(%(key_ids)s))
)
SELECT (%(codes)s::text[])[code + 1], status, (%(protocols)s::text[])[protocol + 1], sum(requests)::bigint, max(last),
       CASE WHEN network << '::ffff:0.0.0.0/96' THEN replace(host(network), '::ffff:', '') || '/24' ELSE network::text END
FROM found
GROUP BY code, status, protocol, network
ORDER BY sum(requests) DESC, code, status, protocol, network
LIMIT %(limit)s;

-- name: log_page_of_keys
-- The newest single requests of some keys below a cursor: as many of each key as could be needed, then the newest. An
-- index knows the seconds (of a time: date_bin, which the planner reckons beforehand, so that it leaves days out), the
-- requests of each are sorted when it is its turn.
SELECT page.time, lpad(to_hex(page.request_id), 16, '0'), page.node_id, page.key_id,
       (SELECT account.name FROM api_keys AS key JOIN accounts AS account ON account.id = key.account_id WHERE key.id = page.key_id),
       (SELECT name FROM assets WHERE id = page.asset_id), page.assets, (%(protocols)s::text[])[page.protocol + 1],
       page.status, (%(codes)s::text[])[page.code + 1], (%(sources)s::text[])[page.source + 1],
       page.latency_ns / 1000.0::double precision, replace(host(page.address), '::ffff:', ''), page.weight,
       page.request_id
FROM unnest(%(key_ids)s::integer[]) AS wanted (id) CROSS JOIN LATERAL (
    SELECT *
    FROM usage_log AS log
    WHERE log.key_id = wanted.id AND log.time >= %(start)s AND log.time <= %(after_time)s
      AND log.second >= date_bin('1 second', %(start)s, '2000-01-01Z') AND log.second <= %(after_time)s
      AND (log.time, log.request_id, log.node_id) < (%(after_time)s, %(after_request_id)s, %(after_node_id)s)
      AND (%(assets)s::text[] IS NULL OR log.asset_id = ANY(ARRAY(SELECT id FROM assets WHERE name = ANY(%(assets)s))))
      AND (%(status)s::integer IS NULL OR log.status = %(status)s) AND (NOT %(errors_only)s OR log.code <> 0)
    ORDER BY log.second DESC, log.time DESC, log.request_id DESC, log.node_id DESC
    LIMIT %(limit)s
) AS page
ORDER BY page.time DESC, page.request_id DESC, page.node_id DESC
LIMIT %(limit)s;

-- name: log_page_of_all
-- The same of every key.
SELECT log.time, lpad(to_hex(log.request_id), 16, '0'), log.node_id, log.key_id,
       (SELECT account.name FROM api_keys AS key JOIN accounts AS account ON account.id = key.account_id WHERE key.id = log.key_id),
       (SELECT name FROM assets WHERE id = log.asset_id), log.assets, (%(protocols)s::text[])[log.protocol + 1],
       log.status, (%(codes)s::text[])[log.code + 1], (%(sources)s::text[])[log.source + 1],
       log.latency_ns / 1000.0::double precision, replace(host(log.address), '::ffff:', ''), log.weight,
       log.request_id
FROM usage_log AS log
WHERE log.time >= %(start)s AND log.time <= %(after_time)s
  AND log.second >= date_bin('1 second', %(start)s, '2000-01-01Z') AND log.second <= %(after_time)s
  AND (log.time, log.request_id, log.node_id) < (%(after_time)s, %(after_request_id)s, %(after_node_id)s)
  AND (%(assets)s::text[] IS NULL OR log.asset_id = ANY(ARRAY(SELECT id FROM assets WHERE name = ANY(%(assets)s))))
  AND (%(status)s::integer IS NULL OR log.status = %(status)s) AND (NOT %(errors_only)s OR log.code <> 0)
ORDER BY log.second DESC, log.time DESC, log.request_id DESC, log.node_id DESC
LIMIT %(limit)s;

-- name: log_rows
-- All single requests of a span, oldest first: usage_log, written out so that a run is taken apart without a function
-- call of its own. No join: with one the rows would have to be sorted, all of them, before the first is sent; names
-- come out of an array that is made once.
SELECT log.time, lpad(to_hex(log.request_id), 16, '0'), run.node_id, run.key_id, run.account,
       (SELECT array_agg(asset.name ORDER BY number)
        FROM generate_series(1, (SELECT max(id) FROM assets)) AS number LEFT JOIN assets AS asset ON asset.id = number
       )[log.asset_id], log.assets,
       (%(protocols)s::text[])[run.protocol + 1], run.status, (%(codes)s::text[])[run.code + 1],
       (%(sources)s::text[])[log.source + 1], log.latency_ns / 1000.0::double precision,
       replace(host(log.address), '::ffff:', ''), run.weight
FROM (
    SELECT *, generate_series(1, rows) AS number
    FROM (
        -- Whose it is, is looked up for each run, and not for each of its requests.
        SELECT *, (SELECT account.name FROM api_keys AS key JOIN accounts AS account ON account.id = key.account_id WHERE key.id = runs.key_id) AS account
        FROM usage_runs AS runs
        WHERE second >= date_bin('1 second', %(start)s, '2000-01-01Z') AND second < %(end)s
          AND (%(key_ids)s::integer[] IS NULL OR key_id = ANY(%(key_ids)s))
          AND (%(status)s::integer IS NULL OR status = %(status)s) AND (NOT %(errors_only)s OR code <> 0)
        ORDER BY second
    ) AS owned
    ORDER BY second
) AS run
CROSS JOIN LATERAL usage_request(run.second, run.base_id, run.rows, run.words, run.number) AS log
WHERE log.time >= %(start)s AND log.time < %(end)s
  AND (%(assets)s::text[] IS NULL OR log.asset_id = ANY(ARRAY(SELECT id FROM assets WHERE name = ANY(%(assets)s))))
ORDER BY run.second, log.time
LIMIT %(limit)s;

-- name: cached_log
-- Before a page comes out of Valkey: whose rows those are, whether others of the span came since a snapshot of
-- transactions (trinity/sync/mark.py), and the names of the keys' sets.
SELECT control.system_identifier || '.' || checkpoint.timeline_id
           || '.' || (SELECT oid FROM pg_database WHERE datname = current_database()),
       EXISTS (
           SELECT FROM usage_batches AS batch
           WHERE batch.loaded >= pg_snapshot_xmin(%(since)s::pg_snapshot)
             AND NOT pg_visible_in_snapshot(batch.loaded, %(since)s::pg_snapshot)
             AND batch.rows > 0
             AND (batch.oldest IS NULL OR (batch.oldest <= %(end)s AND batch.newest >= date_trunc('second', %(start)s::timestamptz)))
       ),
       (SELECT array_agg(encode(digest, 'hex') ORDER BY id) FROM api_keys WHERE id = ANY(%(key_ids)s::integer[]))
FROM pg_control_system() AS control, pg_control_checkpoint() AS checkpoint;

-- name: account_names
SELECT key.id, account.name FROM api_keys AS key JOIN accounts AS account ON account.id = key.account_id
WHERE key.id = ANY(%(key_ids)s::integer[]);
