"""What several nodes are as one service: measured from outside, while parts of it are killed."""
