"""The push server: prices to subscribers over HTTPS and UDP, and events of accounts."""
