"""Shapes of what lookups and the health ports answer (docs/protocol.md). Types alone, for the document.

Rules: a number here is a JSON number, however exact its maker is; a member that may be absent has a default.
"""

import msgspec

from workers.api.openapi.words import AnyOf, OptionalMembers


class ErrorShape(OptionalMembers):
    """Why there is no answer: `code` never changes, `message` may; `field` is the parameter at fault."""

    code: str
    message: str
    field: str | None = None
    nearest: str | None = None
    port: int | None = None


class LookupRefusal(msgspec.Struct):
    """A request that was refused."""

    error: ErrorShape


class ConsensusPrice(OptionalMembers):
    """The consensus price of one asset, in US dollars; `status` is `fresh`."""

    asset: str
    price: float
    currency: str
    confidence: float
    sources: int
    rejected: int
    source: str
    timestamp: int
    newest_timestamp: int
    status: str
    disagreement_bps: float | None = None
    exchanges: tuple[str, ...] = ()


class ExchangePrice(OptionalMembers):
    """One exchange's own price, in its own currency."""

    asset: str
    price: float
    currency: str
    source: str
    via: str
    timestamp: int
    status: str
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    simulated: bool = False


class RefusedPrice(OptionalMembers):
    """A price that cannot be given, with the last good one under names of its own; `status` repeats the code."""

    error: ErrorShape
    status: str
    asset: str
    last_price: float | None = None
    last_timestamp: int | None = None
    age_ms: int | None = None


class GoodPrice(AnyOf):
    """What is given with 200."""

    shapes = (ConsensusPrice, ExchangePrice)


class AnyPrice(AnyOf):
    """An element of a list of prices."""

    shapes = (ConsensusPrice, ExchangePrice, RefusedPrice)


class RefusedLookup(AnyOf):
    """A price that is refused, or a request."""

    shapes = (RefusedPrice, LookupRefusal)


class PriceList(msgspec.Struct):
    """One element for each asset that was asked for, in that order."""

    prices: list[AnyPrice]


class AssetList(OptionalMembers):
    """The catalog; a request may use an alias, the answer names the asset. `beyond_catalog`: others are answered."""

    assets: list[str]
    exchanges: list[str]
    markets: dict[str, list[str]]
    aliases: dict[str, str]
    beyond_catalog: bool | None = None


class WorkerHealth(msgspec.Struct):
    """The answering request worker's own view: `ok` while any asset has a fresh price, else `degraded`."""

    status: str
    node: str
    worker: int
    simulated: bool
    assets: int
    fresh: int


class Reason(msgspec.Struct):
    """One thing that is not as it should be."""

    code: str
    message: str


class Liveness(msgspec.Struct):
    """The health process runs."""

    live: bool
    node: str
    simulated: bool


class Readiness(msgspec.Struct):
    """Whether this port's service may be sent calls, and why not (then with the status 503)."""

    ready: bool
    reasons: list[Reason]
    fresh_assets: int
    assets: int
    simulated: bool


class LeftOutShape(OptionalMembers):
    """Why an exchange is not asked for an asset, over each way; null where it is."""

    message: str
    ws: str | None = None
    rest: str | None = None


class FeedHealth(msgspec.Struct):
    """One exchange: `status` is `ws`, `rest` or `down`."""

    status: str
    connected: bool
    rows: int
    rows_by_state: dict[str, int]
    rows_by_via: dict[str, int]
    newest_age_ms: int | None
    frozen: list[str]
    unknown: list[str]
    left_out: dict[str, LeftOutShape]


class ConsensusHealth(msgspec.Struct):
    """How many prices are fresh, how old they are, and the codes of the others."""

    fresh_assets: int
    assets: int
    newest_age_ms: int | None
    oldest_fresh_age_ms: int | None
    usd_indexes: dict[str, float | None]
    unavailable: dict[str, str]


class ProcessHealth(OptionalMembers):
    """One process of the node."""

    kind: str
    alive: bool
    failing: bool
    pid: int
    restarts: int
    heartbeat_age_ms: int | None
    name: str = ""


class NodeHealth(msgspec.Struct):
    """Every feed, process and age of the node: `ok`, `degraded`, or `down` with the status 503."""

    status: str
    reasons: list[Reason]
    node: str
    environment: str
    simulated: bool
    feeds: dict[str, FeedHealth]
    consensus: ConsensusHealth
    ledger: dict[str, bool | int | float | str | None] | None
    cache: dict[str, str | int | None]
    processes: dict[str, ProcessHealth]
