"""What a price was: candles, averages, moments and explanations."""
