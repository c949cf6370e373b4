"""The node's inside, for the operator: version, processes, work, ledger, disk, refusals, limits, the day's figures.

Rules: read from shared memory and the kernel when it is asked for; only blocks, plans and the day's figures come from
the database, and are null while it does not answer. Counters are totals: who asks twice has the rate between.
"""

from typing import Any

import psycopg
import psycopg_pool
from litestar import get
from litestar.di import NamedDependency
from psycopg.rows import dict_row

from trinity.clock import NS_PER_MS
from trinity.memory.control import NODE_STARTED_NS, ProcessBlock
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import DURATION_BOUNDS, FEED, REPORTER, REQUEST
from trinity.observe.readings import ProcessView
from trinity.observe.status import process_of, read_node, report_health
from trinity.store import queries
from trinity.vocabulary import ACCESS_REFUSALS, HTTP_STATUSES, LATENCY_BOUNDS_NS, LIMIT_REFUSALS, UDP_RESULTS
from workers.api.base.callers.auth import ApiCaller, require_operator
from workers.api.base.context import Parts
from workers.api.dashboard.machine import Json, use_of
from workers.api.dashboard.node_state import DATABASE_UP, Dashboard

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


@get("/node/inside", tags=["node"])
async def show_inside(
    caller: NamedDependency[ApiCaller], parts: NamedDependency[Parts], dashboard: NamedDependency[Dashboard]
) -> dict[str, Any]:
    """Processes, work, ledger, disk, limits, refusals, blocks and the day's figures; for the operator."""
    require_operator(caller)
    clock, memory = parts.context.clock, dashboard.memory
    reading = read_node(memory, clock.monotonic_ns(), dashboard.rings)
    _, health = report_health(reading)
    return {
        "version": health["version"],
        "started_ms": parts.context.control.read_node_word(NODE_STARTED_NS) // NS_PER_MS,
        "time_ms": clock.wall_ns() // NS_PER_MS,
        "monotonic_ms": clock.monotonic_ns() // NS_PER_MS,  # of what is counted: for rates
        "retention": parts.settings.retention._asdict(),
        **dashboard.machine.read(),
        "processes": [
            {"name": view.name, **process_of(view), **use_of(view)}
            for view in (_supervisor_of(memory), *reading.processes)
        ],
        "work": _work_of(memory),
        "ledger": health["ledger"],  # null while the flusher is away
        "refusals": _refusals_of(memory),
        "latency_bounds_ns": LATENCY_BOUNDS_NS,  # of all counts of latencies; one more count has no bound
        **await _from_database(parts),
    }


def _supervisor_of(memory: NodeMemory) -> ProcessView:
    """The process that starts all others: with it they end, so it lives whenever one is asked. It has no heartbeat."""
    pid = memory.control.segment.owner_pid
    return ProcessView("supervisor", "supervisor", pid, 0, True, None, draining=False, failing=False)


def _work_of(memory: NodeMemory) -> Json:
    """Totals of all processes since the node started; `answer_counts` are by `latency_bounds_ns`."""
    workers, reporters = _blocks(memory, "worker"), _blocks(memory, "reporter")
    bounds = [REQUEST.index("http_request_duration_seconds", bound) for bound in (*DURATION_BOUNDS, "+Inf")]
    return {
        "lookups": _total(workers, REQUEST.index("lookups_total")),
        "http": _total(workers, *(REQUEST.index("http_responses_total", str(status)) for status in HTTP_STATUSES)),
        "udp": _total(workers, *(REQUEST.index("udp_datagrams_total", result) for result in UDP_RESULTS)),
        "reports": _total(reporters, *(REPORTER.index("report_requests_total", name) for name in _CLASSES)),
        "quotes": _total(_blocks(memory, "feed"), *(FEED.index("quotes_total", via) for via in ("ws", "rest"))),
        "answer_counts": [_total(workers, bound) for bound in bounds],
    }


def _blocks(memory: NodeMemory, kind: str) -> list[ProcessBlock]:
    return [memory.control.block(index) for index, entry in enumerate(memory.card.processes) if entry.kind == kind]


def _total(blocks: list[ProcessBlock], *words: int) -> int:
    return sum(block.read_counter(word) for block in blocks for word in words)


def _refusals_of(memory: NodeMemory) -> Json:
    """What the gates of all workers refused since the node started, by code, and what a dry run let pass."""
    series = {code: REQUEST.index("access_refusals_total", code) for code in ACCESS_REFUSALS}
    series |= {f"{code}_dry_run": REQUEST.index("limit_dry_run_total", code) for code in LIMIT_REFUSALS}
    workers = _blocks(memory, "worker")
    return {name: _total(workers, word) for name, word in series.items()}


async def _from_database(parts: Parts) -> Json:
    """Plans, blocks and the newest figures; null, which is not the same as none, while the database does not answer."""
    if parts.context.block.read_gauge(DATABASE_UP) != 1.0:
        return {"plans": None, "blocks": None, "today": None}
    try:
        async with parts.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            plans = await (await cursor.execute(queries.load("dashboard.plans"))).fetchall()
            blocks = await (await cursor.execute(queries.load("dashboard.blocks"))).fetchall()
            today = await (await cursor.execute(queries.load("dashboard.latest_figures"))).fetchone()
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return {"plans": None, "blocks": None, "today": None}
    blocks = [{**block, "network": str(block["network"])} for block in blocks]
    return {"plans": plans, "blocks": blocks, "today": today["figures"] if today else {}}
