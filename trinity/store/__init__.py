"""PostgreSQL, the source of truth: the embedded server, migrations, connections and named queries."""
