"""Recording of what feeds and consensus saw, and its replay, bit for bit."""
