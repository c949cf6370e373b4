"""trinity/balancer/asking.py; with the watcher around it in test_watcher.py."""

import queue

from tests.support.patience import PATIENCE
from trinity.balancer.asking import HealthAsker, Heard
from trinity.balancer.lists import LOOKUPS
from trinity.balancer.verdicts import AskingPace, ListStanding
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock

PACE = AskingPace(interval_ns=NS_PER_SECOND, quick_ns=20 * NS_PER_MS, misses_max=3)


def test_a_name_that_nobody_knows_has_no_address_and_is_out() -> None:
    """A container that is not there has no name."""
    heard: queue.Queue[Heard] = queue.Queue()
    asker = HealthAsker("node-1", LOOKUPS, ("nobody.invalid", 8081), PACE, SystemClock(), heard)
    asker.start()
    said = [heard.get(timeout=30 * PATIENCE) for _ in range(PACE.misses_max)]
    asker.stop()
    asker.join(30 * PATIENCE)
    assert not asker.is_alive()
    assert (said[-1].address, said[-1].standing) == ("", ListStanding.OUT)
