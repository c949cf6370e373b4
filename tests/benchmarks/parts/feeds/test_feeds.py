"""A frame's cost is what came on top of an idle feed, measured on a real feed process."""

from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.parts.feeds.feeds import Span, cost_of, measure_exchange


def test_a_frame_costs_what_came_on_top() -> None:
    """The idle feed's time and frames, stretched to the same length, do not count."""
    cost = cost_of(Span(1.0, 10_000.0, 100), Span(2.0, 220_000.0, 10_200))
    assert cost == {"cpu_us": 20.0, "idle_share": 0.01, "per_second": 5_100.0}


def test_a_sender_that_does_not_send_is_no_measurement() -> None:
    """Otherwise a frame would cost nothing, or less."""
    with pytest.raises(PeerError, match="150 frames in"):
        cost_of(Span(1.0, 10_000.0, 100), Span(1.0, 10_100.0, 150))


def test_a_client_that_idled_dearer_than_it_worked_is_no_measurement() -> None:
    """It was still starting when it should have idled."""
    with pytest.raises(PeerError, match="less than an idle one"):
        cost_of(Span(1.0, 310_000.0, 100), Span(1.0, 300_000.0, 5_000))


def test_a_real_feed_takes_every_frame(tmp_path: Path) -> None:
    """One exchange for a short time: the rate is kept, no frame is lost or refused, and each costs something."""
    row = measure_exchange(tmp_path, "kraken", 1.0)
    assert row["wrong"] == 0
    assert row["per_second"] > 2_500
    assert 1 < row["cpu_us"] < 2_000
