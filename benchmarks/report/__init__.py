"""Out of results alone: tables, plots, and whether the figures are reached. It measures nothing itself."""
