"""trinity/observe/cache_meter.py"""

import logging

import pytest

from tests.support.contexts import open_context
from trinity.markets import load_catalog
from trinity.observe.cache_meter import CacheMeter
from trinity.observe.metrics import CLUSTER, OF_CACHE, REGISTERS


def test_the_meter_keeps_the_state_in_metrics_and_tells_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """A line when it goes, one when it is back, one when it is full."""
    with open_context("cluster", "cluster", load_catalog()) as context:
        context.block.set_gauge(CLUSTER.index("cache_up"), 1.0)
        meter = CacheMeter(context.block, CLUSTER, context.log, context.clock)

        def shown() -> list[float]:
            gauges = [context.block.read_gauge(CLUSTER.index(name)) for name in ("cache_up", "cache_full")]
            return [*gauges, context.block.read_counter(CLUSTER.index("cache_errors_total"))]

        assert shown() == [0, 0, 0]
        caplog.set_level(logging.INFO)
        meter.up()
        assert shown() == [1, 0, 0]
        meter.failed()
        meter.down("no answer")
        meter.down("no answer")
        assert shown() == [0, 0, 1]
        meter.up()
        meter.full(True)
        assert shown() == [1, 1, 1]
        told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert told == ["without the cache", "the cache answers", "the cache is full: it takes nothing more"]


@pytest.mark.parametrize("kind", ["cluster", "reporter", "operator"])
def test_every_process_that_asks_the_cache_has_its_metrics(kind: str) -> None:
    """The same three."""
    names = [metric.name for metric in REGISTERS[kind].metrics]
    assert [metric.name for metric in OF_CACHE if metric.name not in names] == []
