"""What the health server says, as plain objects; pure: a reading of shared memory in, JSON-ready values out.

Rules: truthful means computed from shared memory for each question, never remembered. A node is

    ok         every process makes progress, every exchange delivers by WebSocket, every asset is fresh
    degraded   prices are answered, but something of that is missing; `reasons` says what
    down       no asset is fresh, or nobody is there to answer

Ages are milliseconds; null where nothing was ever received.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from trinity.clock import NS_PER_MS
from trinity.memory.control import NODE_STARTED_NS
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import Absence, LeftOut
from trinity.memory.usage_ring import UsageRing
from trinity.observe.readings import (
    ExchangeView,
    ProcessView,
    read_assets,
    read_beyond,
    read_cache,
    read_exchanges,
    read_indexes,
    read_ledger,
    read_processes,
    read_sources,
    sentence_of,
)
from trinity.observe.reasons import DOWN, OF_LOOKUPS, OF_REPORTS, REASONS, HealthReason, Reading

Json = dict[str, Any]


def read_node(memory: NodeMemory, now_ns: int, rings: Sequence[UsageRing]) -> Reading:
    """Read the shared memory and the usage rings once; `now_ns` is monotonic."""
    sources = read_sources(memory, now_ns)
    return Reading(
        memory=memory,
        processes=read_processes(memory, now_ns),
        sources=sources,
        exchanges=read_exchanges(memory, sources),
        assets=read_assets(memory, now_ns),
        ledger=read_ledger(memory, now_ns, rings),
        cache=read_cache(memory, now_ns),
        beyond=read_beyond(memory, now_ns),
    )


def report_ready(reading: Reading) -> tuple[bool, Json]:
    """Whether lookups may be sent here, with the reasons when not."""
    return _ready(reading, OF_LOOKUPS)


def report_reports_ready(reading: Reading) -> tuple[bool, Json]:
    """Whether calls of the reporting service may be sent here: it answers of the past without fresh prices as well."""
    return _ready(reading, OF_REPORTS)


def report_health(reading: Reading) -> tuple[bool, Json]:
    """The whole node; the first value is False when it is down."""
    up, _ = _ready(reading, DOWN)
    reasons = _told(reading, REASONS)
    status = "down" if not up else "degraded" if reasons else "ok"
    return up, {
        "status": status,
        "reasons": reasons,
        "node": reading.memory.card.node,
        "version": reading.memory.card.version,
        "started_at_ms": reading.memory.control.read_node_word(NODE_STARTED_NS) // NS_PER_MS,
        "environment": reading.memory.card.environment,
        "server_type": reading.memory.card.server_type,
        "services": list(reading.memory.card.services),
        "simulated": reading.memory.card.simulated,
        "feeds": {view.exchange: _feed_of(view) for view in reading.exchanges},
        "consensus": _consensus_of(reading),
        "ledger": reading.ledger._asdict() if reading.ledger is not None and reading.ledger.flusher_alive else None,
        "cache": reading.cache._asdict(),
        "beyond_catalog": reading.beyond._asdict(),
        "processes": {view.name: process_of(view) for view in reading.processes},
    }


def _ready(reading: Reading, causes: Iterable[HealthReason]) -> tuple[bool, Json]:
    reasons = _told(reading, causes)
    fresh = sum(asset.fresh for asset in reading.assets)
    return not reasons, {
        "ready": not reasons,
        "reasons": reasons,
        "fresh_assets": fresh,
        "assets": len(reading.assets),
        "simulated": reading.memory.card.simulated,
    }


def _told(reading: Reading, causes: Iterable[HealthReason]) -> list[Json]:
    return [{"code": reason.code, "message": sentence} for reason in causes for sentence in reason.sentences(reading)]


def _feed_of(view: ExchangeView) -> Json:
    return {
        "status": view.status,
        "connected": view.connected,
        "rows": view.rows,
        "rows_by_state": view.rows_by_state,
        "rows_by_via": view.rows_by_via,
        "newest_age_ms": _ms(view.newest_age_ns),
        "frozen": view.frozen,
        "unknown": view.unknown,
        "left_out": {asset: _left_out_of(left_out) for asset, left_out in view.left_out.items()},
    }


def _left_out_of(left_out: LeftOut) -> Json:
    """The reason over each way, null where the row is asked for."""
    reasons = {
        way: absence.name.lower() if absence is not Absence.NONE else None
        for way, absence in left_out._asdict().items()
    }
    return {**reasons, "message": sentence_of(left_out)}


def _consensus_of(reading: Reading) -> Json:
    ages = [asset.age_ns for asset in reading.assets if asset.fresh and asset.age_ns is not None]
    return {
        "fresh_assets": len(ages),
        "assets": len(reading.assets),
        "newest_age_ms": _ms(min(ages, default=None)),
        "oldest_fresh_age_ms": _ms(max(ages, default=None)),
        "usd_indexes": read_indexes(reading.memory),
        "unavailable": {asset.asset: asset.status for asset in reading.assets if not asset.fresh},
    }


def process_of(view: ProcessView) -> Json:
    """A process as the reports say it."""
    return {
        "kind": view.kind,
        "alive": view.alive,
        "failing": view.failing,
        "resting": view.resting,
        "pid": view.pid,
        "restarts": view.restarts,
        "heartbeat_age_ms": _ms(view.heartbeat_age_ns),
    }


def _ms(age_ns: int | None) -> int | None:
    return None if age_ns is None else age_ns // NS_PER_MS
