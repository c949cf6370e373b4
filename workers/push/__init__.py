"""The push server: prices to subscribers, over HTTPS and as datagrams."""
