"""Prices of one moment on the reporting port, as the request workers give them."""
