"""The processes that answer: request workers and health. `workers` imports `trinity`, never `feeds`."""
