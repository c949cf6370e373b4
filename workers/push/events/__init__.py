"""Events on their way: a durable queue in PostgreSQL, and the worker that posts what is due."""
