"""The gaps that the benchmark counts by are the published ones; test_main_slow_parts.py runs it."""

from benchmarks.parts.cluster import misses
from feeds.exchanges.registry import EXCHANGE_MODULES


def test_questions_are_counted_against_the_published_gaps() -> None:
    """Of all exchanges."""
    assert {name: module.PROFILE.rest_gap_seconds for name, module in EXCHANGE_MODULES.items()} == misses._GAPS
