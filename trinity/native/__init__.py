"""What the compiled rooms stand on: bytes, libc's calls, addresses and networks, hashes."""
