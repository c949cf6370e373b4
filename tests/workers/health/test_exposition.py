"""/metrics, read back with prometheus_client's own parser."""

import os
import platform
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.node_fixture import (
    CATALOG,
    NOW_NS,
    SECOND,
    WALL_NS,
    busy_node,
    fill_spare_rows,
    set_answer,
    set_process,
)
from tests.trinity.observe.test_status import ring_with
from trinity.memory.answer_table import COINS, AnswerState
from trinity.memory.control import FAILING, PID
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.usage_ring import UsageRing
from trinity.observe.machine import DiskRoom
from trinity.observe.metrics import CONSENSUS, DURATION_BOUNDS, FEED, REGISTERS, REQUEST
from trinity.observe.reasons import REASONS, Reading
from trinity.observe.status import read_node, report_health
from trinity.version import version
from workers.health.exposition import PREFIX, node_families, render_metrics, report_families

WORKER_0 = len(CATALOG.exchanges) + 1
CONSENSUS_PROCESS = len(CATALOG.exchanges)
DISK = DiskRoom(size_bytes=10**12, free_bytes=10**11)
Families = Callable[[Reading, DiskRoom | None], Iterator[Metric]]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _samples(memory: NodeMemory, *rings: UsageRing, families: Families = node_families) -> Samples:
    text = render_metrics(families(read_node(memory, NOW_NS, rings), DISK)).decode()
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, "a series is there once"
            samples[key] = sample.value
    return samples


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples[(name, frozenset(labels.items()))]


def _of_the_node(samples: Samples) -> Samples:
    """Without what other programs of the machine change at any moment."""
    return {key: value for key, value in samples.items() if not key[0].startswith("trinity_machine_")}


def test_spare_rows_are_in_no_metric() -> None:
    """Good prices in the rows that are not in use change no sample and add none."""
    with busy_node() as memory:
        before = _of_the_node(_samples(memory))
        fill_spare_rows(memory)
        assert _of_the_node(_samples(memory)) == before


def test_every_declared_metric_is_there_before_the_first_event() -> None:
    """A series that appears only with its first event cannot be alarmed on."""
    entries = tuple(ProcessEntry(kind, kind) for kind in REGISTERS)
    memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
    try:
        names = {name for name, _ in _samples(memory)}
    finally:
        memory.unlink()
    for register in REGISTERS.values():
        for metric in register.metrics:
            assert {PREFIX + metric.name, f"{PREFIX}{metric.name}_bucket"} & names, metric.name


def test_the_documented_names_carry_what_was_written() -> None:
    """Sources, prices, indexes and processes, by their labels."""
    with busy_node(simulated=True) as memory:
        set_process(memory, 2, beat_age_ns=2 * SECOND, restarts=3)
        memory.control.block(2).write(FAILING, 1)
        samples = _samples(memory)
        source = {"exchange": "kraken", "asset": "BTC"}
        assert _value(samples, "trinity_source_last_update_timestamp_seconds", **source) == WALL_NS / SECOND
        assert _value(samples, "trinity_source_state", **source) == 2
        assert _value(samples, "trinity_source_used", **source) == 1
        assert _value(samples, "trinity_price_sources_used", asset="BTC") == 5
        assert _value(samples, "trinity_price_sources_rejected", asset="BTC") == 1
        assert _value(samples, "trinity_price_usd", asset="BTC") == 71002.5
        assert _value(samples, "trinity_price_age_seconds", asset="BTC") == 0.03
        assert _value(samples, "trinity_price_disagreement_ratio", asset="BTC") == pytest.approx(1.69e-4)
        assert _value(samples, "trinity_feed_up", exchange="kraken") == 1
        assert _value(samples, "trinity_process_restarts_total", process="feed-kraken") == 3
        assert _value(samples, "trinity_process_failing", process="feed-kraken") == 1
        assert _value(samples, "trinity_process_failing", process="health") == 0
        assert _value(samples, "trinity_process_heartbeat_age_seconds", process="feed-kraken") == 2
        assert _value(samples, "trinity_process_up", process="feed-kraken") == 1
        assert _value(samples, "trinity_ready") == 1
        assert _value(samples, "trinity_simulated") == 1


def test_a_refused_price_is_absent_and_no_source_is_used() -> None:
    """The last good one has a series of its own, which is not there while the price is."""
    with busy_node() as memory:
        set_answer(memory, "BTC", AnswerState.SOURCES_DISAGREE)
        samples = _samples(memory)
        btc = frozenset({("asset", "BTC")})
        assert ("trinity_price_usd", btc) not in samples
        assert ("trinity_price_confidence_ratio", btc) not in samples
        assert ("trinity_last_price_usd", frozenset({("asset", "ETH")})) not in samples
        assert _value(samples, "trinity_last_price_usd", asset="BTC") == 71002.5
        assert _value(samples, "trinity_price_fresh", asset="BTC") == 0
        assert _value(samples, "trinity_price_sources_used", asset="BTC") == 0
        assert _value(samples, "trinity_price_sources_good", asset="BTC") == 5
        assert _value(samples, "trinity_source_used", exchange="kraken", asset="BTC") == 0
        assert _value(samples, "trinity_source_used", exchange="kraken", asset="ETH") == 1


def test_counters_and_gauges_come_from_the_blocks_with_their_process_as_label() -> None:
    """A feed's by exchange, a worker's by worker, the consensus without one."""
    with busy_node() as memory:
        memory.control.block(2).count(FEED.index("parse_errors_total", "bad_number"), 7)
        consensus = memory.control.block(CONSENSUS_PROCESS)
        consensus.count(CONSENSUS.index("price_rejected_total", "okx", "outlier"), 2)
        consensus.set_gauge(CONSENSUS.index("stablecoin_usd_index", "USDT"), 0.9991)
        memory.control.block(WORKER_0 + 1).count(REQUEST.index("http_responses_total", "503"), 4)
        samples = _samples(memory)
        assert _value(samples, "trinity_parse_errors_total", exchange="kraken", reason="bad_number") == 7
        assert _value(samples, "trinity_parse_errors_total", exchange="okx", reason="bad_number") == 0
        assert _value(samples, "trinity_ws_connected", exchange="okx") == 1
        assert _value(samples, "trinity_price_rejected_total", exchange="okx", reason="outlier") == 2
        assert _value(samples, "trinity_stablecoin_usd_index", asset="USDT") == 0.9991
        assert _value(samples, "trinity_http_responses_total", worker="1", status="503") == 4
        assert _value(samples, "trinity_http_responses_total", worker="0", status="503") == 0


def test_a_histogram_is_summed_up_over_its_buckets() -> None:
    """The words hold each bucket alone; Prometheus wants them cumulative, and the sum in seconds."""
    word = "http_request_duration_seconds"
    name = PREFIX + word
    with busy_node() as memory:
        block = memory.control.block(WORKER_0)
        first, second = DURATION_BOUNDS[:2]
        block.count(REQUEST.index(word, first), 3)
        block.count(REQUEST.index(word, second), 2)
        block.count(REQUEST.index(word, "+Inf"), 1)
        block.count(REQUEST.index(word, "sum"), 1_500_000_000)
        samples = _samples(memory)
        assert _value(samples, f"{name}_bucket", worker="0", le=first) == 3
        assert _value(samples, f"{name}_bucket", worker="0", le=second) == 5
        assert _value(samples, f"{name}_bucket", worker="0", le="+Inf") == 6
        assert _value(samples, f"{name}_count", worker="0") == 6
        assert _value(samples, f"{name}_sum", worker="0") == 1.5


def test_names_follow_the_conventions_of_prometheus() -> None:
    """One prefix for all of them, once; no asset, exchange or coin in a name, and `_total` on counters only."""
    with busy_node() as memory:
        text = render_metrics(node_families(read_node(memory, NOW_NS, ()), DISK)).decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert all(name.startswith("trinity_") and name.count("trinity") == 1 for name in kinds)
    words = {word for name in kinds for word in name.split("_")}
    assert not words & {
        name.lower() for name in (*CATALOG.exchanges, *(asset.name for asset in CATALOG.assets), *COINS)
    }
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        name for name in kinds if name.endswith("_total")
    }


def test_a_dead_flusher_s_alarm_follows_the_rings() -> None:
    """Its own gauges stand still: the alarm rises and falls without it."""
    with busy_node() as memory:
        flusher = len(memory.card.processes) - 1
        for share, alarm in ((0.0, 0.0), (0.5, 1.0), (0.0, 0.0)):
            set_process(memory, flusher, beat_age_ns=60 * SECOND)
            samples = _samples(memory, ring_with(int(1024 * share)))
            assert (_value(samples, "trinity_usage_ring_share"), _value(samples, "trinity_usage_alarm")) == (
                share,
                alarm,
            )
        set_process(memory, flusher, beat_age_ns=0)
        assert _value(_samples(memory, ring_with(512)), "trinity_usage_alarm") == 0.0, (
            "one that lives speaks for itself"
        )


def test_each_service_has_its_readiness() -> None:
    """Lookups need no reporter, reports no worker."""
    with busy_node() as memory:
        for entry, ready in (("reporter", (1, 0)), ("worker", (0, 1))):
            for index, process in enumerate(memory.card.processes):
                set_process(memory, index, beat_age_ns=60 * SECOND if process.kind == entry else 0)
            samples = _samples(memory)
            assert (_value(samples, "trinity_ready"), _value(samples, "trinity_reports_ready")) == ready


def test_the_build_and_the_disk_are_told() -> None:
    """Version of the node and of its Python as labels of a 1; size and room of the data directory's file system."""
    with busy_node() as memory:
        samples = _samples(memory)
        assert _value(samples, "trinity_build_info", version=version(), python=platform.python_version()) == 1
        assert _value(samples, "trinity_data_disk_size_bytes") == DISK.size_bytes
        assert _value(samples, "trinity_data_disk_free_bytes") == DISK.free_bytes
        silent = render_metrics(node_families(read_node(memory, NOW_NS, ()), None)).decode()
        assert "data_disk" not in silent, "a disk that does not answer has no size"


def test_processor_time_and_memory_are_told_of_who_lives() -> None:
    """By the process's name; one that is gone has no sample."""
    with busy_node() as memory:
        memory.control.block(0).write(PID, os.getpid())
        memory.control.block(1).write(PID, 2**22 + 1)
        first, second = (entry.name for entry in memory.card.processes[:2])
        samples = _samples(memory)
        assert _value(samples, "trinity_process_cpu_seconds_total", process=first) > 0
        assert _value(samples, "trinity_process_resident_memory_bytes", process=first) > 1_000_000
        assert ("trinity_process_resident_memory_bytes", frozenset({("process", second)})) not in samples


def test_the_reporting_service_s_address_has_its_own_only() -> None:
    """What it gives is part of the one address that gives all, and no price, feed or worker is in it."""
    with busy_node() as memory:
        all_of_it, own = _samples(memory), _samples(memory, families=report_families)
        assert own.items() <= all_of_it.items()
        others = {name for name, _ in own} - {"trinity_build_info", "trinity_reports_ready"}
        assert all(name.startswith(("trinity_report_", "trinity_process_", "trinity_cache_")) for name in others)
        shared = ("trinity_process_", "trinity_cache_")
        of = {dict(labels)["process"] for name, labels in own if name.startswith(shared)}
        assert of == {entry.name for entry in memory.card.processes if entry.kind == "reporter"}
        assert {name for name, _ in all_of_it if name.startswith("trinity_report_")} <= {name for name, _ in own}


def test_every_reason_of_health_is_a_series_that_says_the_same() -> None:
    """Of a node where all is well but one feed, and of one that has just begun."""
    with busy_node() as memory:
        set_process(memory, 2, beat_age_ns=60 * SECOND)
        samples = _samples(memory)
        told = {reason["code"] for reason in report_health(read_node(memory, NOW_NS, ()))[1]["reasons"]}
    assert "process_silent" in told
    values = {reason.code: _value(samples, "trinity_health_reason", code=reason.code) for reason in REASONS}
    assert {code for code, value in values.items() if value} == told
    assert len(values) == len(REASONS), "each code is there once"


def test_promtool_has_nothing_to_say_of_either_port_s_metrics() -> None:
    """Names, units, help texts and labels are as Prometheus's own linter wants them, of every kind of process."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("no promtool on this machine")
    entries = tuple(ProcessEntry(kind, kind) for kind in REGISTERS)
    memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
    try:
        for families in (node_families, report_families):
            text = render_metrics(families(read_node(memory, NOW_NS, ()), DISK))
            checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
            assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    finally:
        memory.unlink()
