"""Who asks, from where, and how much of it."""
