"""A seeded simulation of the whole route in one process: real code, a fake clock, and everything that may go wrong."""
