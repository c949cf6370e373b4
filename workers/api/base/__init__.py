"""What every feature of the API stands on: callers, limits, parameters, problems, prices. Knows no feature."""
