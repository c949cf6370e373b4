"""HTTP/1.1 of the answer path: bytes to a request, a request to its response, and the connections."""
