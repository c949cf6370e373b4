"""Subscriptions to prices and events, as the push server, the reporting service and the operator's tools share them."""
