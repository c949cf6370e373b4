"""The metrics of the node as Prometheus text, read from shared memory and the kernel at the scrape.

Rules: names and words come from `trinity/observe/metrics.py`; a process's own counters get its label (`exchange` for a
feed, `worker` for a request worker, `reporter` for one of the reports, `process` for what several kinds count). Nothing
is kept here: a restarted health process shows the same numbers. One address has all of them (`node_families`); that of
the reporting service has its own only (`report_families`), so that who scrapes both counts no price twice.

Words of a histogram: one count for each bucket alone (not summed up), the sum in nanoseconds.
"""

import platform
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from trinity.clock import NS_PER_SECOND
from trinity.memory.control import ProcessBlock
from trinity.observe.machine import DiskRoom, read_machine_use, read_process_use
from trinity.observe.metrics import FLUSHER, OF_CACHE, REGISTERS
from trinity.observe.readings import AssetView, ExchangeView, ProcessView, SourceView
from trinity.observe.reasons import REASONS, Reading
from trinity.observe.register import Metric as DeclaredMetric
from trinity.observe.register import Register
from trinity.observe.status import report_ready, report_reports_ready

# Of every metric's name; all others in this project are without it.
PREFIX = "trinity_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The label that tells processes of one kind apart; a kind with a single process needs none.
_REPORTER = "reporter"
_PROCESS_LABELS = {"feed": "exchange", "worker": "worker", _REPORTER: "reporter"}


def render_metrics(families: Iterable[Metric]) -> bytes:
    """The text of /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    return generate_latest(registry)


def node_families(reading: Reading, disk: DiskRoom | None) -> Iterator[Metric]:
    """All of the node."""
    yield _build_family(reading)
    yield from _node_families(reading)
    if any(view.kind == _REPORTER for view in reading.processes):  # else nobody misses it, and no alarm is about it
        yield _reports_family(reading)
    yield _reasons_family(reading)
    yield from _disk_families(disk)
    yield from _machine_families()
    yield from _process_families(reading.processes)
    yield from _source_families(reading.sources)
    yield from _exchange_families(reading.exchanges)
    yield from _asset_families(reading.assets)
    for kind, register in REGISTERS.items():
        yield from _register_families(reading, kind, register)
    yield from _cache_families(reading, REGISTERS)
    yield from _ledger_families(reading)


def report_families(reading: Reading, _disk: DiskRoom | None) -> Iterator[Metric]:
    """The reporting service's own."""
    yield _build_family(reading)
    yield _reports_family(reading)
    yield from _process_families([view for view in reading.processes if view.kind == _REPORTER])
    yield from _register_families(reading, _REPORTER, REGISTERS[_REPORTER])
    yield from _cache_families(reading, [_REPORTER])


class _Collected(Collector):
    """prometheus_client's view of the families."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return map(_with_prefix, self._families)


def _with_prefix(family: Metric) -> Metric:
    family.name = PREFIX + family.name
    family.samples = [sample._replace(name=PREFIX + sample.name) for sample in family.samples]
    return family


def _node_families(reading: Reading) -> Iterator[Metric]:
    ready, _ = report_ready(reading)
    yield GaugeMetricFamily("ready", "1 when lookups may be sent to this node.", value=float(ready))
    simulated = float(reading.memory.card.simulated)
    yield GaugeMetricFamily("simulated", "1 when the exchanges are simulated.", value=simulated)


def _build_family(reading: Reading) -> Metric:
    """As is usual, a gauge that is always 1: the labels are what it says."""
    family = GaugeMetricFamily("build_info", "1; what this node runs.", labels=["version", "python"])
    family.add_metric([reading.memory.card.version, platform.python_version()], 1.0)
    return family


def _reports_family(reading: Reading) -> Metric:
    ready, _ = report_reports_ready(reading)
    text = "1 when calls of the reporting service may be sent to this node."
    return GaugeMetricFamily("reports_ready", text, value=float(ready))


def _reasons_family(reading: Reading) -> Metric:
    """The same table as /health: an alarm over it says what that says."""
    family = GaugeMetricFamily("health_reason", "1 while /health gives this reason.", labels=["code"])
    for reason in REASONS:
        family.add_metric([reason.code], float(bool(reason.sentences(reading))))
    return family


def _disk_families(disk: DiskRoom | None) -> Iterator[Metric]:
    """Of the data directory's file system; none while it does not answer."""
    if disk is not None:
        text = "Size of the file system with the data directory."
        yield GaugeMetricFamily("data_disk_size_bytes", text, value=float(disk.size_bytes))
        text = "Room left there for the node."
        yield GaugeMetricFamily("data_disk_free_bytes", text, value=float(disk.free_bytes))


def _machine_families() -> Iterator[Metric]:
    """What the node is given, and how much of it is used, by whomever; none where the kernel does not say."""
    if (use := read_machine_use()) is None:
        return
    text = "Processor time that was used, by all that runs here."
    yield CounterMetricFamily("machine_cpu_seconds", text, value=use.cpu_seconds)
    yield GaugeMetricFamily("machine_cpus", "Processors that the node is given.", value=use.cpus)
    text = "Memory in use, without what can be dropped at once."
    yield GaugeMetricFamily("machine_memory_used_bytes", text, value=float(use.memory_used_bytes))
    yield GaugeMetricFamily("machine_memory_size_bytes", "Memory that the node is given.", value=use.memory_size_bytes)


def _process_families(views: list[ProcessView]) -> Iterator[Metric]:
    up = GaugeMetricFamily("process_up", "1 when the process makes progress.", labels=["process"])
    age = GaugeMetricFamily(
        "process_heartbeat_age_seconds", "Time since the data loop's last turn.", labels=["process"]
    )
    failing = GaugeMetricFamily("process_failing", "1 while it dies again and again.", labels=["process"])
    restarts = CounterMetricFamily("process_restarts", "Starts after the first.", labels=["process"])
    cpu = CounterMetricFamily("process_cpu_seconds", "Processor time since it started.", labels=["process"])
    memory = GaugeMetricFamily(
        "process_resident_memory_bytes", "Memory in use, with what the processes share.", labels=["process"]
    )
    for view in views:
        if not view.resting:
            up.add_metric([view.name], float(view.alive))
        failing.add_metric([view.name], float(view.failing))
        restarts.add_metric([view.name], view.restarts)
        if view.heartbeat_age_ns is not None:
            age.add_metric([view.name], view.heartbeat_age_ns / NS_PER_SECOND)
        if (use := read_process_use(view.pid)) is not None:
            cpu.add_metric([view.name], use.cpu_seconds)
            memory.add_metric([view.name], float(use.resident_bytes))
    yield from (up, age, failing, restarts, cpu, memory)


def _source_families(views: list[SourceView]) -> Iterator[Metric]:
    labels = ["exchange", "asset"]
    updated = GaugeMetricFamily(
        "source_last_update_timestamp_seconds", "Receipt of the newest quote, wall clock.", labels=labels
    )
    state = GaugeMetricFamily(
        "source_state", "0 unknown, 1 starting, 2 live, 3 quiet, 4 stale, 5 frozen.", labels=labels
    )
    used = GaugeMetricFamily("source_used", "1 when the source is part of the consensus price.", labels=labels)
    for view in views:
        key = [view.exchange, view.asset]
        state.add_metric(key, float(view.state))
        used.add_metric(key, float(view.verdict == "used"))
        if view.received_wall_ns is not None:
            updated.add_metric(key, view.received_wall_ns / NS_PER_SECOND)
    yield from (updated, state, used)


def _exchange_families(views: list[ExchangeView]) -> Iterator[Metric]:
    up = GaugeMetricFamily("feed_up", "1 when the exchange delivers, by WebSocket or REST.", labels=["exchange"])
    for view in views:
        up.add_metric([view.exchange], float(view.status != "down"))
    yield up


# Name, help and value of each gauge that an asset has; None leaves the series out.
_ASSET_GAUGES: tuple[tuple[str, str, Callable[[AssetView], float | None]], ...] = (
    ("price_fresh", "1 when the asset's price is served.", lambda view: float(view.fresh)),
    (
        "price_usd",
        "Consensus price; absent while it is refused.",
        lambda view: None if view.price is None else float(view.price),
    ),
    (
        "last_price_usd",
        "The last good price, while there is no other.",
        lambda view: None if view.last_price is None else float(view.last_price),
    ),
    (
        "price_age_seconds",
        "Age of the price, or of the last good one: that of the oldest quote which its median stands on.",
        lambda view: None if view.age_ns is None else view.age_ns / NS_PER_SECOND,
    ),
    ("price_sources_used", "Sources in the price; 0 while it is refused.", lambda view: float(view.sources)),
    ("price_sources_good", "Sources that no step left out.", lambda view: float(view.voters)),
    ("price_sources_rejected", "Sources left out of the price.", lambda view: float(view.rejected)),
    ("price_sources_required", "Fewest sources that make a price.", lambda view: float(view.sources_required)),
    (
        "price_disagreement_ratio",
        "(highest - lowest) / price before any source was left out.",
        lambda view: view.disagreement_ratio,
    ),
    ("price_confidence_ratio", "Confidence / price; absent while refused.", lambda view: view.confidence_ratio),
)


def _asset_families(views: list[AssetView]) -> Iterator[Metric]:
    for name, text, value_of in _ASSET_GAUGES:
        family = GaugeMetricFamily(name, text, labels=["asset"])
        for view in views:
            value = value_of(view)
            if value is not None:
                family.add_metric([view.asset], value)
        yield family


def _register_families(reading: Reading, kind: str, register: Register) -> Iterator[Metric]:
    label = _PROCESS_LABELS.get(kind)
    blocks = [
        ([entry.name.removeprefix(f"{kind}-")] if label else [], reading.memory.control.block(index))
        for index, entry in enumerate(reading.memory.card.processes)
        if entry.kind == kind
    ]
    # A spare counts on from where it was; of what is so now it says nothing.
    resting = {view.name for view in reading.processes if view.resting}
    present = [one for one in blocks if not label or f"{kind}-{one[0][0]}" not in resting]
    for metric in register.metrics:
        if metric.name in _RING_GAUGES or metric in OF_CACHE:
            continue
        of_whom = present if metric.kind == "gauge" else blocks
        yield _FAMILIES[metric.kind](register, metric, [label] if label else [], of_whom)


def _cache_families(reading: Reading, kinds: Iterable[str]) -> Iterator[Metric]:
    """What each process that asks Valkey tells of it: one family over all kinds."""
    asking = [kind for kind in kinds if OF_CACHE[0] in REGISTERS[kind].metrics]
    for metric in OF_CACHE:
        made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = made(metric.name, metric.text, labels=["process"])
        for index, entry in enumerate(reading.memory.card.processes):
            if entry.kind in asking and not (metric.kind == "gauge" and reading.processes[index].resting):
                word, block = REGISTERS[entry.kind].index(metric.name), reading.memory.control.block(index)
                value = block.read_counter(word) if metric.kind == "counter" else block.read_gauge(word)
                family.add_metric([entry.name], value)
        yield family


def _ledger_families(reading: Reading) -> Iterator[Metric]:
    """In the place of the flusher's gauges: a silent one leaves its last values, of which an alarm must not be made."""
    if reading.ledger is None:
        return
    for metric in FLUSHER.metrics:
        if metric.name in _RING_GAUGES:
            value = float(getattr(reading.ledger, _RING_GAUGES[metric.name]))
            yield GaugeMetricFamily(metric.name, metric.text, value=value)


# Gauges of the flusher that are read from the rings while it is silent: the field of LedgerView.
_RING_GAUGES = {
    "usage_ring_share": "ring_share",
    "usage_ring_share_max": "ring_share_max",
    "usage_alarm": "alarm",
}
_Blocks = list[tuple[list[str], ProcessBlock]]


def _counter_family(register: Register, metric: DeclaredMetric, labels: list[str], blocks: _Blocks) -> Metric:
    names = labels + [name for name, _ in metric.labels]
    family = CounterMetricFamily(metric.name, metric.text, labels=names)
    for own, block in blocks:
        for series in metric.series():
            family.add_metric([*own, *series], block.read_counter(register.index(metric.name, *series)))
    return family


def _gauge_family(register: Register, metric: DeclaredMetric, labels: list[str], blocks: _Blocks) -> Metric:
    names = labels + [name for name, _ in metric.labels]
    family = GaugeMetricFamily(metric.name, metric.text, labels=names)
    for own, block in blocks:
        for series in metric.series():
            family.add_metric([*own, *series], block.read_gauge(register.index(metric.name, *series)))
    return family


def _histogram_family(register: Register, metric: DeclaredMetric, labels: list[str], blocks: _Blocks) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.text, labels=labels)
    bounds = [bound for bound in metric.labels[0][1] if bound != "sum"]
    for own, block in blocks:
        total, buckets = 0, []
        for bound in bounds:
            total += block.read_counter(register.index(metric.name, bound))
            buckets.append((bound, float(total)))
        sum_ns = block.read_counter(register.index(metric.name, "sum"))
        family.add_metric(own, buckets, sum_ns / NS_PER_SECOND)
    return family


_FAMILIES = {"counter": _counter_family, "gauge": _gauge_family, "histogram": _histogram_family}
