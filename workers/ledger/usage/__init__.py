"""The usage kind: answers, their sums and refusals."""
