"""Three times what a worker can do, offered in an open loop: with the governor, without one, and behind nginx.

    peak        answers a second of a worker without a governor that is offered more than it can do, however late
    unloaded    the same worker at UNLOADED_SHARE of its peak: the p99 that an overload is compared with
    off, on     OVERLOAD times the peak: answers within DEADLINE_SECONDS, and the p99 of what was answered well
    nginx       the worker behind nginx on the same core, without a bound and with `limit_conn`; against its own peak
    idle        what the governor costs a request that meets an idle worker, two workers side by side

Rules: one request worker on one core, one generator on the other, over CONNECTIONS kept-alive connections. The request
is made costly (a list of LIST_ASSETS), so that one generator can offer three times what a worker can do. Where the
machine permits it, both run in real time (SCHED_FIFO) while they are measured, in runs of less than a second with
pauses between them, so that nobody else's load is measured and nobody else is kept away; medians of `turns` runs.
"""

import contextlib
import os
import shutil
import statistics
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.generators.open_http import OpenGenerator, OpenOutcome
from benchmarks.parts.answers.side_by_side import Contestant
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, start_bare
from benchmarks.servers.one_worker import WARM_SECONDS, run_with_cpu
from benchmarks.servers.processes import Server, cores, family_of, free_port, start, wait_for_port

TARGET_MS = 1.0
OVERLOAD = 3.0
UNLOADED_SHARE = 0.3
DEADLINE_SECONDS = 0.1
CONNECTIONS = 1_000
LIST_ASSETS = 240
_RATE_ABOVE_ANY = 60_000.0  # more than a worker answers of such lists
_WARM_SECONDS, _RUN_SECONDS = 0.35, 0.55
# The kernel lets real-time processes have 95 % of each second: a run and a pause are never throttled.
_PAUSE_SECONDS = 1.0
_LIMIT_CONN = 20
_IDLE_RATE = 10_000
_PRIORITY = 2


def measure_governor(folder: Path, turns: int, progress: Progress) -> dict[str, Any]:
    """Goodput and p99 of each, and the governor's cost when idle."""
    found: dict[str, Any] = {"target_ms": TARGET_MS, "overload": OVERLOAD, "connections": CONNECTIONS}
    with contextlib.ExitStack() as stopping:
        off = start_bare(folder, cores()[0], 0.0)
        stopping.callback(off.stop)
        on = start_bare(folder, cores()[0], TARGET_MS)
        stopping.callback(on.stop)
        found |= _measure_pair(off, on, turns, progress)
        found["idle"] = _measure_idle(off, on, turns, progress)
        if shutil.which("nginx"):
            found["nginx"] = _measure_nginx(folder, off, turns, progress)
    return found


def _measure_pair(off: Node, on: Node, turns: int, progress: Progress) -> dict[str, Any]:
    target = _target(off.assets)
    progress.step("peak")
    peaks = [_run(off.tcp_port, [off.server.pid], target, _RATE_ABOVE_ANY).received for _ in range(turns)]
    peak = statistics.median(peaks)
    found: dict[str, Any] = {"peak": round(peak, 1), "peak_turns": peaks}
    for name, node, share in (
        ("unloaded", off, UNLOADED_SHARE),
        ("unloaded_on", on, UNLOADED_SHARE),
        ("off", off, OVERLOAD),
        ("on", on, OVERLOAD),
    ):
        runs = []
        for turn in range(turns):
            progress.step(f"{name}, turn {turn + 1}/{turns}")
            runs.append(_run(node.tcp_port, [node.server.pid], target, share * peak))
        found[name] = _summary(runs, peak)
    found["on"]["p99_ratio"] = round(found["on"]["p99_ms"] / found["unloaded_on"]["p99_ms"], 2)
    return found


def _run(port: int, pids: Sequence[int], target: str, rate: float) -> OpenOutcome:
    """One run over new connections: what an overload left in the old ones is not the next run's."""
    generator = OpenGenerator("127.0.0.1", port, target, CONNECTIONS)
    try:
        generator.run(_IDLE_RATE / 10, 0.05, 0.05, DEADLINE_SECONDS)  # every connection is known
        with _in_real_time([0, *pids]):
            return generator.run(rate, _WARM_SECONDS, _RUN_SECONDS, DEADLINE_SECONDS)
    finally:
        generator.close()
        threading.Event().wait(_PAUSE_SECONDS)


@contextlib.contextmanager
def _in_real_time(pids: Sequence[int]) -> Iterator[None]:
    """These processes run before all others, where that is permitted."""
    with contextlib.suppress(PermissionError):
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            for pid in pids:
                os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _target(assets: Sequence[str]) -> str:
    """A list of names, some of them more than once."""
    short = [name for name in assets if len(name) <= 4]
    return "/prices?assets=" + ",".join(short[i % len(short)] for i in range(LIST_ASSETS))


def _summary(runs: Sequence[OpenOutcome], peak: float) -> dict[str, Any]:
    in_time = statistics.median(run.in_time for run in runs)
    return {
        "offered": round(statistics.median(run.offered for run in runs), 1),
        "goodput": round(in_time, 1),
        "goodput_of_peak": round(in_time / peak, 3),
        "goodput_turns": [run.in_time for run in runs],
        "p50_ms": round(statistics.median(run.latency_us["p50"] for run in runs) / 1e3, 3),
        "p99_ms": round(statistics.median(run.latency_us["p99"] for run in runs) / 1e3, 3),
        "p99_ms_turns": [round(run.latency_us["p99"] / 1e3, 3) for run in runs],
        "refused": round(statistics.median(run.refused for run in runs), 1),
        "refused_p50_ms": round(statistics.median(run.refusal_us["p50"] for run in runs) / 1e3, 1),
        "broken": sum(run.broken for run in runs),
        "generator_late_ms": max(run.latest_send_ms for run in runs),
    }


def _measure_idle(off: Node, on: Node, turns: int, progress: Progress) -> dict[str, Any]:
    """Processor time of a request that finds its worker idle; turn about."""
    first = HttpGenerator(off.http_target(), 1)
    first.run(Load(0.01))  # compiled now: connections that wait for it would be closed
    first.close()
    both = [
        Contestant(name, "", node.worker_pids, HttpGenerator(node.http_target(), 16))
        for name, node in (("off", off), ("on", on))
    ]
    for turn in range(5 * turns):
        progress.step(f"idle, turn {turn + 1}/{5 * turns}")
        for one in both if turn % 2 else reversed(both):
            one.generator.run(Load(WARM_SECONDS / 3, _IDLE_RATE))
            _, us = run_with_cpu(one.generator, one.pids, Load(0.5, _IDLE_RATE))
            one.us.append(us)
    for one in both:
        one.generator.close()
    off_us, on_us = (statistics.median(one.us) for one in both)
    differences = [with_it - without for without, with_it in zip(both[0].us, both[1].us, strict=True)]
    return {
        "off_us": round(off_us, 3),
        "on_us": round(on_us, 3),
        "added_us": round(statistics.median(differences), 3),
        "lowest_off_us": round(min(both[0].us), 3),
        "lowest_on_us": round(min(both[1].us), 3),
    }


# --- nginx in front -------------------------------------------------------------------------------------------

_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx-governor.pid; error_log {folder}/nginx-governor.err crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; limit_conn_zone $server_name zone=all:1m;
  upstream worker {{ server 127.0.0.1:{worker}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; server_name all; limit_conn_status 503; {limit}
    location / {{ proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def _measure_nginx(folder: Path, node: Node, turns: int, progress: Progress) -> dict[str, Any]:
    """nginx on the worker's core: its own peak, and three times that with and without `limit_conn`."""
    found: dict[str, Any] = {"limit_conn": _LIMIT_CONN}
    target, peak = _target(node.assets), 0.0
    for name, limit in (("off", ""), ("on", f"limit_conn all {_LIMIT_CONN};")):
        server, port = _start_nginx(folder, node.tcp_port, limit)
        pids = [node.server.pid, *family_of(server.pid)]
        try:
            if not peak:
                progress.step("nginx: peak")
                peaks = [_run(port, pids, target, _RATE_ABOVE_ANY / 2).received for _ in range(turns)]
                found["peak"] = peak = statistics.median(peaks)
                found["unloaded"] = _summary(
                    [_run(port, pids, target, UNLOADED_SHARE * peak) for _ in range(turns)], peak
                )
            runs = []
            for turn in range(turns):
                progress.step(f"nginx, limit_conn {name}, turn {turn + 1}/{turns}")
                runs.append(_run(port, pids, target, OVERLOAD * peak))
            found[name] = _summary(runs, peak)
        finally:
            server.stop()
    return found


def _start_nginx(folder: Path, worker: int, limit: str) -> tuple[Server, int]:
    port = free_port()
    config = folder / f"nginx-governor-{port}.conf"
    config.write_text(_NGINX.format(folder=folder, worker=worker, port=port, limit=limit))
    server = start(f"nginx-governor-{port}", ["nginx", "-c", str(config), "-p", str(folder)], folder, cores()[0])
    wait_for_port(server, port)
    return server, port
