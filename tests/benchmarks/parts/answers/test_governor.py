"""The parts of the governor's figures against servers of ten lines, without the node that they are measured of."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.generators.open_http import OpenOutcome
from benchmarks.parts.answers import governor
from benchmarks.progress import Progress
from benchmarks.servers.node import Node
from tests.benchmarks.generators.head_server import GOOD, Behaviour, head_server
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled

ASSETS = ["BTC", "ETH", "SOL", "AVERYLONGNAME"]
QUIET = Progress(SystemClock(), quiet=True)


class _Ours:
    """What is measured of a server: its process, here the test's own."""

    pid = os.getpid()


def _node(port: int) -> Node:
    ours: Any = _Ours()
    return Node("test", ours, port, 0, ASSETS, [ours.pid])


@contextlib.contextmanager
def _nodes(off: Behaviour, on: Behaviour) -> Iterator[tuple[Node, Node]]:
    with head_server(off) as without, head_server(on) as with_it:
        yield _node(without), _node(with_it)


def _outcome(in_time: float, p99_us: float) -> OpenOutcome:
    latency = {"p50": p99_us / 2, "p99": p99_us}
    return OpenOutcome(300.0, 90.0, 95.0, in_time, 200.0, 5.0, 0, 1, 0.5, latency, {"p50": 7_000.0})


def test_a_summary_is_the_middle_run_and_hides_no_fault() -> None:
    """Medians of all runs beside each run; what broke is added up."""
    found = governor._summary([_outcome(80.0, 3_000.0), _outcome(10.0, 90_000.0), _outcome(90.0, 2_000.0)], 100.0)
    assert found["goodput"] == 80.0
    assert found["goodput_of_peak"] == 0.8
    assert found["goodput_turns"] == [80.0, 10.0, 90.0]
    assert (found["p50_ms"], found["p99_ms"], found["p99_ms_turns"]) == (1.5, 3.0, [3.0, 90.0, 2.0])
    assert (found["broken"], found["refused_p50_ms"]) == (3, 7.0)


def test_each_request_is_a_list_of_short_names() -> None:
    """So that all of them cost the same, and fit one line of a request."""
    path, _, names = governor._target(ASSETS).partition("=")
    assert path == "/prices?assets"
    assert set(names.split(",")) == {"BTC", "ETH", "SOL"}
    assert len(names.split(",")) == governor.LIST_ASSETS
    assert len(names) < 2_000


def test_an_overload_is_three_times_the_peak_of_the_worker_without_a_governor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are offered the same; the p99 is compared with that of the same worker unloaded."""
    offered: list[tuple[int, float]] = []

    def run(port: int, _pids: object, _target: str, rate: float) -> OpenOutcome:
        offered.append((port, rate))
        return _outcome(90.0, 1_000.0 if rate < 90.0 else 3_000.0)

    monkeypatch.setattr(governor, "_run", run)
    found = governor._measure_pair(_node(1), _node(2), 1, QUIET)
    assert found["peak"] == 90.0
    assert offered[1:] == [(1, 27.0), (2, 27.0), (1, 270.0), (2, 270.0)]
    assert found["on"]["goodput_of_peak"] == 1.0
    assert found["on"]["p99_ratio"] == 3.0


@pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")
def test_who_refuses_every_second_request_has_half_the_goodput(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over real connections, offered three times the peak, of which nothing is lost."""
    monkeypatch.setattr(governor, "CONNECTIONS", 8)
    monkeypatch.setattr(governor, "_IDLE_RATE", 1_000)
    monkeypatch.setattr(governor, "_RATE_ABOVE_ANY", 400.0)
    monkeypatch.setattr(governor, "_in_real_time", lambda _: contextlib.nullcontext())
    refusal = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
    with _nodes(lambda _: GOOD, lambda n: GOOD if n % 2 else refusal) as (off, on):
        found = governor._measure_pair(off, on, 1, QUIET)
    assert found["off"]["refused"] == 0
    assert found["off"]["offered"] > found["unloaded"]["offered"] > 0
    assert 0 < found["on"]["goodput"] <= found["on"]["refused"] + 4 / governor._RUN_SECONDS
    assert found["on"]["broken"] == found["off"]["broken"] == 0


def test_whoever_ran_in_real_time_runs_as_before() -> None:
    """Also after a failure; where it is not permitted the run goes on without."""
    with pytest.raises(ValueError, match="mine"), governor._in_real_time([0]):
        raise ValueError("mine")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_passes_on_to_the_worker_with_and_without_a_bound(tmp_path: Path) -> None:
    """Its configuration is one that it takes, and ends with the benchmark."""
    with head_server(lambda _: GOOD) as worker:
        for limit in ("", "limit_conn all 20;"):
            server, port = governor._start_nginx(tmp_path, worker, limit)
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as asking:
                    asking.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert asking.recv(4096).startswith(b"HTTP/1.1 200 ")
            finally:
                server.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
