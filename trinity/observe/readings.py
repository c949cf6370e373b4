"""What the shared memory of a node says right now, as plain values: one reading for health, metrics, `top` and ready.

Rules: pure reading; nothing is kept between two calls, so nothing can be out of date. Ages are differences of
monotonic time; None where there is nothing to be old. A price that a request worker would refuse is None here: the
last good one has a name of its own, no source is part of it, and `reason` says what was missing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND
from trinity.limits import HEARTBEAT_AGE_MAX_NS, JUMP_HOLD_NS, JUMP_PERCENT_MAX, USAGE_ALARM_SHARE
from trinity.markets import AssetRules
from trinity.memory.answer_table import (
    ERROR_CODES,
    VERDICT_NONE,
    VERDICT_REJECTED,
    VERDICT_USED,
    AnswerState,
    served_state,
    standing_of,
)
from trinity.memory.control import COMMAND, FAILING, HEARTBEAT_NS, PID, RESTARTS, RESTING, STARTED_NS, Command
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import NOT_LEFT_OUT, Absence, LeftOut, RowState, Via
from trinity.memory.usage_ring import UsageRing
from trinity.observe.metrics import CLUSTER, FEED, FLUSHER, RESOLVER
from trinity.vocabulary import REJECT_REASONS

COINS = ("USDT", "USDC")  # the index words of the answer table, in their order


_ABSENCES = {
    Absence.UNKNOWN_SYMBOL: "the exchange says that it does not know the symbol",
    Absence.NOT_ACKNOWLEDGED: "it is not in what the exchange says that it delivers",
}


class ProcessView(NamedTuple):
    """A process: `alive` means that its data loop made progress in its present life, and lately.

    `failing`: it dies again and again, also where it is alive at this moment. `resting`: a spare, of no need now.
    """

    name: str
    kind: str
    pid: int
    restarts: int
    alive: bool
    heartbeat_age_ns: int | None
    draining: bool
    failing: bool
    resting: bool = False


class SourceView(NamedTuple):
    """One market's row: what the feed says of it, its newest quote, and what the consensus made of it."""

    exchange: str
    asset: str
    state: RowState
    via: Via
    age_ns: int | None
    received_wall_ns: int | None
    verdict: str | None  # "used", "disputed", "unused", a reason of vocabulary.REJECT_REASONS, None: none yet
    left_out: LeftOut | None  # why its feed does not ask for it over one way or both, None when it does


class ExchangeView(NamedTuple):
    """One exchange as a whole; rows are its markets of the catalog."""

    exchange: str
    status: str  # "ws": the WebSocket delivers; "rest": REST alone does; "down": nothing fresh
    connected: bool
    rows: int
    rows_by_state: dict[str, int]
    rows_by_via: dict[str, int]  # of the live rows
    newest_age_ns: int | None
    frozen: tuple[str, ...]
    unknown: tuple[str, ...]
    left_out: dict[str, LeftOut]  # by asset: what is not asked for over a way, and why


class AssetView(NamedTuple):
    """One asset's consensus: `fresh` is what a request worker would find.

    Age and time are those of `price`, or of `last_price`: of the oldest source that its median stands on.
    """

    asset: str
    fresh: bool
    status: str  # "fresh" or the code of the error answer
    reason: str | None  # what was missing; None when fresh
    price: Decimal | None  # None when not fresh
    last_price: Decimal | None  # the last good one, when not fresh
    timestamp_ms: int | None
    age_ns: int | None
    sources: int  # in the price: 0 when not fresh
    rejected: int
    voters: int  # good sources, also when no price came of them
    sources_required: int
    majority: int  # voters that had to agree and did not; 0 when it was not that
    disagreement_ratio: float  # how far the voters are apart
    confidence_ratio: float | None  # None when not fresh


class LedgerView(NamedTuple):
    """The usage ledger; shares are of a ring's and the spool's room.

    It is what the flusher said last; while it is silent, how full the rings are is read from them.
    """

    flusher_alive: bool
    database_up: bool
    spool_writable: bool
    spool_synced: bool
    alarm: bool
    ring_share: float
    ring_share_max: float
    spool_share: float
    spool_bytes: int
    lag_records: int
    lag_seconds: float
    rows_loaded: int
    lost_detail: int
    lost_records: int


class CacheView(NamedTuple):
    """Valkey, as the process that asks it every second saw it last."""

    state: str  # "off": the node has none; "down", also while nobody asks; "full": it answers and takes nothing; "up"
    nodes: int | None  # of the cluster that live; as known last while it is away


def read_cache(memory: NodeMemory, now_ns: int) -> CacheView:
    """`off` where no process speaks with other nodes."""
    cluster = next((view for view in read_processes(memory, now_ns) if view.kind == "cluster"), None)
    if cluster is None:
        return CacheView("off", None)
    block = memory.control.block([entry.name for entry in memory.card.processes].index(cluster.name))
    up, full, nodes = (block.read_gauge(CLUSTER.index(name)) for name in ("cache_up", "cache_full", "cluster_nodes"))
    state = "down" if not up or not cluster.alive else "full" if full else "up"
    return CacheView(state, int(nodes))


class BeyondView(NamedTuple):
    """Assets beyond the catalog."""

    state: str  # "off": the node answers none; "down": nobody resolves, what has a row is answered until it ends; "up"
    rows: int  # assets that have one
    hot: int  # of them, those that are kept fresh


def read_beyond(memory: NodeMemory, now_ns: int) -> BeyondView:
    """`off` where no process resolves names."""
    resolver = next((view for view in read_processes(memory, now_ns) if view.kind == "resolver"), None)
    if resolver is None:
        return BeyondView("off", 0, 0)
    block = memory.control.block([entry.name for entry in memory.card.processes].index(resolver.name))
    rows, hot = (int(block.read_gauge(RESOLVER.index(name))) for name in ("asset_rows", "asset_rows_hot"))
    return BeyondView("up" if resolver.alive else "down", rows, hot)


def read_ledger(memory: NodeMemory, now_ns: int, rings: Sequence[UsageRing] = ()) -> LedgerView | None:
    """None where there is no flusher; `rings` are the node's, for a flusher that is silent."""
    flusher = next((view for view in read_processes(memory, now_ns) if view.kind == "flusher"), None)
    if flusher is None:
        return None
    index = [entry.name for entry in memory.card.processes].index(flusher.name)
    block = memory.control.block(index)

    def gauge(name: str) -> float:
        return block.read_gauge(FLUSHER.index(name))

    view = LedgerView(
        flusher_alive=flusher.alive,
        database_up=gauge("usage_database_up") == 1.0,
        spool_writable=gauge("usage_spool_writable") == 1.0,
        spool_synced=gauge("usage_spool_synced") == 1.0,
        alarm=gauge("usage_alarm") == 1.0,
        ring_share=gauge("usage_ring_share"),
        ring_share_max=gauge("usage_ring_share_max"),
        spool_share=gauge("usage_spool_share"),
        spool_bytes=int(gauge("usage_spool_bytes")),
        lag_records=int(gauge("usage_lag_records")),
        lag_seconds=gauge("usage_lag_seconds"),
        rows_loaded=block.read_counter(FLUSHER.index("usage_rows_loaded_total")),
        lost_detail=block.read_counter(FLUSHER.index("usage_lost_total", "detail")),
        lost_records=block.read_counter(FLUSHER.index("usage_lost_total", "record")),
    )
    return view if view.flusher_alive or not rings else _without_flusher(view, rings)


def _without_flusher(view: LedgerView, rings: Sequence[UsageRing]) -> LedgerView:
    """What it would say of the rings now. Records that found them full are lost, and nobody has counted them yet."""
    share = max((ring.written - ring.released) / ring.capacity for ring in rings)
    return view._replace(
        alarm=max(share, view.spool_share) > USAGE_ALARM_SHARE,
        ring_share=share,
        ring_share_max=max(share, view.ring_share_max),
        lost_records=view.lost_records + sum(ring.refused - ring.counted for ring in rings),
    )


def read_processes(memory: NodeMemory, now_ns: int) -> list[ProcessView]:
    """All processes, in the order of the card."""
    views = []
    for index, entry in enumerate(memory.card.processes):
        block = memory.control.block(index)
        beat_ns, started_ns = block.read(HEARTBEAT_NS), block.read(STARTED_NS)
        has_beaten = started_ns > 0 and beat_ns >= started_ns
        age_ns = max(0, now_ns - beat_ns) if has_beaten else None
        views.append(
            ProcessView(
                name=entry.name,
                kind=entry.kind,
                pid=block.read(PID),
                restarts=block.read(RESTARTS),
                alive=age_ns is not None and age_ns <= HEARTBEAT_AGE_MAX_NS and block.read(RESTING) == 0,
                heartbeat_age_ns=age_ns,
                draining=block.read(COMMAND) == Command.DRAIN,
                failing=block.read(FAILING) == 1,
                resting=block.read(RESTING) == 1,
            )
        )
    return views


def read_sources(memory: NodeMemory, now_ns: int) -> list[SourceView]:
    """All markets of the catalog, in its order."""
    catalog = memory.card.catalog
    asset_index = {asset.name: index for index, asset in enumerate(catalog.assets)}
    states = [served_state(memory.answers.read(memory.answers.row_of(i)), now_ns) for i in range(len(catalog.assets))]
    views = []
    for market in catalog.markets:
        exchange, asset = catalog.exchange_index(market.exchange), asset_index[market.asset]
        left_out = memory.prices.read_left_out(exchange, asset)
        quote = memory.prices.read(exchange, asset)
        newest = quote.newest if quote is not None else None
        views.append(
            SourceView(
                exchange=market.exchange,
                asset=market.asset,
                state=memory.prices.read_state(exchange, asset),
                via=quote.via if quote else Via.NONE,
                age_ns=max(0, now_ns - newest.received_at_ns) if newest is not None else None,
                received_wall_ns=newest.received_wall_ns if newest is not None else None,
                verdict=_verdict(memory.answers.read_verdict(exchange, asset), states[asset]),
                left_out=left_out if left_out != NOT_LEFT_OUT else None,
            )
        )
    return views


def read_exchanges(memory: NodeMemory, sources: list[SourceView]) -> list[ExchangeView]:
    """All exchanges, summed up from their rows."""
    connected_word = FEED.index("ws_connected")
    blocks = {entry.name: index for index, entry in enumerate(memory.card.processes) if entry.kind == "feed"}
    views = []
    for exchange in memory.card.catalog.exchanges:
        rows = [source for source in sources if source.exchange == exchange]
        live = Counter(row.via for row in rows if row.state in (RowState.LIVE, RowState.QUIET))
        block = blocks.get(f"feed-{exchange}")
        ages = [row.age_ns for row in rows if row.age_ns is not None]
        views.append(
            ExchangeView(
                exchange=exchange,
                status="ws" if live[Via.WS] else "rest" if live[Via.REST] else "down",
                connected=block is not None and memory.control.block(block).read_gauge(connected_word) == 1.0,
                rows=len(rows),
                rows_by_state=_named(Counter(row.state for row in rows)),
                rows_by_via=_named(live),
                newest_age_ns=min(ages, default=None),
                frozen=tuple(row.asset for row in rows if row.state is RowState.FROZEN),
                unknown=tuple(row.asset for row in rows if row.state is RowState.UNKNOWN),
                left_out={row.asset: row.left_out for row in rows if row.left_out is not None},
            )
        )
    return views


def sentence_of(left_out: LeftOut) -> str:
    """Why a row is left out, for people."""
    ways = (("WebSocket", left_out.ws), ("REST", left_out.rest))
    return "; ".join(f"{way}: {_ABSENCES[absence]}" for way, absence in ways if absence is not Absence.NONE)


def read_assets(memory: NodeMemory, now_ns: int) -> list[AssetView]:
    """All assets, in the order of the catalog."""
    return [_read_asset(memory, index, now_ns) for index in range(len(memory.card.catalog.assets))]


def are_prices_lost(assets: Sequence[AssetView]) -> bool:
    """Whether most assets have no price: what alone is quiet is that asset's affair."""
    return sum(not asset.fresh for asset in assets) > len(assets) / 2


def read_indexes(memory: NodeMemory) -> dict[str, float | None]:
    """Measured price of each stablecoin in USD, None when there is no index."""
    return {coin: memory.answers.read_index(position) or None for position, coin in enumerate(COINS)}


def _read_asset(memory: NodeMemory, index: int, now_ns: int) -> AssetView:
    record = memory.answers.read(memory.answers.row_of(index))
    asset = memory.card.catalog.assets[index]
    state = served_state(record, now_ns)
    fresh = state is AnswerState.GOOD
    numbers = record[0] if record is not None else None
    view = AssetView(asset.name, fresh, "fresh", None, None, None, None, None, 0, 0, 0, 0, 0, 0.0, None)
    if numbers is not None:
        # What a record says of its sources when its time is over, it says of the past.
        is_past = state is AnswerState.STALE
        view = view._replace(
            sources=int(numbers["sources"]) if fresh else 0,
            rejected=int(numbers["rejected"]),
            voters=0 if is_past else int(numbers["voters"]),
            sources_required=int(numbers["sources_required"]),
            majority=int(numbers["majority"]),
            disagreement_ratio=0.0 if is_past else int(numbers["disagreement_milli_bps"]) / 1e7,
            confidence_ratio=int(numbers["confidence_milli_bps"]) / 1e7 if fresh else None,
        )
        if fresh or numbers["has_last_good"]:
            price = Decimal(int(numbers["price"])).scaleb(-int(numbers["scale"]))
            view = view._replace(
                price=price if fresh else None,
                last_price=None if fresh else price,
                timestamp_ms=int(numbers["timestamp_ms"]),
                age_ns=max(0, now_ns - int(numbers["received_at_ns"])),
            )
    return view if fresh else view._replace(status=ERROR_CODES[state], reason=_REASONS[state](view, asset.rules))


def _disagreement(view: AssetView, rules: AssetRules) -> str:
    if not view.majority:
        seconds = JUMP_HOLD_NS // NS_PER_SECOND
        return f"not all exchanges show a move of more than {JUMP_PERCENT_MAX} %: it waits, for at most {seconds} s"
    return (
        f"{view.voters} exchanges lie {view.disagreement_ratio * 1e4:.1f} bps apart: "
        f"{view.majority} of them within {rules.majority_window_bps} bps are needed"
    )


# What was missing for a price, in one sentence.
_REASONS: dict[AnswerState, Callable[[AssetView, AssetRules], str]] = {
    AnswerState.EMPTY: lambda _, __: "no exchange has sent a quote yet",
    AnswerState.STALE: lambda _, rules: (
        f"no quote is younger than {rules.max_age_ms} ms, or the consensus stands still"
    ),
    AnswerState.TOO_FEW_SOURCES: lambda view, _: (
        f"{view.voters} exchanges have a good quote: {view.sources_required} are needed"
    ),
    AnswerState.SOURCES_DISAGREE: _disagreement,
    AnswerState.NOT_LISTED: lambda _, __: "no exchange lists it",
}


def _verdict(word: int, state: AnswerState) -> str | None:
    """What became of a source, as far as the answer of its asset is what a worker would serve now."""
    if word == VERDICT_NONE:
        return None
    return standing_of(state) if word == VERDICT_USED else REJECT_REASONS[word - VERDICT_REJECTED]


def _named(counts: "Counter[RowState] | Counter[Via]") -> dict[str, int]:
    return {key.name.lower(): count for key, count in counts.items()}
