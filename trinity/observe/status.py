"""What the health server says, as plain objects; pure: a reading of shared memory in, JSON-ready values out.

Rules: truthful means computed from shared memory for each question, never remembered. A node is

    ok         every process makes progress, every exchange delivers by WebSocket, every asset is fresh
    degraded   prices are answered, but something of that is missing; `reasons` says what
    down       no asset is fresh, or nobody is there to answer

Ages are milliseconds; null where nothing was ever received.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trinity.clock import NS_PER_MS
from trinity.memory.control import NODE_STARTED_NS
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import Absence, LeftOut
from trinity.memory.usage_ring import UsageRing
from trinity.observe.metrics import REGISTERS
from trinity.observe.readings import (
    AssetView,
    BeyondView,
    CacheView,
    ExchangeView,
    LedgerView,
    ProcessView,
    SourceView,
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

# A connection is accepted within a millisecond: one that waits so long meets a reporter that serves nobody new.
ACCEPT_WAIT_SECONDS_MAX = 1.0

Json = dict[str, Any]


class Reading(NamedTuple):
    """All that the reports need, read at one time."""

    memory: NodeMemory
    processes: list[ProcessView]
    sources: list[SourceView]
    exchanges: list[ExchangeView]
    assets: list[AssetView]
    ledger: LedgerView | None
    cache: CacheView
    beyond: BeyondView


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
    return _ready(reading, (*_DOWN, _WORKER_FULL))


def report_reports_ready(reading: Reading) -> tuple[bool, Json]:
    """Whether calls of the reporting service may be sent here: it answers of the past without fresh prices as well."""
    return _ready(reading, (_NO_REPORTER, _REPORTER_FULL, _DRAINING))


def _ready(reading: Reading, causes: tuple["Cause", ...]) -> tuple[bool, Json]:
    reasons = [_reason(cause, reading) for cause in causes if cause[1](reading)]
    fresh = sum(asset.fresh for asset in reading.assets)
    return not reasons, {
        "ready": not reasons,
        "reasons": reasons,
        "fresh_assets": fresh,
        "assets": len(reading.assets),
        "simulated": reading.memory.card.simulated,
    }


def _reason(cause: "Cause", reading: Reading) -> Json:
    return {"code": cause[0], "message": cause[2](reading)}


def report_health(reading: Reading) -> tuple[bool, Json]:
    """The whole node; the first value is False when it is down."""
    up, _ = _ready(reading, _DOWN)
    reasons = _degraded_reasons(reading)
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


def _has(reading: Reading, kind: str) -> bool:
    return any(view.kind == kind for view in reading.processes)


def _any_alive(reading: Reading, kind: str) -> bool:
    return any(view.alive for view in reading.processes if view.kind == kind)


def _gauges(reading: Reading, kind: str, gauge: str) -> dict[str, float]:
    """Of the living processes of a kind, by their names."""
    word, control = REGISTERS[kind].index(gauge), reading.memory.control
    alive = ((index, view) for index, view in enumerate(reading.processes) if view.alive and view.kind == kind)
    return {view.name: control.block(index).read_gauge(word) for index, view in alive}


def _names_over(reading: Reading, kind: str, gauge: str, limit: float) -> list[str]:
    """The living processes of a kind whose gauge is higher than that."""
    return [name for name, value in _gauges(reading, kind, gauge).items() if value > limit]


def _full_workers(reading: Reading) -> list[str]:
    return _names_over(reading, "worker", "http_connections_refused_last_second", 0)


def _overloaded_workers(reading: Reading) -> list[str]:
    return _names_over(reading, "worker", "overload_refusals_last_second", 0)


def _full_reporters(reading: Reading) -> list[str]:
    return _names_over(reading, "reporter", "report_accept_wait_seconds", ACCEPT_WAIT_SECONDS_MAX)


# Code, when it holds, and its sentence.
Cause = tuple[str, Callable[[Reading], bool], Callable[[Reading], str]]
_NO_FRESH_ASSET: Cause = (
    "no_fresh_asset",
    lambda reading: not any(asset.fresh for asset in reading.assets),
    lambda reading: f"none of the {len(reading.assets)} assets has a fresh price",
)
_NO_WORKER: Cause = (
    "no_request_worker",
    lambda reading: _has(reading, "worker") and not _any_alive(reading, "worker"),
    lambda _: "no request worker makes progress, so nobody answers",
)
_NO_REPORTER: Cause = (
    "no_reporter",
    lambda reading: not _any_alive(reading, "reporter"),
    lambda _: "no reporter makes progress, so nobody answers",
)
# Of a node that answers reports alone, and of one that answers nobody.
_REPORTS_ALONE_DOWN: Cause = (
    _NO_REPORTER[0],
    lambda reading: not _has(reading, "worker") and _has(reading, "reporter") and not _any_alive(reading, "reporter"),
    _NO_REPORTER[2],
)
_NO_PUSHER: Cause = (
    "no_pusher",
    lambda reading: not (_has(reading, "worker") or _has(reading, "reporter")) and not _any_alive(reading, "pusher"),
    lambda _: "the push server makes no progress, so nothing is delivered",
)
_WORKER_FULL: Cause = (
    "worker_full",
    lambda reading: bool(_full_workers(reading)),
    lambda reading: f"turned connections away in the last second: {', '.join(_full_workers(reading))}",
)
_REPORTER_FULL: Cause = (
    "reporter_full",
    lambda reading: bool(_full_reporters(reading)),
    lambda reading: f"connections wait to be accepted: {', '.join(_full_reporters(reading))}",
)
_PUSH_WITHOUT_DATABASE: Cause = (
    "push_database_down",
    lambda reading: 0.0 in _gauges(reading, "pusher", "push_database_up").values(),
    lambda _: "subscriptions are served as they were known last, and nobody takes this node's share over",
)
_CACHE_AWAY: Cause = (
    "cache_unreachable",
    lambda reading: reading.cache.state == "down",
    lambda _: "Valkey does not answer: this node takes its own share of all limits, and shares nothing",
)
_CACHE_FULL: Cause = (
    "cache_full",
    lambda reading: reading.cache.state == "full",
    lambda _: "Valkey has no memory left: what nodes share stands still",
)
_LIMITS_BOUNDED: Cause = (
    "limits_bounded",
    lambda reading: 1.0 in _gauges(reading, "cluster", "cluster_limits_bounded").values(),
    lambda _: "no word from the other nodes: each gives its share of a plan, rate and burst divided by their number",
)
_OVERLOADED: Cause = (
    "overloaded",
    lambda reading: bool(_overloaded_workers(reading)),
    lambda reading: (
        "have more requests than they can answer in time, and refuse the rest, paid plans last: "
        f"{', '.join(_overloaded_workers(reading))}"
    ),
)
_DRAINING: Cause = (
    "draining",
    lambda reading: any(view.draining for view in reading.processes),
    lambda _: "the node is shutting down",
)

# Nobody is answered; of those that are turned away beside it others are.
_DOWN = (_NO_FRESH_ASSET, _NO_WORKER, _REPORTS_ALONE_DOWN, _NO_PUSHER, _DRAINING)
# Prices are answered all the same.
_SHORTCOMINGS = (_REPORTER_FULL, _PUSH_WITHOUT_DATABASE, _CACHE_AWAY, _CACHE_FULL, _LIMITS_BOUNDED, _OVERLOADED)


# What a silent flusher knew of database and disk is the past; of rings, spool and losses it is the least.
_LEDGER_REASONS: tuple[tuple[str, Callable[[LedgerView], bool], Callable[[LedgerView], str]], ...] = (
    (
        "ledger_silent",
        lambda view: not view.flusher_alive,
        lambda _: "nobody empties the usage rings: they hold some seconds of full load, then records are lost",
    ),
    (
        "ledger_database_down",
        lambda view: view.flusher_alive and not view.database_up,
        lambda view: f"the database takes no usage records: {view.lag_records} wait on disk",
    ),
    (
        "ledger_disk_refuses",
        lambda view: view.flusher_alive and not view.spool_writable,
        lambda _: "the disk takes no usage records, they wait in the rings: make room in the data directory",
    ),
    (
        "ledger_not_synced",
        lambda view: view.flusher_alive and not view.spool_synced,
        lambda _: "the disk does not confirm what the spool wrote: look at it, a failing machine would lose the rest",
    ),
    (
        "ledger_alarm",
        lambda view: view.alarm,
        lambda view: f"usage records pile up: ring {view.ring_share:.0%}, spool {view.spool_share:.0%} (alarm at 40%)",
    ),
    (
        "ledger_lost",
        lambda view: view.lost_detail + view.lost_records > 0,
        lambda view: f"{view.lost_detail} usage records lost their detail, {view.lost_records} were lost altogether",
    ),
)


def _degraded_reasons(reading: Reading) -> list[Json]:
    _, ready = report_ready(reading)
    reasons: list[Json] = list(ready["reasons"])
    reasons += [_reason(cause, reading) for cause in _SHORTCOMINGS if cause[1](reading)]
    silent = [view.name for view in reading.processes if not view.alive]
    if silent:
        reasons.append({"code": "process_silent", "message": f"no progress: {', '.join(silent)}"})
    failing = [view.name for view in reading.processes if view.failing]
    if failing:
        message = f"dies again and again, see its log for the cause: {', '.join(failing)}"
        reasons.append({"code": "process_failing", "message": message})
    for view in reading.exchanges:
        if view.status != "ws":
            text = {"rest": "delivers by REST alone", "down": "delivers nothing fresh"}[view.status]
            reasons.append({"code": f"feed_{view.status}", "message": f"{view.exchange} {text}"})
        if view.frozen:
            message = f"{view.exchange} stands still: {', '.join(view.frozen)}"
            reasons.append({"code": "feed_frozen", "message": message})
        if view.left_out:
            rows = ", ".join(f"{asset} ({sentence_of(left_out)})" for asset, left_out in view.left_out.items())
            reasons.append({"code": "feed_left_out", "message": f"{view.exchange} leaves out {rows}"})
    stale = [asset.asset for asset in reading.assets if not asset.fresh]
    if stale:
        reasons.append({"code": "assets_unavailable", "message": f"not fresh: {', '.join(stale)}"})
    if reading.ledger is not None:
        ledger = reading.ledger
        reasons += [{"code": code, "message": text(ledger)} for code, is_so, text in _LEDGER_REASONS if is_so(ledger)]
    return reasons


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
        "pid": view.pid,
        "restarts": view.restarts,
        "heartbeat_age_ms": _ms(view.heartbeat_age_ns),
    }


def _ms(age_ns: int | None) -> int | None:
    return None if age_ns is None else age_ns // NS_PER_MS
