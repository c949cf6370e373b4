"""A node's telemetry in Valkey, `cluster:stats:<node>`: 24 counters, and who the node is; how it is written and read.

Rules: pure. The counters are this one table, in this order; all are whole numbers. Those that count up do so since the
node's start and go on over a restart of single processes. A hash lives STATS_SECONDS: a node that no longer writes has
none, and is in no table. What does not fit (another version's field, a hash that is half gone) is left out, so that
nodes of two versions see each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from trinity.cache.keys import CLUSTER_NODES, CLUSTER_STATS, STATS_SECONDS
from trinity.cache.slots import Command
from trinity.errors import CacheReplyError


class StatsCounter(NamedTuple):
    """One of the 24. `total`: counts up; `now`: as it is at the moment."""

    name: str
    kind: Literal["total", "now"]
    text: str


COUNTERS = (
    StatsCounter("http_requests", "total", "answers over HTTP on the port of lookups"),
    StatsCounter("udp_requests", "total", "datagrams answered on the port of lookups"),
    StatsCounter("report_requests", "total", "calls of the reporting service, HTTP and UDP"),
    StatsCounter("lookups", "total", "prices looked up"),
    StatsCounter("table_hits", "total", "of them, those that the table had, catalog or not"),
    StatsCounter("table_misses", "total", "of them, those that the resolver was asked for"),
    StatsCounter("refused_access", "total", "callers turned away for their key or address"),
    StatsCounter("refused_rate", "total", "requests over a rate"),
    StatsCounter("refused_quota", "total", "requests over a month"),
    StatsCounter("refused_load", "total", "requests and connections turned away for want of room"),
    StatsCounter("connections", "now", "open HTTP connections"),
    StatsCounter("deliveries", "total", "messages pushed to subscribers"),
    StatsCounter("fresh_assets", "now", "assets of the catalog with a fresh price"),
    StatsCounter("stale_assets", "now", "assets of the catalog without one"),
    StatsCounter("feeds_up", "now", "exchanges that deliver"),
    StatsCounter("feeds_down", "now", "exchanges that do not"),
    StatsCounter("ring_per_mille", "now", "how full the fullest usage ring is"),
    StatsCounter("spool_bytes", "now", "usage that waits on disk for the database"),
    StatsCounter("ledger_lag_records", "now", "answered requests that are not in the database yet"),
    StatsCounter("ledger_lag_ms", "now", "age of the oldest of them"),
    StatsCounter("usage_lost", "total", "usage records given up, whole or their detail"),
    StatsCounter("cache_errors", "total", "questions to Valkey that came to nothing, of all processes"),
    StatsCounter("cpu_ms", "total", "processor time of the processes that live"),
    StatsCounter("memory_bytes", "now", "their memory; what they share counts in each"),
)
COUNTER_NAMES = tuple(counter.name for counter in COUNTERS)
_IDENTITY = ("version", "server_type", "leads", "status", "started_ms", "members", "requests_per_second")


class NodeStats(msgspec.Struct, frozen=True):
    """One node as it told of itself last."""

    node: str
    age_ms: int  # since its last beat, by Valkey's clock
    version: str
    server_type: str
    leads: bool  # it does what is done once in the cluster
    status: str  # of its /health
    started_ms: int
    members: int  # of the cluster, as it knows them
    requests_per_second: int
    counters: dict[str, int]


def write_commands(stats: NodeStats) -> list[Command]:
    """What the node writes each second: its hash, and for how long it holds."""
    name = CLUSTER_STATS.name(stats.node)
    fields: list[str | int] = []
    for field in _IDENTITY:
        value = getattr(stats, field)
        fields += [field, int(value) if isinstance(value, bool) else value]
    for counter in COUNTER_NAMES:
        fields += [counter, stats.counters[counter]]
    return [("HSET", name, *fields), ("EXPIRE", name, STATS_SECONDS)]


MEMBER_COMMANDS: tuple[Command, ...] = (("TIME",), ("ZRANGE", CLUSTER_NODES.name(), 0, -1, "WITHSCORES"))


def read_ages(replies: Sequence[Any]) -> dict[str, int]:
    """Replies to MEMBER_COMMANDS: how many milliseconds ago each node beat; empty where one was refused."""
    time, members = replies
    if isinstance(time, CacheReplyError) or isinstance(members, CacheReplyError):
        return {}
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    return {
        name.decode(errors="replace"): max(0, now_ms - int(float(beat_ms)))
        for name, beat_ms in zip(members[::2], members[1::2], strict=True)
    }


def read_commands(nodes: Sequence[str]) -> list[Command]:
    """One for each node."""
    return [("HGETALL", CLUSTER_STATS.name(node)) for node in nodes]


def read_stats(ages_ms: Mapping[str, int], replies: Sequence[Any]) -> list[NodeStats]:
    """Replies to `read_commands` of these nodes, in their order; a node whose hash is gone is left out."""
    found = []
    for (node, age_ms), reply in zip(ages_ms.items(), replies, strict=True):
        if isinstance(reply, CacheReplyError) or not reply:
            continue
        fields = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in zip(reply[::2], reply[1::2], strict=True)
        }
        told: dict[str, Any] = {name: fields[name] for name in _IDENTITY if name in fields}
        counters = {name: fields[name] for name in COUNTER_NAMES if name in fields}
        try:
            stats = msgspec.convert(
                {"node": node, "age_ms": age_ms, **told, "counters": counters}, NodeStats, strict=False
            )
        except msgspec.ValidationError:
            continue
        found.append(stats)
    return sorted(found, key=lambda stats: stats.node)
