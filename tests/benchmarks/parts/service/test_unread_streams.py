"""benchmarks/parts/service/unread_streams.py"""

from pathlib import Path

from benchmarks.parts.service.unread_streams import kernel_bytes, measure_unread
from workers.api.streams.events import UNREAD_BYTES


def test_an_unread_stream_costs_no_more_than_its_bound_is_based_on(tmp_path: Path) -> None:
    """A real reporter whose clients take nothing for longer than it needs to fill all buffers."""
    # So many that what the process grows by once, some 6 MB with the first streams, is a small part of each.
    found = measure_unread(tmp_path, 160, 10.0)
    assert found["connections"] == 160
    assert 0 < found["process_bytes"] < UNREAD_BYTES
    assert kernel_bytes() >= 0
