"""What a node says of itself: metrics, logs, readings of its shared memory, and its status."""
