-- What the sessions of the flusher and the operator begin with.

-- name: prepare
-- What is committed is given up elsewhere (a file of the spool, a minute of a candle file), so a commit means the disk,
-- whatever the server's setting. A client whose machine failed is noticed within 15 s, so that its lock is free again;
-- over a Unix socket this changes nothing.
SET synchronous_commit = on;
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 2;
