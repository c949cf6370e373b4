"""Frames and answers are matched by price."""

import numpy as np
import pytest

from benchmarks.feeds.frame_templates import mantissa_of
from benchmarks.parts.feeds import wire


@pytest.mark.uncompiled
@pytest.mark.parametrize("number", [0, 4, 12, 49_999, 99_999])
def test_a_price_tells_its_frame_whatever_zeros_were_cut(number: int) -> None:
    """The frame's number comes back from its price as an answer shows it, without trailing zeros."""
    text = f"{mantissa_of(number) / 10_000:.4f}".rstrip("0").rstrip(".")
    body = np.frombuffer(f'{{"asset":"PROBE","price":{text},"currency":"USD"}}'.encode(), dtype=np.uint8)
    assert wire.number_in(body, 0, body.size) == number


@pytest.mark.uncompiled
@pytest.mark.parametrize("body", [b'{"error":{}}', b'{"price":1.0}', b'{"price":100.0002}'])
def test_what_is_no_price_of_a_frame_tells_none(body: bytes) -> None:
    """Errors, prices below the first and prices between two frames belong to no frame."""
    octets = np.frombuffer(body, dtype=np.uint8)
    assert wire.number_in(octets, 0, octets.size) == -1


def test_latencies_are_of_frames_that_were_seen_and_gaps_are_counted() -> None:
    """The first frame seen is left out, one in between was missed, those after the last do not count."""
    sent = np.array([100, 200, 300, 400, 500], dtype=np.int64) * 1_000
    seen = np.array([0, 900, 0, 410, 0], dtype=np.int64) * 1_000
    latencies, missed = wire.match(sent, seen)
    assert latencies.total == 1
    assert latencies.percentile_ns(50) == pytest.approx(10_000, rel=0.001)
    assert missed == 1
    assert wire.match(sent, np.zeros_like(seen))[0].total == 0
