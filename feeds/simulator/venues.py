"""The simulated exchanges by name."""

from collections.abc import Mapping

from feeds.simulator import coinbase, cryptocom, gateio, gemini, kraken, okx
from feeds.simulator.venue import Venue

VENUES: Mapping[str, Venue] = {
    module.VENUE.name: module.VENUE for module in (coinbase, gemini, kraken, gateio, cryptocom, okx)
}
