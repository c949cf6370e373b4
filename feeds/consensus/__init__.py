"""From six quotes of an asset to one price and its answer. Knows neither exchanges' formats nor recordings."""
