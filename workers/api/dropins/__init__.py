"""The shapes of other price services, for their clients."""
