"""Prices that are delivered: subscriptions, secrets, targets, events, as API, commands and sender know them."""
