"""What a lookup costs: alone, at a rate, for hours, with keys, under a flood."""
