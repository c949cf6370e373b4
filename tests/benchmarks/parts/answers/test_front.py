"""benchmarks/parts/answers/front.py"""

import shutil
from pathlib import Path

import pytest

from benchmarks.parts.answers.front import PROTOCOLS, WAYS, measure_front
from benchmarks.progress import Progress
from trinity.clock import SystemClock

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(not (shutil.which("valkey-server") or shutil.which("redis-server")), reason="no valkey-server"),
]


def test_both_ways_answer_and_nothing_is_lost_behind_nginx(tmp_path: Path) -> None:
    """Every row is of answers; nginx's time is counted on its way alone."""
    clock = SystemClock()
    found = measure_front(tmp_path, 1, 0.2, 1.0, clock, Progress(clock, quiet=True))
    for protocol in PROTOCOLS:
        assert all(found[protocol][way]["per_second"] > 0 for way in WAYS)
        assert found[protocol]["direct"]["nginx_us"] < found[protocol]["nginx"]["nginx_us"]
        assert found["soak"][protocol]["answered"] > 0
    assert found["wrong"] == 0
