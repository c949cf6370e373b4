"""Which subscriptions this node serves, with which numbers, out of PostgreSQL or its own disk."""
