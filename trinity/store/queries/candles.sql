-- One-minute candles of the consensus prices, and what is made of them.

-- name: assets
SELECT name, id FROM assets WHERE name = ANY (%(names)s);

-- name: add_assets
INSERT INTO assets (name)
SELECT given.name FROM unnest(%(names)s::text[]) AS given (name)
WHERE NOT EXISTS (SELECT 1 FROM assets WHERE assets.name = given.name)
ON CONFLICT (name) DO NOTHING;

-- name: store_minutes
-- One array a column. A minute that is there already (another node, a crash before the position was released) keeps
-- the row that has seen more.
INSERT INTO price_minute (asset_id, minute, open, high, low, close, confidence,
                          weighted_sum, weighted_ms, samples, sources, node_id)
SELECT asset_id, to_timestamp(minute * 60), open, high, low, close, confidence,
       weighted_sum, weighted_ms, samples, sources, %(node_id)s
FROM (
    SELECT DISTINCT ON (asset_id, minute) *
    FROM unnest(%(asset_ids)s::smallint[], %(minutes)s::bigint[], %(opens)s::numeric[], %(highs)s::numeric[],
                %(lows)s::numeric[], %(closes)s::numeric[], %(confidences)s::numeric[], %(weighted_sums)s::numeric[],
                %(weighted_mss)s::integer[], %(samples)s::integer[], %(sources)s::smallint[])
        AS given (asset_id, minute, open, high, low, close, confidence, weighted_sum, weighted_ms, samples, sources)
    ORDER BY asset_id, minute, samples DESC, weighted_ms DESC
) AS best
ON CONFLICT (asset_id, minute) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    confidence = excluded.confidence, weighted_sum = excluded.weighted_sum, weighted_ms = excluded.weighted_ms,
    samples = excluded.samples, sources = excluded.sources, node_id = excluded.node_id
WHERE (excluded.samples, excluded.weighted_ms) > (price_minute.samples, price_minute.weighted_ms);

-- name: fetch
-- `starts` are the buckets' first moments in ascending order; the bucket of a minute is its position among them.
SELECT width_bucket(minute, %(starts)s::timestamptz[]) AS bucket,
       (array_agg(open ORDER BY minute))[1] AS open,
       max(high) AS high,
       min(low) AS low,
       (array_agg(close ORDER BY minute DESC))[1] AS close,
       (array_agg(confidence ORDER BY minute DESC))[1] AS confidence,
       (array_agg(sources ORDER BY minute DESC))[1] AS sources,
       sum(samples) AS samples,
       sum(weighted_sum) AS weighted_sum,
       sum(weighted_ms) AS weighted_ms
FROM price_minute JOIN assets ON assets.id = asset_id
WHERE assets.name = %(asset)s AND minute >= %(start)s AND minute < %(end)s
GROUP BY bucket
ORDER BY bucket;

-- name: average
SELECT sum(weighted_sum), coalesce(sum(weighted_ms), 0), count(*)
FROM price_minute JOIN assets ON assets.id = asset_id
WHERE assets.name = %(asset)s AND minute >= %(start)s AND minute < %(end)s;

-- name: neighbours
-- The newest minute before a moment and the oldest from it on: where a gap begins and ends.
SELECT (SELECT max(minute) FROM price_minute WHERE asset_id = assets.id AND minute < %(at)s),
       (SELECT min(minute) FROM price_minute WHERE asset_id = assets.id AND minute >= %(at)s)
FROM assets WHERE name = %(asset)s;

-- name: closes
-- For averages of many assets: each minute's last price.
SELECT assets.name, minute, close, confidence
FROM price_minute JOIN assets ON assets.id = asset_id
WHERE assets.name = ANY (%(assets)s) AND minute >= %(start)s AND minute < %(end)s;
