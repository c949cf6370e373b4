"""benchmarks/parts/service/ledger.py"""

from benchmarks.parts.service.ledger import measure, measure_deliveries


def test_the_load_is_measured_on_a_real_database() -> None:
    """Small segments for a moment: everything is loaded, and both sides cost something."""
    load = measure(0.1, keys=3, records=500)
    assert load.rows >= 500
    assert load.rows % 500 == 0
    assert load.seconds >= 0.1
    assert load.python_us > 0
    assert load.bytes > 16, "more than its two numbers"
    assert load.sums_bytes > 0


def test_the_load_of_deliveries_is_measured_in_the_same_way() -> None:
    """A row each, and no sums."""
    load = measure_deliveries(0.1, records=500)
    assert load.rows >= 500
    assert load.python_us > 0
    assert load.bytes > 56, "more than its record"
