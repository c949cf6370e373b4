"""Why a node is not as it should be: the one table of reasons, by code, with their sentences; pure.

`/ready`, `/health`, the series `trinity_health_reason{code}` and, over that series, the alarms of deploy/prometheus ask
this table, so none of them can say otherwise than another. Each code has a section of its name in docs/operations.md.

    DOWN          nobody is answered
    TURNED_AWAY   some are, others are sent to another node
    SHORT         prices are answered, but something is missing
"""

import enum
from collections.abc import Callable, Iterable
from typing import NamedTuple

from trinity.memory.control import NODE_LEAVING
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import REGISTERS
from trinity.observe.readings import (
    AssetView,
    BeyondView,
    CacheView,
    ExchangeView,
    LedgerView,
    ProcessView,
    SourceView,
    sentence_of,
)

# A connection is accepted within a millisecond: one that waits so long meets a reporter that serves nobody new.
ACCEPT_WAIT_SECONDS_MAX = 1.0


class Reading(NamedTuple):
    """All that the reports need, read at one time (`status.read_node`)."""

    memory: NodeMemory
    processes: list[ProcessView]
    sources: list[SourceView]
    exchanges: list[ExchangeView]
    assets: list[AssetView]
    ledger: LedgerView | None
    cache: CacheView
    beyond: BeyondView


class ReasonWeight(enum.Enum):
    """What a reason means for who asks."""

    DOWN = enum.auto()
    TURNED_AWAY = enum.auto()
    SHORT = enum.auto()


class HealthReason(NamedTuple):
    """A code, and its sentences about a reading: none while it does not hold."""

    code: str
    weight: ReasonWeight
    sentences: Callable[[Reading], list[str]]


def _when(
    code: str, weight: ReasonWeight, holds: Callable[[Reading], object], sentence: Callable[[Reading], str] | str
) -> HealthReason:
    """A reason with one sentence."""

    def sentences(reading: Reading) -> list[str]:
        if not holds(reading):
            return []
        return [sentence if isinstance(sentence, str) else sentence(reading)]

    return HealthReason(code, weight, sentences)


def _named(code: str, weight: ReasonWeight, names: Callable[[Reading], Iterable[str]], before: str) -> HealthReason:
    """One sentence that ends with the names of what it is about."""
    return HealthReason(
        code, weight, lambda reading: [f"{before}: {', '.join(found)}"] if (found := [*names(reading)]) else []
    )


def _of_ledger(
    code: str, holds: Callable[[LedgerView], bool], sentence: Callable[[LedgerView], str] | str
) -> HealthReason:
    """What a silent flusher knew of database and disk is the past; of rings, spool and losses it is the least."""

    def sentences(reading: Reading) -> list[str]:
        view = reading.ledger
        if view is None or not holds(view):
            return []
        return [sentence if isinstance(sentence, str) else sentence(view)]

    return HealthReason(code, ReasonWeight.SHORT, sentences)


def _of_exchanges(code: str, sentence: Callable[[ExchangeView], str | None]) -> HealthReason:
    """A sentence for each exchange that it concerns."""
    return HealthReason(
        code,
        ReasonWeight.SHORT,
        lambda reading: [text for view in reading.exchanges if (text := sentence(view)) is not None],
    )


def _has(reading: Reading, kind: str) -> bool:
    return any(view.kind == kind for view in reading.processes)


def _any_alive(reading: Reading, kind: str) -> bool:
    return any(view.alive for view in reading.processes if view.kind == kind)


def _gauges(reading: Reading, kind: str, gauge: str) -> dict[str, float]:
    """Of the living processes of a kind, by their names."""
    word, control = REGISTERS[kind].index(gauge), reading.memory.control
    alive = ((index, view) for index, view in enumerate(reading.processes) if view.alive and view.kind == kind)
    return {view.name: control.block(index).read_gauge(word) for index, view in alive}


def _over(kind: str, gauge: str, limit: float) -> Callable[[Reading], list[str]]:
    """The living processes of a kind whose gauge is higher than that."""
    return lambda reading: [name for name, value in _gauges(reading, kind, gauge).items() if value > limit]


def _left_out(view: ExchangeView) -> str | None:
    if not view.left_out:
        return None
    rows = ", ".join(f"{asset} ({sentence_of(left_out)})" for asset, left_out in view.left_out.items())
    return f"{view.exchange} leaves out {rows}"


NO_REPORTER = _when(
    "no_reporter",
    ReasonWeight.DOWN,
    lambda reading: not _any_alive(reading, "reporter"),
    "no reporter makes progress, so nobody answers",
)
REPORTER_FULL = _named(
    "reporter_full",
    ReasonWeight.SHORT,
    _over("reporter", "report_accept_wait_seconds", ACCEPT_WAIT_SECONDS_MAX),
    "connections wait to be accepted",
)
DRAINING = _when(
    "draining",
    ReasonWeight.DOWN,
    lambda reading: (
        reading.memory.control.read_node_word(NODE_LEAVING) == 1 or any(view.draining for view in reading.processes)
    ),
    "the node is shutting down",
)

REASONS: tuple[HealthReason, ...] = (
    _when(
        "no_fresh_asset",
        ReasonWeight.DOWN,
        lambda reading: not any(asset.fresh for asset in reading.assets),
        lambda reading: f"none of the {len(reading.assets)} assets has a fresh price",
    ),
    _when(
        "no_request_worker",
        ReasonWeight.DOWN,
        lambda reading: _has(reading, "worker") and not _any_alive(reading, "worker"),
        "no request worker makes progress, so nobody answers",
    ),
    # Of a node that answers reports alone, and of one that answers nobody.
    NO_REPORTER._replace(
        sentences=lambda reading: (
            NO_REPORTER.sentences(reading) if _has(reading, "reporter") and not _has(reading, "worker") else []
        )
    ),
    _when(
        "no_pusher",
        ReasonWeight.DOWN,
        lambda reading: (
            not (_has(reading, "worker") or _has(reading, "reporter")) and not _any_alive(reading, "pusher")
        ),
        "the push server makes no progress, so nothing is delivered",
    ),
    DRAINING,
    _named(
        "worker_full",
        ReasonWeight.TURNED_AWAY,
        _over("worker", "http_connections_refused_last_second", 0),
        "turned connections away in the last second",
    ),
    REPORTER_FULL,
    _when(
        "push_database_down",
        ReasonWeight.SHORT,
        lambda reading: 0.0 in _gauges(reading, "pusher", "push_database_up").values(),
        "subscriptions are served as they were known last, and nobody takes this node's share over",
    ),
    _when(
        "cache_unreachable",
        ReasonWeight.SHORT,
        lambda reading: reading.cache.state == "down",
        "Valkey does not answer: this node takes its own share of all limits, and shares nothing",
    ),
    _when(
        "cache_full",
        ReasonWeight.SHORT,
        lambda reading: reading.cache.state == "full",
        "Valkey has no memory left: what nodes share stands still",
    ),
    _when(
        "limits_bounded",
        ReasonWeight.SHORT,
        lambda reading: 1.0 in _gauges(reading, "cluster", "cluster_limits_bounded").values(),
        "no word from the other nodes: each gives its share of a plan, rate and burst divided by their number",
    ),
    _named(
        "overloaded",
        ReasonWeight.SHORT,
        _over("worker", "overload_refusals_last_second", 0),
        "have more requests than they can answer in time, and refuse the rest, paid plans last",
    ),
    _named(
        "process_silent",
        ReasonWeight.SHORT,
        lambda reading: (view.name for view in reading.processes if not view.alive and not view.resting),
        "no progress",
    ),
    _named(
        "process_failing",
        ReasonWeight.SHORT,
        lambda reading: (view.name for view in reading.processes if view.failing),
        "dies again and again, see its log for the cause",
    ),
    _when(
        "backup_failing",
        ReasonWeight.SHORT,
        lambda reading: 1.0 in _gauges(reading, "backup", "backup_failing").values(),
        "more would be lost with this machine's disk than may be: the backup process's log says why",
    ),
    _of_exchanges(
        "feed_rest", lambda view: f"{view.exchange} delivers by REST alone" if view.status == "rest" else None
    ),
    _of_exchanges(
        "feed_down", lambda view: f"{view.exchange} delivers nothing fresh" if view.status == "down" else None
    ),
    _of_exchanges(
        "feed_frozen", lambda view: f"{view.exchange} stands still: {', '.join(view.frozen)}" if view.frozen else None
    ),
    _of_exchanges("feed_left_out", _left_out),
    _named(
        "assets_unavailable",
        ReasonWeight.SHORT,
        lambda reading: (asset.asset for asset in reading.assets if not asset.fresh),
        "not fresh",
    ),
    _of_ledger(
        "ledger_silent",
        lambda view: not view.flusher_alive,
        "nobody empties the usage rings: they hold some seconds of full load, then records are lost",
    ),
    _of_ledger(
        "ledger_database_down",
        lambda view: view.flusher_alive and not view.database_up,
        lambda view: f"the database takes no usage records: {view.lag_records} wait on disk",
    ),
    _of_ledger(
        "ledger_disk_refuses",
        lambda view: view.flusher_alive and not view.spool_writable,
        "the disk takes no usage records, they wait in the rings: make room in the data directory",
    ),
    _of_ledger(
        "ledger_not_synced",
        lambda view: view.flusher_alive and not view.spool_synced,
        "the disk does not confirm what the spool wrote: look at it, a failing machine would lose the rest",
    ),
    _of_ledger(
        "ledger_alarm",
        lambda view: view.alarm,
        lambda view: f"usage records pile up: ring {view.ring_share:.0%}, spool {view.spool_share:.0%} (alarm at 40%)",
    ),
    _of_ledger(
        "ledger_lost",
        lambda view: view.lost_detail + view.lost_records > 0,
        lambda view: f"{view.lost_detail} usage records lost their detail, {view.lost_records} were lost altogether",
    ),
)

DOWN = tuple(reason for reason in REASONS if reason.weight is ReasonWeight.DOWN)
# What a load balancer goes by: of the lookups, and of the reports, which are of the past without fresh prices as well.
OF_LOOKUPS = tuple(reason for reason in REASONS if reason.weight in (ReasonWeight.DOWN, ReasonWeight.TURNED_AWAY))
OF_REPORTS = (NO_REPORTER, REPORTER_FULL, DRAINING)
