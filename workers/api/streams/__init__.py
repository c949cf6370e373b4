"""Prices as they change: server-sent events and a WebSocket."""
