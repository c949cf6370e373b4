"""Prices that are delivered: subscriptions, secrets, targets, events, as the API, the commands and the sender know them."""
