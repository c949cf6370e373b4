"""The bare pusher's ring has room for what a measurement leaves in it between two looks."""

from benchmarks.parts.push.push_schedule import ASSETS, INTERVAL_S
from benchmarks.servers import bare_pusher
from trinity.markets import load_catalog


def test_the_ring_holds_a_minute_of_ten_thousand_subscriptions() -> None:
    """And the catalog has as many assets as a subscription of the measurement."""
    assert bare_pusher.RING_RECORDS >= 60 * 10_000 // INTERVAL_S
    assert len(load_catalog().assets) >= ASSETS
