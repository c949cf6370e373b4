"""What is delivered to subscribers."""
