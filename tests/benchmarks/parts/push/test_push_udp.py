"""Both senders of pushes over UDP are measured on datagrams that arrive, and are what they should be."""

import pytest

from benchmarks.errors import PeerError
from benchmarks.parts.push.push_udp import OURS, PLAIN, SIZES, _place, measure_push_udp
from benchmarks.progress import Progress
from benchmarks.servers.processes import cores
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


def test_both_senders_are_measured_on_what_arrives() -> None:
    """Every size has a figure of each, and nothing was lost on loopback."""
    found = measure_push_udp(1, 0.05, Progress(SystemClock()))
    assert set(found["sizes"]) == set(SIZES)
    for part in found["sizes"].values():
        assert part["times"] > 0
        for name in (OURS, PLAIN):
            row = part["senders"][name]
            assert row["pushes"] > 0
            assert row["cpu_us"] > 0
            assert 0 < row["received"] <= 1


def test_a_datagram_that_is_not_the_expected_one_is_no_measurement() -> None:
    """A sender that signs with another secret is found out before anything is counted."""
    with _place(3, cores()[1]) as place:
        place.check(place.send_plainly)
        place._subscriptions[0] = place._subscriptions[0]._replace(secret=b"another")
        place._sender.change(0, place._subscriptions[0])
        place._subscriptions[0] = place._subscriptions[0]._replace(secret=b"one more")
        with pytest.raises(PeerError, match="is wrong"):
            place.check(place.send)
