"""The way in: from an exchange's frame to a price."""
