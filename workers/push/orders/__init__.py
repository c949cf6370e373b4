"""Tests and replays that somebody asked for: taken from PostgreSQL, carried out once."""
