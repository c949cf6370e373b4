"""Measurements: what the project claims about speed is made here and kept in docs/performance.md."""
