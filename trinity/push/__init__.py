"""Prices that are delivered: subscriptions, secrets, targets and events, as the API, the commands and the sender have them."""
