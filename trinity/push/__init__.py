"""Prices that are delivered: subscriptions, their secrets and targets, as the API, the commands and the sender know them."""
