"""`trinity cluster [show | run | roll | files]`: all nodes of the cluster, as each tells of itself; a whole cluster on
this machine, its rolling restart; what the containers of one are given.

Rules: what is shown stands in Valkey, written by each node every second, so any machine with CACHE_URL sees all nodes,
whether a node runs on it or not.
"""

import argparse
import asyncio
from collections.abc import Sequence

import msgspec

from trinity.cache.address import CacheSettings, cache_settings_of
from trinity.cache.client import CacheClient
from trinity.cache.nodes import read_nodes
from trinity.cache.stats import NodeStats
from trinity.cli.operating import cluster_files, cluster_roll, cluster_run
from trinity.cli.text import table
from trinity.clock import NS_PER_MS, SystemClock
from trinity.config import Config
from trinity.errors import RefusedError
from trinity.terminal import print_result

_PERCENT = 100
_HEAD = (
    "node", "type", "version", "status", "leads", "up", "beat ms", "requests/s", "connections", "lookups", "hits %",
    "refused", "fresh", "feeds", "ring %", "spool MB", "lag", "lag s", "cache errors", "cpu s", "memory MB",
)  # fmt: skip


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, as one word."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "run", "roll", "files"),
        default="show",
        help="run: a whole cluster on this machine; roll: restart its nodes one after the other; "
        "files: what compose.yaml mounts",
    )
    cluster_run.add_arguments(parser)
    cluster_roll.add_arguments(parser)
    cluster_files.add_arguments(parser)


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    if parsed.action == "run":
        return cluster_run.run(config, parsed)
    if parsed.action == "roll":
        return cluster_roll.run(config, parsed)
    if parsed.action == "files":
        return cluster_files.run(config, parsed)
    settings = cache_settings_of(config)
    if settings is None:
        raise RefusedError("cluster", "CACHE_URL is not set, so this node is alone: set it to its cluster's Valkey")
    clock = SystemClock()
    nodes = asyncio.run(_read(settings, clock))
    print_result({"nodes": msgspec.to_builtins(nodes)}, lines_of(nodes, clock.wall_ns() // NS_PER_MS), parsed.as_json)
    return 0


async def _read(settings: CacheSettings, clock: SystemClock) -> list[NodeStats]:
    client = CacheClient.open(settings, clock)
    try:
        return await read_nodes(client)
    finally:
        await client.close()


def lines_of(nodes: Sequence[NodeStats], now_ms: int) -> list[str]:
    """A line a node, and one for all of them."""
    if not nodes:
        return ["no node has told of itself within the last ten seconds"]
    rows = [_row_of(node, now_ms) for node in nodes]
    rate = sum(node.requests_per_second for node in nodes)
    connections = sum(node.counters["connections"] for node in nodes)
    leader = next((node.node for node in nodes if node.leads), "nobody")
    total = f"{len(nodes)} nodes, {rate} requests/s, {connections} connections; {leader} does the jobs of the database"
    return [*table(_HEAD, rows), total]


def _row_of(node: NodeStats, now_ms: int) -> tuple[str | int, ...]:
    counters = node.counters
    asked = counters["table_hits"] + counters["table_misses"]
    refused = sum(counters[name] for name in ("refused_access", "refused_rate", "refused_quota", "refused_load"))
    return (
        node.node,
        node.server_type,
        node.version,
        node.status,
        "leads" if node.leads else "",
        _span(max(0, now_ms - node.started_ms) // 1000),
        node.age_ms,
        node.requests_per_second,
        counters["connections"],
        counters["lookups"],
        f"{counters['table_hits'] * _PERCENT / asked:.1f}" if asked else "-",
        refused,
        f"{counters['fresh_assets']}/{counters['fresh_assets'] + counters['stale_assets']}",
        f"{counters['feeds_up']}/{counters['feeds_up'] + counters['feeds_down']}",
        f"{counters['ring_per_mille'] / 10:.1f}",
        counters["spool_bytes"] // 1_000_000,
        counters["ledger_lag_records"],
        f"{counters['ledger_lag_ms'] / 1000:.1f}",
        counters["cache_errors"],
        counters["cpu_ms"] // 1000,
        counters["memory_bytes"] // 1_000_000,
    )


def _span(seconds: int) -> str:
    """Days, hours, minutes or seconds, whatever is the largest that it has."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
