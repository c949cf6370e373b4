"""The answer path: bytes in, bytes out, out of shared memory only."""
