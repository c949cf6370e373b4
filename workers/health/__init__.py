"""The health servers: whether the node lives, is ready, how each part is, and every metric."""
