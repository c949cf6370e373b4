-- What Pyth's clients ask beside the newest prices.

-- name: averages
-- Of each asset over whole minutes: the sum for its exact average, and its confidence, both weighted by time.
SELECT assets.name, sum(weighted_sum), sum(weighted_ms), sum(confidence * weighted_ms)
FROM price_minute JOIN assets ON assets.id = asset_id
WHERE assets.name = ANY (%(assets)s) AND minute >= %(start)s AND minute < %(end)s
GROUP BY assets.name;
