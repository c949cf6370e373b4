-- What charts ask: bars of a fixed length, counted from a Monday, and a day's figures.

-- name: bars
-- The newest bars of a range, newest first.
SELECT date_bin(%(step)s, minute, %(origin)s) AS bar,
       (array_agg(open ORDER BY minute))[1],
       max(high),
       min(low),
       (array_agg(close ORDER BY minute DESC))[1]
FROM price_minute JOIN assets ON assets.id = asset_id
WHERE assets.name = %(asset)s AND minute >= %(start)s AND minute < %(end)s
GROUP BY bar ORDER BY bar DESC LIMIT %(count)s;

-- name: first_of
-- Where the newest `count` bars before a moment begin, from bar to bar: one look into the index for each.
WITH RECURSIVE asset AS (
    SELECT id FROM assets WHERE name = %(asset)s
), newest (bar, count) AS (
    SELECT date_bin(%(step)s, max(minute), %(origin)s), 1
    FROM price_minute WHERE asset_id = (SELECT id FROM asset) AND minute < %(end)s
    UNION ALL
    SELECT (SELECT date_bin(%(step)s, max(minute), %(origin)s)
            FROM price_minute WHERE asset_id = (SELECT id FROM asset) AND minute < newest.bar), newest.count + 1
    FROM newest WHERE newest.bar IS NOT NULL AND newest.count < %(count)s
)
SELECT min(bar) FROM newest;

-- name: days
-- Of each asset since a day began: its first price, its highest and lowest, and the last one of the day before.
SELECT assets.name, first.open, whole.high, whole.low, before.close
FROM assets
LEFT JOIN LATERAL (
    SELECT open FROM price_minute WHERE asset_id = assets.id AND minute >= %(day)s ORDER BY minute LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
    SELECT max(high) AS high, min(low) AS low FROM price_minute WHERE asset_id = assets.id AND minute >= %(day)s
) AS whole ON true
LEFT JOIN LATERAL (
    SELECT close FROM price_minute
    WHERE asset_id = assets.id AND minute < %(day)s AND minute >= %(day)s - interval '1 day'
    ORDER BY minute DESC LIMIT 1
) AS before ON true
WHERE assets.name = ANY (%(assets)s);
