"""trinity/observe/metrics.py: what Prometheus asks of names; the words are test_register.py's."""

import pytest

from trinity.observe.metrics import REGISTERS

# Names that a library or the exposition gives to a family's parts.
_OF_HISTOGRAMS = ("_bucket", "_count", "_sum")


@pytest.mark.parametrize("kind", sorted(REGISTERS))
def test_counters_end_with_total_and_no_other_metric_does(kind: str) -> None:
    """And no name collides with a part of a histogram."""
    for metric in REGISTERS[kind].metrics:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not metric.name.endswith(_OF_HISTOGRAMS), metric.name


def test_a_name_is_of_one_kind_of_process_or_the_same_in_all() -> None:
    """Two processes do not count different things under one name."""
    seen = {}
    for register in REGISTERS.values():
        for metric in register.metrics:
            assert seen.setdefault(metric.name, metric) == metric, metric.name
