-- What charts ask beside candles.

-- name: last_before
-- The newest minute before a moment, for "there is nothing here, look there".
SELECT max(minute) FROM price_minute JOIN assets ON assets.id = price_minute.asset_id
WHERE assets.name = %(asset)s AND minute < %(before)s;

-- name: first_of
-- Where the newest `count` bars of this length before a moment begin. Bars of a day are those of UTC.
SELECT min(bar) FROM (
    SELECT DISTINCT date_bin(%(step)s, minute, 'epoch'::timestamptz) AS bar
    FROM price_minute JOIN assets ON assets.id = price_minute.asset_id
    WHERE assets.name = %(asset)s AND minute < %(end)s
    ORDER BY bar DESC LIMIT %(count)s
) AS newest;
