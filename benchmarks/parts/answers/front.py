"""One request worker directly and behind nginx, over HTTP and UDP: what nginx takes of the processor, what is lost.

nginx runs the file that is deployed (deploy/nginx.conf), on the worker's core beside it; the generator has the other.
Both ways in turn in one run, closed loop. Then for `soak_seconds` an open loop at half of what nginx and worker did,
over HTTP, and the same over UDP: what was asked and not answered is lost.

Rules: the median of the turns counts; loopback only, bounded in time.
"""

import contextlib
import dataclasses
import datetime
import os
import random
import statistics
from pathlib import Path
from typing import Any

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.generators.udp import UdpGenerator
from benchmarks.progress import Progress
from benchmarks.servers.node import Node
from benchmarks.servers.one_worker import CONNECTIONS, WARM_SECONDS, start_one_worker
from benchmarks.servers.processes import cores, cpu_ns, family_of, raise_file_limit, start
from trinity.clock import NS_PER_SECOND, Clock
from trinity.node.cluster.files import prepare_files
from trinity.node.cluster.layout import ClusterLayout, parse_network
from trinity.node.cluster.parts import get_status
from trinity.node.cluster.programs import find_programs, nginx_command

WAYS = ("direct", "nginx")
PROTOCOLS = ("http", "udp")
_HTTP_PORT, _UDP_PORT = 8080, 2679
# Of what both together can do: a load balancer that is asked more than it can do loses by construction.
_SOAK_SHARE = 0.5


def measure_front(
    folder: Path, turns: int, seconds: float, soak_seconds: float, clock: Clock, progress: Progress
) -> dict[str, Any]:
    """Both protocols on both ways; `wrong` counts what was lost in the soak."""
    raise_file_limit()
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        host, pids = _start_front(folder, node, clock, stopping)
        found: dict[str, Any] = {
            protocol: {way: _measure(protocol, way, node, host, pids, turns, seconds, progress) for way in WAYS}
            for protocol in PROTOCOLS
        }
        soak = {
            protocol: _soak(protocol, host, node, found[protocol]["nginx"]["per_second"], soak_seconds, progress)
            for protocol in PROTOCOLS
        }
        return {**found, "soak": soak, "wrong": sum(row["lost"] for row in soak.values())}


def _start_front(folder: Path, node: Node, clock: Clock, stopping: contextlib.ExitStack) -> tuple[str, list[int]]:
    """nginx with the deployed file on the worker's core; the address that it is asked at, and its processes."""
    chosen = random.Random(os.getpid())
    network = parse_network(f"127.{chosen.randrange(20, 250)}.{chosen.randrange(1, 250)}.0")
    layout, programs = ClusterLayout(folder / "front", network), find_programs()
    now = datetime.datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, datetime.UTC)
    prepare_files(layout, folder / "compiled", now, programs.nginx_modules)
    for name, port in (("lookups", node.tcp_port), ("lookups_udp", node.udp_port)):
        (layout.lists / f"{name}.conf").write_text(f"server 127.0.0.1:{port};\n")
    user = " user root;" if os.geteuid() == 0 else ""
    command = [*nginx_command(layout, programs), "-g", "daemon off;" + user]
    server = start("nginx-front", command, folder, cores()[0])
    stopping.callback(server.stop)
    while not server.ended_within(0.05) and not get_status(layout.proxy, _HTTP_PORT, "/price?asset=BTC"):
        continue
    return layout.proxy, family_of(server.pid)


def _measure(
    protocol: str,
    way: str,
    node: Node,
    host: str,
    nginx_pids: list[int],
    turns: int,
    seconds: float,
    progress: Progress,
) -> dict[str, Any]:
    rows = []
    generator = _generator(protocol, node, host if way == "nginx" else "")
    try:
        generator.run(Load(WARM_SECONDS))
        for turn in range(turns):
            progress.step(f"{protocol}, {way}, turn {turn + 1}/{turns}")
            before = cpu_ns(node.worker_pids), cpu_ns(nginx_pids)
            outcome = generator.run(Load(seconds))
            used = cpu_ns(node.worker_pids) - before[0], cpu_ns(nginx_pids) - before[1]
            answered = max(1, outcome.answered)
            latency = outcome.latencies.summary_us()
            rows.append(
                {
                    "per_second": outcome.per_second,
                    "worker_us": used[0] / 1_000 / answered,
                    "nginx_us": used[1] / 1_000 / answered,
                    "p50_us": latency["p50"],
                    "p99_us": latency["p99"],
                    "faults": float(sum(outcome.faults.values())),
                }
            )
    finally:
        generator.close()
    found = {name: round(statistics.median(row[name] for row in rows), 2) for name in rows[0]}
    found["nginx_share"] = round(found["nginx_us"] / (found["nginx_us"] + found["worker_us"]), 3)
    return found


def _soak(protocol: str, host: str, node: Node, peak: float, seconds: float, progress: Progress) -> dict[str, Any]:
    rate = max(1, int(peak * _SOAK_SHARE))
    progress.step(f"{protocol}, nginx, {rate:,} a second for {seconds:g} s")
    generator = _generator(protocol, node, host)
    try:
        generator.run(Load(WARM_SECONDS))
        outcome = generator.run(Load(seconds, rate))
    finally:
        generator.close()
    return {
        "seconds": seconds,
        "rate": rate,
        "sent": outcome.sent,
        "answered": outcome.answered,
        "lost": outcome.sent - outcome.answered,
        "faults": outcome.faults,
        "p99_us": outcome.latencies.summary_us()["p99"],
    }


def _generator(protocol: str, node: Node, front: str) -> HttpGenerator | UdpGenerator:
    """At the node, or at the front where one is named."""
    if protocol == "http":
        target = node.http_target()
        return HttpGenerator(dataclasses.replace(target, host=front, port=_HTTP_PORT) if front else target, CONNECTIONS)
    datagrams = node.udp_target()
    return UdpGenerator(dataclasses.replace(datagrams, host=front, port=_UDP_PORT) if front else datagrams, CONNECTIONS)
