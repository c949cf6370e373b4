"""trinity/clock.py"""

import time

from trinity.clock import NS_PER_SECOND, SystemClock


def test_the_system_clock_reads_the_machines_clocks() -> None:
    """Monotonic and wall time are those that every other process of the host sees."""
    clock = SystemClock()
    before, wall_before = time.monotonic_ns(), time.time_ns()
    monotonic, wall = clock.monotonic_ns(), clock.wall_ns()
    assert before <= monotonic <= time.monotonic_ns()
    assert abs(wall - wall_before) < 60 * NS_PER_SECOND


def test_it_waits_for_as_long_as_it_is_told() -> None:
    """Not less; how much more is the machine's affair."""
    clock = SystemClock()
    before = clock.monotonic_ns()
    clock.sleep_ns(3_000_000)
    assert clock.monotonic_ns() - before >= 3_000_000
