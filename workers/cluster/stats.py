"""The task that tells the others how this node does: `cluster:stats:<node>`, every second.

Rules: what is told is read from shared memory at that moment, by the same readings as /health and /metrics; the table
of what there is stands in trinity/cache/stats.py. Processor time and memory are the kernel's.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Sequence

from trinity.cache.stats import COUNTER_NAMES, NodeStats, write_commands
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.errors import CacheUnavailableError
from trinity.memory.control import NODE_STARTED_NS
from trinity.memory.node import NodeMemory
from trinity.observe.machine import read_process_use
from trinity.observe.metrics import OPERATOR, REGISTERS
from trinity.observe.readings import ProcessView, read_processes
from trinity.observe.reasons import Reading
from trinity.observe.status import read_node, report_health
from trinity.vocabulary import ACCESS_REFUSALS
from workers.cluster.context import ClusterContext

STATS_PERIOD_SECONDS = 1.0
# A rate is that of the last seconds, so that one slow turn does not show as a jump.
_RATE_TURNS = 5
_OF_RATE, _OF_QUOTA = ("rate_limited",), ("quota_exceeded",)
_REQUESTS = ("http_requests", "udp_requests", "report_requests")


class StatsPublisher:
    """Writes this node's telemetry."""

    def __init__(self, cluster: ClusterContext) -> None:
        self._cluster = cluster
        self._turned = cluster.turns.of("stats")
        self._requests: deque[tuple[int, int]] = deque(maxlen=_RATE_TURNS + 1)

    async def run(self) -> None:
        """Every second; without Valkey it is read all the same, and told to nobody."""
        while True:
            stats = await asyncio.to_thread(self.read)  # 10 ms, for which the other tasks need not wait
            with contextlib.suppress(CacheUnavailableError):  # the client has told it
                await self._cluster.cache.run(write_commands(stats))
            self._turned()
            await asyncio.sleep(STATS_PERIOD_SECONDS)

    def read(self) -> NodeStats:
        """How the node does now."""
        clock, view = self._cluster.clock, self._cluster.memory.view
        now_ns = clock.monotonic_ns()
        reading = read_node(view.node, now_ns, view.rings)
        _, health = report_health(reading)
        counters = counters_of(reading)
        self._requests.append((now_ns, sum(counters[name] for name in _REQUESTS)))
        (since_ns, before), (_, after) = self._requests[0], self._requests[-1]
        seconds = (now_ns - since_ns) / NS_PER_SECOND
        card = view.node.card
        return NodeStats(
            node=card.node,
            age_ms=0,
            version=card.version,
            server_type=card.server_type,
            leads=is_leading(view.node, reading.processes),
            status=health["status"],
            started_ms=view.node.control.read_node_word(NODE_STARTED_NS) // NS_PER_MS,
            members=self._cluster.members.count,
            requests_per_second=round((after - before) / seconds) if seconds else 0,
            counters=counters,
        )


def is_leading(memory: NodeMemory, processes: Sequence[ProcessView]) -> bool:
    """Whether this node does what is done once in the cluster: its operator has the lock of the database."""
    word = OPERATOR.index("operator_active")
    operators = (index for index, view in enumerate(processes) if view.kind == "operator" and view.alive)
    return any(memory.control.block(index).read_gauge(word) == 1.0 for index in operators)


def leads(cluster: ClusterContext) -> bool:
    """The same of this node, now."""
    memory = cluster.memory.view.node
    return is_leading(memory, read_processes(memory, cluster.clock.monotonic_ns()))


def counters_of(reading: Reading) -> dict[str, int]:
    """The 24, in the order of the table."""
    memory, ledger = reading.memory, reading.ledger
    fresh = sum(asset.fresh for asset in reading.assets)
    up = sum(view.status != "down" for view in reading.exchanges)
    uses = [use for view in reading.processes if (use := read_process_use(view.pid)) is not None]

    def of_worker(name: str, *values: str) -> int:
        return _sum(memory, "worker", name, values or None)

    def of_reporter(name: str, *values: str) -> int:
        return _sum(memory, "reporter", name, values or None)

    def refused(codes: Collection[str]) -> int:
        return _sum(memory, "worker", "access_refusals_total", codes) + _sum(
            memory, "reporter", "report_access_refusals_total", codes
        )

    counted = {
        "http_requests": of_worker("http_responses_total"),
        "udp_requests": of_worker("udp_datagrams_total", "answered", "error"),
        "report_requests": of_reporter("report_requests_total")
        + of_reporter("report_udp_datagrams_total", "answered", "error"),
        "lookups": of_worker("lookups_total"),
        "table_hits": of_worker("asset_lookups_total", "catalog", "table"),
        "table_misses": of_worker("asset_lookups_total", "miss"),
        "refused_access": refused(set(ACCESS_REFUSALS) - {*_OF_RATE, *_OF_QUOTA}),
        "refused_rate": refused(_OF_RATE),
        "refused_quota": refused(_OF_QUOTA),
        "refused_load": of_worker("overload_refusals_total") + of_worker("http_connections_refused_total"),
        "connections": of_worker("http_connections"),
        "deliveries": _sum(memory, "pusher", "push_deliveries_total", ("delivered", "sent")),
        "fresh_assets": fresh,
        "stale_assets": len(reading.assets) - fresh,
        "feeds_up": up,
        "feeds_down": len(reading.exchanges) - up,
        "ring_per_mille": round(ledger.ring_share * 1000) if ledger else 0,
        "spool_bytes": ledger.spool_bytes if ledger else 0,
        "ledger_lag_records": ledger.lag_records if ledger else 0,
        "ledger_lag_ms": round(ledger.lag_seconds * 1000) if ledger else 0,
        "usage_lost": ledger.lost_detail + ledger.lost_records if ledger else 0,
        "cache_errors": sum(_sum(memory, kind, "cache_errors_total", None) for kind in REGISTERS),
        "cpu_ms": round(sum(use.cpu_seconds for use in uses) * 1000),
        "memory_bytes": sum(use.resident_bytes for use in uses),
    }
    return {name: counted[name] for name in COUNTER_NAMES}


def _sum(memory: NodeMemory, kind: str, name: str, values: Collection[str] | None) -> int:
    """A metric over all processes of a kind and its series, or those whose label is one of `values`."""
    register = REGISTERS[kind]
    blocks = [memory.control.block(i) for i, entry in enumerate(memory.card.processes) if entry.kind == kind]
    total = 0.0
    for metric in (metric for metric in register.metrics if metric.name == name):
        for series in metric.series():
            if values is None or series[0] in values:
                word = register.index(name, *series)
                total += sum(
                    block.read_gauge(word) if metric.kind == "gauge" else block.read_counter(word) for block in blocks
                )
    return round(total)
