"""What the shared memory of a node says right now, as plain values: one reading for health, metrics, `top` and ready.

Rules: pure reading; nothing is kept between two calls, so nothing can be out of date. Ages are differences of
monotonic time; None where there is nothing to be old.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from trinity.limits import HEARTBEAT_AGE_MAX_NS, USAGE_ALARM_SHARE
from trinity.memory.answer_table import ERROR_CODES, AnswerState
from trinity.memory.control import COMMAND, HEARTBEAT_NS, PID, RESTARTS, STARTED_NS, Command
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import NOT_LEFT_OUT, Absence, LeftOut, RowState, Via
from trinity.memory.usage_ring import UsageRing
from trinity.metrics import FEED, FLUSHER, REJECT_REASONS

COINS = ("USDT", "USDC")  # the index words of the answer table, in their order
_VERDICT_USED = 1
_VERDICT_FIRST_REASON = 2


_ABSENCES = {
    Absence.UNKNOWN_SYMBOL: "the exchange says that it does not know the symbol",
    Absence.NOT_ACKNOWLEDGED: "it is not in what the exchange says that it delivers",
}


class ProcessView(NamedTuple):
    """A process: `alive` means that its data loop made progress in its present life, and lately."""

    name: str
    kind: str
    pid: int
    restarts: int
    alive: bool
    heartbeat_age_ns: int | None
    draining: bool


class SourceView(NamedTuple):
    """One market's row: what the feed says of it, its newest quote, and what the consensus made of it."""

    exchange: str
    asset: str
    state: RowState
    via: Via
    age_ns: int | None
    received_wall_ns: int | None
    verdict: str | None  # "used", a reason of metrics.REJECT_REASONS, None when there is none yet
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
    """One asset's consensus: `fresh` is what a request worker would find."""

    asset: str
    fresh: bool
    status: str  # "fresh" or the code of the error answer
    price: Decimal | None  # last good price when not fresh
    age_ns: int | None
    sources: int
    rejected: int
    sources_required: int
    disagreement_ratio: float
    confidence_ratio: float


class LedgerView(NamedTuple):
    """The usage ledger; shares are of a ring's and the spool's room.

    It is what the flusher said last; while it is silent, how full the rings are is read from them.
    """

    flusher_alive: bool
    database_up: bool
    spool_writable: bool
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
                alive=age_ns is not None and age_ns <= HEARTBEAT_AGE_MAX_NS,
                heartbeat_age_ns=age_ns,
                draining=block.read(COMMAND) == Command.DRAIN,
            )
        )
    return views


def read_sources(memory: NodeMemory, now_ns: int) -> list[SourceView]:
    """All markets of the catalog, in its order."""
    catalog = memory.card.catalog
    asset_index = {asset.name: index for index, asset in enumerate(catalog.assets)}
    views = []
    for market in catalog.markets:
        exchange, asset = catalog.exchange_index(market.exchange), asset_index[market.asset]
        left_out = memory.prices.read_left_out(exchange, asset)
        quote = memory.prices.read(exchange, asset)
        views.append(
            SourceView(
                exchange=market.exchange,
                asset=market.asset,
                state=memory.prices.read_state(exchange, asset),
                via=quote.via if quote else Via.NONE,
                age_ns=max(0, now_ns - quote.received_at_ns) if quote else None,
                received_wall_ns=quote.received_wall_ns if quote else None,
                verdict=_verdict(memory.answers.read_verdict(exchange, asset)),
                left_out=left_out if left_out != NOT_LEFT_OUT else None,
            )
        )
    return views


def read_exchanges(memory: NodeMemory, sources: list[SourceView]) -> list[ExchangeView]:
    """All exchanges, summed up from their rows."""
    connected_word = FEED.index("oracle_ws_connected")
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


def read_indexes(memory: NodeMemory) -> dict[str, float | None]:
    """Measured price of each stablecoin in USD, None when there is no index."""
    return {coin: memory.answers.read_index(position) or None for position, coin in enumerate(COINS)}


def has_fresh_asset(memory: NodeMemory, now_ns: int) -> bool:
    """Whether any asset can be answered; stops at the first."""
    return any(_read_asset(memory, index, now_ns).fresh for index in range(len(memory.card.catalog.assets)))


def _read_asset(memory: NodeMemory, index: int, now_ns: int) -> AssetView:
    answers = memory.answers
    record = answers.read(answers.row_of(index))
    name = memory.card.catalog.assets[index].name
    if record is None:
        return AssetView(name, False, ERROR_CODES[AnswerState.EMPTY], None, None, 0, 0, 0, 0.0, 0.0)
    row = record[0]
    state = AnswerState(int(row["state"]))
    fresh = state is AnswerState.GOOD and now_ns < int(row["valid_until_ns"])
    # A good answer whose time is over is stale, whatever its writer said of it.
    status = "fresh" if fresh else ERROR_CODES.get(state, ERROR_CODES[AnswerState.STALE])
    has_price = fresh or bool(row["has_last_good"])
    return AssetView(
        asset=name,
        fresh=fresh,
        status=status,
        price=Decimal(int(row["price"])).scaleb(-int(row["scale"])) if has_price else None,
        age_ns=max(0, now_ns - int(row["newest_received_at_ns"])) if has_price else None,
        sources=int(row["sources"]),
        rejected=int(row["rejected"]),
        sources_required=int(row["sources_required"]),
        disagreement_ratio=int(row["disagreement_milli_bps"]) / 1e7,
        confidence_ratio=int(row["confidence_milli_bps"]) / 1e7,
    )


def _verdict(word: int) -> str | None:
    if word < _VERDICT_USED:
        return None
    return "used" if word == _VERDICT_USED else REJECT_REASONS[word - _VERDICT_FIRST_REASON]


def _named(counts: "Counter[RowState] | Counter[Via]") -> dict[str, int]:
    return {key.name.lower(): count for key, count in counts.items()}
