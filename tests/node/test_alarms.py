"""A running node under a real Prometheus with the rules of deploy/: alarms are provoked, and go when it is mended."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from tests.node.harness import Node, free_port, new_node
from tests.support.prometheus import Watched, watching
from trinity.observe.log_bounds import LOG_LINES_A_SECOND
from trinity.store.embedded import embedded_url
from trinity.vocabulary import EXCHANGES

# Until an alarm is raised or gone: detection by the node, a scrape, two evaluations.
ALARM_SECONDS = 60.0
# What no test may bring a machine to: there the mark is one that this machine is beyond.
MARKS = {
    "trinity_machine_memory_size_bytes > 0.85": "trinity_machine_memory_size_bytes > 0",
    "trinity_data_disk_size_bytes < 0.10": "trinity_data_disk_size_bytes < 1.1",
    "[15s]))) > 0.010": "[15s]))) > 0",
}
RING_RECORDS = 16_384


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A demo whose Valkey and whose monitor are nowhere, with small rings."""
    nowhere = free_port(socket.SOCK_STREAM)
    settings = {
        "HEARTBEAT_URL": f"http://127.0.0.1:{nowhere}/ping",
        "CACHE_URL": f"valkey://127.0.0.1:{nowhere}",
        "LEDGER_RING_RECORDS": str(RING_RECORDS),
    }
    with new_node(tmp_path_factory.mktemp("alarms"), **settings) as started:
        started.start()
        started.wait_ready()
        started.wait_reports_ready()
        started.wait_database()
        yield started


@pytest.fixture(scope="module")
def watched(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if (program := shutil.which("prometheus")) is None:
        pytest.skip("no prometheus on this machine")
    folder, port = tmp_path_factory.mktemp("prometheus") / "run", free_port(socket.SOCK_STREAM)
    with watching(program, folder, node.ports["HEALTH_PORT_LPO"], port, MARKS) as started:
        node.wait("Prometheus to ask the node", started.is_there, ALARM_SECONDS)
        yield started


def _raised(node: Node, watched: Watched, alert: str) -> None:
    node.wait(alert, lambda: alert in watched.firing(), ALARM_SECONDS)


def _gone(node: Node, watched: Watched, *alerts: str) -> None:
    node.wait(f"the end of {alerts}", lambda: not watched.firing() & set(alerts), 2 * ALARM_SECONDS)


@contextlib.contextmanager
def _asking(node: Node, ask: Callable[[socket.socket], object]) -> Iterator[None]:
    """Datagrams to the lookups, one after the other, as long as the block lasts; nobody reads the answers."""
    stopping = threading.Event()

    def go_on() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.connect(("127.0.0.1", node.ports["UDP_PORT_LPO"]))
            while not stopping.wait(0.005):
                with contextlib.suppress(OSError):
                    ask(asker)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(10)


def _ask_many(asker: socket.socket) -> None:
    for _ in range(20):
        asker.send(b"BTC")


def _kill_until(node: Node, watched: Watched, process: str, alert: str) -> None:
    """As often as it is started again."""
    seen = set()

    def kill_on() -> bool:
        if (pid := node.pid(process)) and pid not in seen:
            seen.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return alert in watched.firing()

    node.wait(f"{alert} by deaths of {process}", kill_on, 2 * ALARM_SECONDS)


@pytest.mark.long
def test_what_is_wrong_from_the_start_is_told(node: Node, watched: Watched) -> None:
    """No Valkey, a monitor that takes nothing; memory and disk, whose marks this machine is beyond here."""
    for alert in ("TrinityCacheDown", "TrinityHeartbeatFailing", "TrinityMemoryHigh", "TrinityDiskSpaceLow"):
        _raised(node, watched, alert)
    quiet = {"TrinityDatabaseDown", "TrinityNoFreshPrices", "TrinityProcessDown", "TrinityLookupsTargetUnhealthy"}
    assert not watched.firing() & quiet


@pytest.mark.long
def test_each_exchange_that_is_lost_raises_its_own_alarm_and_all_together_that_of_prices(
    node: Node, watched: Watched
) -> None:
    """One after the other: nobody is alarmed of an exchange that delivers; answers are errors then."""
    names = [f"TrinityFeedDown{exchange.capitalize()}" for exchange in EXCHANGES]
    for number, exchange in enumerate(EXCHANGES):
        for fault, seconds in (("refuse", 600), ("rest_500", 600), ("disconnect", 1)):
            node.fault(exchange=exchange, fault=fault, seconds=seconds)
        _raised(node, watched, names[number])
        assert not watched.firing() & set(names[number + 1 :])
    for alert in ("TrinityNoFreshPrices", "TrinityLookupsTargetUnhealthy"):
        _raised(node, watched, alert)
    node.wait(
        "TrinityErrorsHigh", lambda: node.price()[0] == 503 and "TrinityErrorsHigh" in watched.firing(), ALARM_SECONDS
    )
    node.wait("TrinityDegraded", lambda: "TrinityDegraded" in watched.firing(), ALARM_SECONDS)
    node.clear_faults()
    _gone(node, watched, *names, "TrinityNoFreshPrices", "TrinityLookupsTargetUnhealthy")


@pytest.mark.long
def test_many_requests_raise_the_alarms_of_load(node: Node, watched: Watched) -> None:
    """More than 50,000 a minute; processors that other programs take; and how long the median takes."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        with _asking(node, _ask_many):
            _raised(node, watched, "TrinityRequestsHigh")
            _raised(node, watched, "TrinityCpuHigh")
            node.wait(
                "TrinityLatencyHigh",
                lambda: node.price()[0] and "TrinityLatencyHigh" in watched.firing(),
                ALARM_SECONDS,
            )
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    _gone(node, watched, "TrinityRequestsHigh")


@pytest.mark.long
def test_usage_that_nobody_takes_over_raises_the_ledger_s_alarms(node: Node, watched: Watched) -> None:
    """The flusher stands still while the rings fill; what finds no room is lost, and told."""
    flusher = node.pid("flusher")
    before = watched.firing()
    assert not before & {"TrinityLedgerSlotsHigh", "TrinityLedgerRecordsLost"}
    seen: set[str] = set()

    def told() -> bool:
        nonlocal flusher
        seen.update(watched.firing())
        if (pid := node.pid("flusher")) and pid != flusher:  # the supervisor killed it: it hung
            flusher = pid
            os.kill(flusher, signal.SIGSTOP)
        return {"TrinityLedgerSlotsHigh", "TrinityLedgerRecordsLost"} <= seen

    with _asking(node, _ask_many), _asking(node, _ask_many):
        os.kill(flusher, signal.SIGSTOP)
        node.wait("both alarms", told, 2 * ALARM_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.kill(flusher, signal.SIGCONT)
    _gone(node, watched, "TrinityLedgerSlotsHigh")


@pytest.mark.long
def test_a_busy_database_and_a_failing_job_are_told(node: Node, watched: Watched) -> None:
    """Sessions that work all at once; a table that a job misses."""
    url = embedded_url(node.data_dir)
    sleepers = [psycopg.connect(url) for _ in range(12)]
    threads = [threading.Thread(target=_sleep_there, args=[one], daemon=True) for one in sleepers]
    for thread in threads:
        thread.start()
    _raised(node, watched, "TrinityDatabaseLoadHigh")
    for one in sleepers:
        one.cancel()
    for thread in threads:
        thread.join(30)
    _gone(node, watched, "TrinityDatabaseLoadHigh")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE price_minute RENAME TO price_minute_away")
        try:
            _raised(node, watched, "TrinityJobFailing")
        finally:
            connection.execute("ALTER TABLE price_minute_away RENAME TO price_minute")
    _gone(node, watched, "TrinityJobFailing")


def _sleep_there(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT pg_sleep(600)")
    connection.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("process", "alert"),
    [
        ("operator", "TrinityProcessDown"),
        ("reporter-0", "TrinityReportsTargetUnhealthy"),
        ("database", "TrinityDatabaseDown"),
    ],
)
def test_a_process_that_dies_again_and_again_raises_the_alarm_of_what_it_does(
    node: Node, watched: Watched, process: str, alert: str
) -> None:
    """And when it lives the alarm is gone."""
    _gone(node, watched, alert)
    _kill_until(node, watched, process, alert)
    _gone(node, watched, alert)


@pytest.mark.long
def test_a_node_that_is_gone_raises_the_alarms_of_who_asks_it(node: Node, watched: Watched) -> None:
    """Nothing is asked of it after this."""
    assert node.stop() == 0
    node.process = None
    for alert in ("TrinityNoNode", "TrinityLookupsTargetUnhealthy"):
        _raised(node, watched, alert)


@pytest.mark.long
def test_no_process_wrote_twenty_lines_in_a_second_through_all_of_this(node: Node) -> None:
    """Exchanges, processes and the database came and went, records were lost: a line a change, and none held back."""
    files = list((node.data_dir / "logs").glob("*.jsonl*"))
    assert files
    for file in files:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        by_second = Counter(str(line["time"])[:19] for line in lines)
        assert max(by_second.values(), default=0) <= LOG_LINES_A_SECOND, (file.name, by_second.most_common(3))
        assert not [line for line in lines if "held_back" in line], file.name


class _Beats(BaseHTTPRequestHandler):
    """Counts what it is asked."""

    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.long
def test_a_monitor_hears_a_node_until_its_exchanges_stand_still_and_again_when_they_are_back(tmp_path: Path) -> None:
    """Over a whole period of a minute nothing is heard while no price is fresh."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Beats) as monitor:
        threading.Thread(target=monitor.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{monitor.server_address[1]}/of-this-node"
        with new_node(tmp_path / "data", HEARTBEAT_URL=url) as node:
            node.start()
            node.wait_ready()
            node.wait("a beat", lambda: _Beats.count, 60)
            for exchange in EXCHANGES:
                for fault in ("freeze", "rest_freeze"):
                    node.fault(exchange=exchange, fault=fault, seconds=600)
            node.wait("silence", lambda: node.metrics("trinity_heartbeat_withheld") == [1.0], 60)
            heard, until = _Beats.count, node.health()["processes"]["health"]
            assert until["alive"]
            minute = threading.Event()
            assert not minute.wait(65), "a whole period, in which a beat would have been due"
            assert _Beats.count == heard
            node.clear_faults()
            node.wait("a beat again", lambda: _Beats.count > heard, 60)
            assert "of-this-node" not in node.output()
            assert node.stop() == 0
        monitor.shutdown()
