-- What the sync job goes by: which time a batch's rows are of, and in which transaction they came. A row that is late by
-- days is found by its batch, and one whose transaction ended after another's by its number in a snapshot.

ALTER TABLE usage_batches
    ADD COLUMN oldest timestamptz,           -- of its rows; null: it has none, or was loaded by an older version
    ADD COLUMN newest timestamptz,
    ADD COLUMN loaded xid8;                  -- null: before there was a sync job
ALTER TABLE usage_batches ALTER COLUMN loaded SET DEFAULT pg_current_xact_id();
CREATE INDEX usage_batches_loaded ON usage_batches (loaded);
ALTER TABLE delivery_batches ADD COLUMN oldest timestamptz, ADD COLUMN newest timestamptz;

-- Of calls of the reporting service each row says so itself: they are few, and come without batches.
ALTER TABLE report_usage_log ADD COLUMN loaded xid8;
ALTER TABLE report_usage_log ALTER COLUMN loaded SET DEFAULT pg_current_xact_id();
CREATE INDEX report_usage_log_loaded ON report_usage_log (loaded);
