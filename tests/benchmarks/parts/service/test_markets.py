"""The cost of CoinGecko's table: a small run over a real database."""

from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.parts.service.markets import _check, measure_markets
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_a_small_run_answers_each_question(tmp_path: Path) -> None:
    """With latencies and processor time that are more than nothing."""
    found = measure_markets(tmp_path, 10, Progress(SystemClock()))
    assert len(found["questions"]) == 6
    for row in found["questions"].values():
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["cpu_ms"] > 0


@pytest.mark.parametrize("body", [b"[]", b'[{"current_price":1,"price_change_24h":null}]'])
def test_an_answer_without_prices_or_changes_is_no_figure(body: bytes) -> None:
    """It is said instead."""
    with pytest.raises(PeerError):
        _check(body, 1)
