"""Assets that the simulated exchanges list beyond the catalog, so that somebody can ask for one. Pure.

Rules: each stands on some of the catalog's exchanges, in the currency that the catalog has for the exchange; which, is
drawn by its name and always the same. Most are on enough of them for a price, one of twenty is not.
"""

import random

from trinity.markets import Catalog, Market

# As many as a lookup's benchmark asks for; their names look like no coin's.
FURTHER_ASSETS = tuple(f"SIM{number:03}" for number in range(1, 401))
_ON_TWO_ONLY = 20
_EXCHANGES_MIN = 4


def further_markets(catalog: Catalog) -> list[Market]:
    """All their markets."""
    quotes = {market.exchange: market.quote for market in catalog.markets}
    known = catalog.names()
    return [
        Market(exchange, asset, quotes[exchange])
        for number, asset in enumerate(FURTHER_ASSETS, 1)
        if asset not in known
        for exchange in _exchanges_of(number, asset, catalog.exchanges)
    ]


def _exchanges_of(number: int, asset: str, exchanges: tuple[str, ...]) -> list[str]:
    """In the order of the catalog."""
    rng = random.Random(f"listed {asset}")
    count = 2 if number % _ON_TWO_ONLY == 0 else rng.randint(_EXCHANGES_MIN, max(_EXCHANGES_MIN, len(exchanges)))
    drawn = rng.sample(exchanges, min(count, len(exchanges)))
    return [exchange for exchange in exchanges if exchange in drawn]
