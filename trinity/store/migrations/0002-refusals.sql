-- Refusals without a key cost anybody nothing to cause, so they are kept as sums and a sample, and not as a row each.

-- How many requests the row stands for: 1, but for the sample of refusals without a key. 32767 is that or more.
ALTER TABLE usage_log ADD COLUMN weight smallint NOT NULL DEFAULT 1;

-- Of the rows a batch stands for: refusals without a key that have no row of their own.
ALTER TABLE usage_batches ADD COLUMN sampled integer NOT NULL DEFAULT 0;

-- Calls of the reporting service: as in usage_log.
ALTER TABLE report_usage_log ADD COLUMN weight integer NOT NULL DEFAULT 1;

-- Exact sums of the refusals without a key. They are a part of usage_minute, which does not know code and network.
CREATE TABLE refusal_minute (
    start timestamptz NOT NULL,
    network cidr NOT NULL,                   -- a /64, IPv4's /24 as ::ffff:a.b.c.0/120; ::/0: all for which there was no room
    code smallint NOT NULL,
    status smallint NOT NULL,
    protocol smallint NOT NULL,
    node_id smallint NOT NULL,
    requests bigint NOT NULL,
    last timestamptz NOT NULL,
    PRIMARY KEY (start, network, code, status, protocol, node_id)
) PARTITION BY RANGE (start);
