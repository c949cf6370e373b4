"""What a metric is, and which words of a process's block its series are (trinity/observe/metrics.py declares them)."""

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

from trinity.limits import COUNTER_WORDS


class Metric(NamedTuple):
    """One family: its series are all combinations of its label values."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def series(self) -> Iterator[tuple[str, ...]]:
        """Label values of each series, in the order of their words."""
        return product(*(values for _, values in self.labels))


class Register:
    """The words of one kind of process: a fixed index for each series of each metric."""

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics
        keys = [(metric.name, series) for metric in metrics for series in metric.series()]
        self._index = {key: i for i, key in enumerate(keys)}
        assert len(keys) == len(self._index), "a series is declared twice"
        assert len(keys) <= COUNTER_WORDS, "raise COUNTER_WORDS in trinity/limits.py"

    def index(self, name: str, *label_values: str) -> int:
        """Word of a series within the counters of a block; KeyError for an undeclared one."""
        return self._index[(name, label_values)]
