"""Shapes of reports, history, the node and the account. Types alone, for the document.

Rules: as in lookups.py; a row may get more members in a later version, and no fewer.
"""

from datetime import datetime
from typing import Any

import msgspec

from trinity.cache.stats import NodeStats
from workers.api.openapi.lookups import FeedHealth, ProcessHealth, Reason
from workers.api.openapi.words import OptionalMembers


class LatencySummary(msgspec.Struct):
    """Microseconds; null where there was no request."""

    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None


class SummaryReport(msgspec.Struct, rename={"from_": "from"}):
    """The whole span in one look."""

    from_: datetime
    to: datetime
    tz: str
    requests: int
    lookups: int
    errors: int
    latency_us: LatencySummary
    statuses: dict[str, int]
    protocols: dict[str, int]
    top_assets: dict[str, int]


class UsageRow(msgspec.Struct):
    """One bucket of time and group."""

    start: datetime
    group: str | None
    requests: int
    lookups: int
    errors: int
    latency_mean_us: float | None


class UsageReport(msgspec.Struct, rename={"from_": "from"}):
    """Requests, lookups, errors and mean latency by time."""

    from_: datetime
    to: datetime
    tz: str
    granularity: str
    group_by: str
    rows: list[UsageRow]


class LatencyRow(msgspec.Struct):
    """One bucket of time and group; microseconds."""

    start: datetime
    group: str | None
    requests: int
    latency_mean_us: float | None
    latency_p50_us: float | None
    latency_p90_us: float | None
    latency_p99_us: float | None
    latency_p999_us: float | None


class LatencyReport(msgspec.Struct, rename={"from_": "from"}):
    """Percentiles of the time that answers took."""

    from_: datetime
    to: datetime
    tz: str
    granularity: str
    group_by: str
    rows: list[LatencyRow]


class TopRow(msgspec.Struct):
    """One key, asset, protocol or status."""

    group: str | None
    requests: int
    lookups: int
    errors: int
    latency_mean_us: float | None


class TopReport(msgspec.Struct, rename={"from_": "from"}):
    """Those with the most requests."""

    from_: datetime
    to: datetime
    tz: str
    granularity: str
    group_by: str
    rows: list[TopRow]


class ErrorRow(msgspec.Struct):
    """Refusals of one code, status and protocol."""

    code: str | None
    status: int
    protocol: str | None
    requests: int
    last: datetime | None
    network: str | None


class ErrorReport(msgspec.Struct, rename={"from_": "from"}):
    """Refusals and failures."""

    from_: datetime
    to: datetime
    tz: str
    rows: list[ErrorRow]


class LogRow(msgspec.Struct):
    """One request; `weight` is the number of requests that a sampled row stands for."""

    time: datetime
    request_id: str
    node_id: int
    key_id: int | None
    asset: str | None
    assets: int
    protocol: str
    status: int
    code: str
    source: str
    latency_us: float
    address: str | None
    weight: int


class LogPage(msgspec.Struct, rename={"from_": "from"}):
    """A page of single requests, newest first; `next` is the cursor of the following one."""

    from_: datetime
    to: datetime
    tz: str
    rows: list[LogRow]
    next: str | None


class CandleShape(msgspec.Struct):
    """One bucket of one asset, in USD; `coverage` is the share of it in which a price stood."""

    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    average: float | None
    confidence: float
    sources: int
    samples: int
    coverage: float


class GapShape(msgspec.Struct):
    """A range without any price."""

    start: datetime
    end: datetime


class CandlesAnswer(msgspec.Struct, rename={"from_": "from"}):
    """Candles of the consensus price, and the ranges without one."""

    asset: str
    currency: str
    granularity: str
    tz: str
    from_: datetime
    to: datetime
    candles: list[CandleShape]
    gaps: list[GapShape]


class AverageAnswer(msgspec.Struct, rename={"from_": "from"}):
    """The time-weighted average of whole minutes, and the share of the range that it covers."""

    asset: str
    currency: str
    price: float
    from_: datetime
    to: datetime
    coverage: float
    minutes: int


class PastPrice(msgspec.Struct):
    """The minute that covers a moment."""

    asset: str
    currency: str
    timestamp: datetime
    price: float
    resolution: str
    candle: CandleShape


class Explanation(OptionalMembers):
    """Every step of the consensus: what each source said, its verdict, the majority, the price."""

    asset: str
    at: datetime
    rules: dict[str, int]
    market: dict[str, Any]
    sources: list[dict[str, Any]]
    indexes: list[dict[str, Any]]
    votes: list[str]
    required: int
    majority: dict[str, Any] | None
    cut: dict[str, Any] | None
    is_unbacked: bool
    price_found: dict[str, Any] | None
    jump: dict[str, Any] | None
    state: str
    price: float | None
    confidence: float | None
    used: list[str]
    left_out: dict[str, str]
    age_ms: float | None


class NodeAsset(msgspec.Struct):
    """One asset of the node now; `price` is null where a lookup would refuse it, and `reason` says why."""

    asset: str
    status: str
    reason: str | None
    price: float | None
    timestamp: int | None
    last_price: float | None
    last_timestamp: int | None
    age_ms: int | None
    sources: int
    rejected: int
    voters: int
    sources_required: int
    majority: int
    disagreement_bps: float
    confidence_bps: float | None


class NodeState(msgspec.Struct):
    """The node's state and its reasons, each feed, each asset."""

    status: str
    reasons: list[Reason]
    node: str
    version: str
    simulated: bool
    feeds: dict[str, FeedHealth]
    time_ms: int
    database: bool
    usd_indexes: dict[str, float | None]
    assets: list[NodeAsset]


class ExchangeRow(msgspec.Struct):
    """What one exchange says of an asset, and whether the consensus uses it."""

    exchange: str
    currency: str
    price: float | None
    price_usd: float | None
    age_ms: int | None
    via: str
    state: str
    verdict: str


class AssetAnswer(NodeAsset):
    """One asset, with what each exchange says."""

    majority_window_bps: int
    exchanges: list[ExchangeRow]


class AssetDay(msgspec.Struct):
    """One asset's last 24 hours, in USD; null is what the node has no candles of."""

    asset: str
    name: str
    price_24h: float | None
    high_24h: float | None
    low_24h: float | None


class NodeDay(msgspec.Struct):
    """Each asset's name and its last 24 hours."""

    assets: list[AssetDay]


class ClusterState(msgspec.Struct):
    """What each node of the cluster told of itself last; `cache`: up, down (`reason` says why) or off."""

    time_ms: int
    cache: str
    reason: str
    nodes: list[NodeStats]


class NodeInside(msgspec.Struct):
    """Processes, ledger, limits and refusals; null is what the database knows, while it does not answer."""

    version: str
    started_ms: int
    time_ms: int
    monotonic_ms: int
    retention: dict[str, int]
    disk: dict[str, int] | None
    database_bytes: int | None
    processes: list[ProcessHealth]
    work: dict[str, Any]
    ledger: dict[str, Any] | None
    refusals: dict[str, int]
    latency_bounds_ns: list[int]
    plans: list[dict[str, Any]] | None
    blocks: list[dict[str, Any]] | None
    today: dict[str, Any] | None


class RowReport(OptionalMembers):
    """Rows of accounts, plans or a month's bills, by the columns of docs/billing.md."""

    rows: list[dict[str, Any]]
