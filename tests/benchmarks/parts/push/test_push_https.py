"""The three senders against the same receivers, short."""

from pathlib import Path

from benchmarks.parts.push.push_https import measure_push_https
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_every_sender_delivers_over_connections_that_stand(tmp_path: Path) -> None:
    """Each one is measured, and ours makes no connection while it is."""
    found = measure_push_https(tmp_path, 1, 0.5, Progress(SystemClock(), quiet=True))
    assert set(found["senders"]) == {"ours", "aiohttp", "httpx2"}
    assert set(found["ratio_of_ours"]) == {"aiohttp", "httpx2"}
    for row in found["senders"].values():
        assert row["deliveries"] > 0
        assert row["cpu_us"] > 0
    assert found["senders"]["ours"]["new_connections"] == 0
