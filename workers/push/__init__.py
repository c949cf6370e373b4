"""The pusher: who is due, what is sent, and how it gets there."""
