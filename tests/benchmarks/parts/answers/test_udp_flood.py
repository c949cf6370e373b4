"""The asker against a server of ten lines, and a short flood against the bare worker."""

import socket
import threading
from pathlib import Path

import pytest

from benchmarks.parts.answers import udp_flood
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_what_is_not_answered_is_lost_and_nothing_is_counted_twice() -> None:
    """A server that answers nine of ten questions."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def serve() -> None:
            for _ in range(100):
                question, asker = server.recvfrom(4096)
                number = int(question.partition(b'"id":')[2].rstrip(b"} "))
                if number % 10:
                    server.sendto(b'{"id":%d,"asset":"BTC"}' % number, asker)

        thread = threading.Thread(target=serve)
        thread.start()
        found = udp_flood.ask(server.getsockname()[1], 100 / udp_flood.RATE)
        thread.join()
    assert (found["asked"], found["answered"]) == (100, 90)
    assert 0 < found["p50_us"] <= found["p99_us"] < 5_000_000


def test_a_flood_that_needs_no_answer_takes_no_lookup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the worker as it is: empty datagrams never take a place in its queue."""
    monkeypatch.setattr(udp_flood, "FLOODS", {"none": None, "empty": b""})
    found = udp_flood.measure_udp_flood(tmp_path, 0.5, Progress(SystemClock(), quiet=True))
    assert set(found) == {"none", "empty"}
    assert found["empty"]["flood_per_second"] > 1_000
    for row in found.values():
        assert row["answered"] >= 0.9 * row["asked"]
