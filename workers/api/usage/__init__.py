"""Reports of usage: sums, single requests, exports, over HTTP and UDP."""
