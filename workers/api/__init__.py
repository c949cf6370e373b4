"""The reporting service: usage, prices and explanations over HTTP 9090 and UDP 2680; never on the path of a lookup."""
