"""The list of simulated exchanges."""

from feeds.simulator.venues import VENUES
from trinity.markets import Catalog, load_catalog
from trinity.vocabulary import EXCHANGES


def test_every_known_exchange_is_simulated() -> None:
    """The node's six exchanges and the simulated ones are the same."""
    assert sorted(VENUES) == sorted(EXCHANGES)
    assert all(name == venue.name for name, venue in VENUES.items())


def test_no_two_paths_collide() -> None:
    """A socket path and a REST path belong to one exchange and mean one thing."""
    paths = [path for venue in VENUES.values() for path in venue.sockets]
    paths += [f"/{venue.name}{route.path}" for venue in VENUES.values() for route in venue.routes]
    assert len(paths) == len(set(paths))


def test_every_market_of_the_default_catalog_has_a_symbol_of_its_own() -> None:
    """No exchange gives two markets the same symbol."""
    catalog: Catalog = load_catalog()
    for name, venue in VENUES.items():
        symbols = [venue.symbol_of(market) for market in catalog.markets_of(name)]
        assert len(symbols) == len(set(symbols)) > 0
