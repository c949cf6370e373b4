-- What prices were at given moments, and the extremes of a time, of many assets at once.

-- name: closes_at
-- A minute's close stands from its end on.
SELECT assets.name, moments.at, before.close
FROM assets
CROSS JOIN unnest(%(moments)s::timestamptz[], %(tolerances)s::interval[]) AS moments (at, tolerance)
CROSS JOIN LATERAL (
    SELECT close FROM price_minute
    WHERE asset_id = assets.id
        AND minute <= moments.at - interval '1 minute'
        AND minute > moments.at - interval '1 minute' - moments.tolerance
    ORDER BY minute DESC
    LIMIT 1
) AS before
WHERE assets.name = ANY (%(assets)s);

-- name: extremes
-- By asset, so that each is a range of the primary key.
SELECT assets.name, day.high, day.low
FROM assets
CROSS JOIN LATERAL (
    SELECT max(high) AS high, min(low) AS low FROM price_minute WHERE asset_id = assets.id AND minute >= %(start)s
) AS day
WHERE day.high IS NOT NULL;
