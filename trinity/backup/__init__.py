"""Backups that were restored: what is kept where, how it comes back, and the proof that it does."""
