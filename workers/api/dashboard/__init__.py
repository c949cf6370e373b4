"""The dashboard: its files, and what the node says of itself to it."""
