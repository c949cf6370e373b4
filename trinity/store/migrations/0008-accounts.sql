-- An account is deleted by this date alone: its ledger and its bills go on naming it.
ALTER TABLE accounts ADD COLUMN deleted_at timestamptz;
