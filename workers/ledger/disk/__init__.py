"""Records on disk, between the rings and the database: blocks, segments, sums, the reserve."""
