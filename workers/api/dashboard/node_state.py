"""What the node says of its feeds and assets, to the dashboard and to scripts; its inside stands in inside.py.

Rules: read from shared memory when it is asked for, as the health service does and with the same words. `time_ms` is
the node's own clock, so that nobody needs to trust another one for an age; `database` says whether reports and history
can be asked.
`/node` has all prices and costs a key as many lookups; a signed-in page asks each second, for none.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from trinity.clock import NS_PER_MS
from trinity.memory.answer_table import AnswerState, served_state
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import UsageRing
from trinity.observe.metrics import REPORTER
from trinity.observe.readings import AssetView, read_assets, read_indexes, read_sources
from trinity.observe.status import Json, read_node, report_health
from workers.api.base.callers.auth import ApiCaller, charge
from workers.api.base.context import Parts
from workers.api.base.problems import refusal_of
from workers.api.dashboard.machine import MachineFigures

DATABASE_UP = REPORTER.index("report_database_up")
# Of a price that a rate of six decimals has converted.
_USD_DIGITS = 12


@dataclass(frozen=True)
class Dashboard:
    """What this feature brings to its handlers (`dashboard`)."""

    memory: NodeMemory  # of the whole node
    rings: tuple[UsageRing, ...]  # of its workers and of former ones
    machine: MachineFigures


@get("/node", tags=["node"])
async def show_node(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - whoever may ask for prices
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    dashboard: NamedDependency[Dashboard],
) -> Json:
    """The node's state and its reasons, each feed, each asset: with a key as many lookups, to a signed-in page none."""
    clock = parts.context.clock
    now_ns = clock.monotonic_ns()
    _, health = report_health(read_node(dashboard.memory, now_ns, dashboard.rings))
    assets = [_asset_of(view) for view in read_assets(dashboard.memory, now_ns)]
    charge(parts, request.scope, sum(asset["price"] is not None for asset in assets))
    shown = {name: health[name] for name in ("status", "reasons", "node", "version", "simulated", "feeds")}
    return {
        **shown,
        "time_ms": clock.wall_ns() // NS_PER_MS,
        "database": parts.context.block.read_gauge(DATABASE_UP) == 1.0,
        "usd_indexes": read_indexes(dashboard.memory),
        "assets": assets,
    }


@get("/node/asset", tags=["node"])
async def show_asset(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    parts: NamedDependency[Parts],
    dashboard: NamedDependency[Dashboard],
    asset: FromQuery[str],
) -> Json:
    """One asset: what each exchange says now, and whether the consensus uses it."""
    memory, now_ns = dashboard.memory, parts.context.clock.monotonic_ns()
    index = parts.prices.find(asset)
    if index is None:
        raise refusal_of("unknown_asset", field="asset")
    view = read_assets(memory, now_ns)[index]
    indexes = read_indexes(memory)
    rows = [source for source in read_sources(memory, now_ns) if source.asset == view.asset]
    exchanges = [
        {
            "exchange": row.exchange,
            **_price_of(memory, index, row.exchange, indexes, now_ns),
            "age_ms": _ms(row.age_ns),
            "via": row.via.name.lower(),
            "state": row.state.name.lower(),
            "verdict": row.verdict,
        }
        for row in rows
    ]
    rules = memory.card.catalog.assets[index].rules
    return {**_asset_of(view), "majority_window_bps": rules.majority_window_bps, "exchanges": exchanges}


def _asset_of(view: AssetView) -> Json:
    """With the names of a lookup: what is refused has no price, and the last good one stands under its own name."""
    return {
        "asset": view.asset,
        "status": view.status,
        "reason": view.reason,
        "price": None if view.price is None else float(view.price),
        "timestamp": view.timestamp_ms if view.fresh else None,
        "last_price": None if view.last_price is None else float(view.last_price),
        "last_timestamp": None if view.fresh else view.timestamp_ms,
        "age_ms": _ms(view.age_ns),
        "sources": view.sources,
        "rejected": view.rejected,
        "voters": view.voters,
        "sources_required": view.sources_required,
        "majority": view.majority,
        "disagreement_bps": round(view.disagreement_ratio * 10_000, 3),
        "confidence_bps": None if view.confidence_ratio is None else round(view.confidence_ratio * 10_000, 3),
    }


def _price_of(memory: NodeMemory, asset: int, exchange: str, indexes: dict[str, float | None], now_ns: int) -> Json:
    """An exchange's own price and the same in USD; null where it has no good one now."""
    market = next(
        entry
        for entry in memory.card.catalog.markets
        if entry.exchange == exchange and entry.asset == memory.card.catalog.assets[asset].name
    )
    answers = memory.answers
    record = answers.read(answers.row_of(asset, memory.card.catalog.exchange_index(exchange)))
    price = None
    if record is not None and served_state(record, now_ns) is AnswerState.GOOD:
        price = Decimal(int(record["price"][0])).scaleb(-int(record["scale"][0]))
    rate = 1.0 if market.quote == "USD" else indexes.get(market.quote)
    usd = float(f"{float(price) * rate:.{_USD_DIGITS}g}") if price is not None and rate is not None else None
    return {"currency": market.quote, "price": None if price is None else float(price), "price_usd": usd}


def _ms(age_ns: int | None) -> int | None:
    return None if age_ns is None else age_ns // NS_PER_MS
