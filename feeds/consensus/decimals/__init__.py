"""The same rules in decimals: they explain, replay and check what the compiled side decides."""
