"""The node: its roles, what composes them, the supervisor and the launcher."""
