"""What a node is asked and told by whoever runs it."""
