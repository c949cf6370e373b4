-- What charts ask beside candles.

-- name: last_before
-- The newest minute before a moment, for "there is nothing here, look there".
SELECT max(minute) FROM price_minute JOIN assets ON assets.id = price_minute.asset_id
WHERE assets.name = %(asset)s AND minute < %(before)s;
