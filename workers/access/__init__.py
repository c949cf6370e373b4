"""The access process: who may ask, out of PostgreSQL into shared memory."""
