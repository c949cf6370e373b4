-- Rates below one a second: so many requests in so many whole seconds, exactly. What was a rate is one of one second.

ALTER TABLE plans RENAME COLUMN rate_per_second TO rate_requests;
ALTER TABLE api_keys RENAME COLUMN rate_per_second TO rate_requests;
-- More than a million a second is no rate any more; nobody ever reached one.
UPDATE plans SET rate_requests = 1000000 WHERE rate_requests > 1000000;
UPDATE api_keys SET rate_requests = 1000000 WHERE rate_requests > 1000000;
ALTER TABLE plans
    ADD COLUMN rate_seconds smallint NOT NULL DEFAULT 1 CHECK (rate_seconds BETWEEN 1 AND 3600),
    ADD CHECK (rate_requests <= 1000000);
-- Says nothing where the rate is the plan's.
ALTER TABLE api_keys
    ADD COLUMN rate_seconds smallint NOT NULL DEFAULT 1 CHECK (rate_seconds BETWEEN 1 AND 3600),
    ADD CHECK (rate_requests <= 1000000);
