"""Shapes of what is answered in the words of CoinGecko, Hermes and UDF (docs/drop-ins.md). Types alone.

Rules: these are others' formats, which have members of their own; here stand those that this node fills.
"""

from typing import Any

import msgspec

from workers.api.openapi.words import OptionalMembers


class ForeignRefusal(OptionalMembers):
    """A refusal in the words of the service whose shape was asked for, with this node's `code` where there is room."""

    error: str | dict[str, Any] | None = None
    status: dict[str, Any] | None = None
    code: str | None = None
    field: str | None = None
    s: str | None = None
    errmsg: str | None = None


class GeckoPing(msgspec.Struct):
    """CoinGecko's greeting."""

    gecko_says: str


class GeckoCoin(OptionalMembers):
    """One coin by the ids of CoinGecko."""

    id: str
    symbol: str
    name: str
    platforms: dict[str, str] | None = None


# Coin -> currency, and what was asked for beside it, -> number.
GeckoPrices = dict[str, dict[str, float | None]]


class GeckoChart(msgspec.Struct):
    """Pairs of milliseconds since 1970 and a number."""

    prices: list[tuple[int, float | None]]
    market_caps: list[tuple[int, float | None]]
    total_volumes: list[tuple[int, float | None]]


class HermesAttributes(msgspec.Struct):
    """What a feed is of."""

    asset_type: str
    base: str
    description: str
    display_symbol: str
    generic_symbol: str
    quote_currency: str
    schedule: str
    symbol: str


class HermesFeed(msgspec.Struct):
    """One feed of this node."""

    id: str
    attributes: HermesAttributes


class HermesPrice(msgspec.Struct):
    """`price` * 10**`expo`, with its confidence."""

    price: str
    conf: str
    expo: int
    publish_time: int


class HermesParsed(OptionalMembers):
    """One feed's price and its exponential average."""

    id: str
    price: HermesPrice
    ema_price: HermesPrice
    metadata: dict[str, Any] | None = None


class HermesBinary(msgspec.Struct):
    """Signed updates, of which this node has none."""

    encoding: str
    data: list[str]


class HermesUpdate(OptionalMembers):
    """Prices of several feeds."""

    binary: HermesBinary
    parsed: list[HermesParsed] | None = None


class UdfConfig(msgspec.Struct):
    """What this UDF feed can."""

    supports_search: bool
    supports_group_request: bool
    supports_marks: bool
    supports_timescale_marks: bool
    supports_time: bool
    supported_resolutions: list[str]
    exchanges: list[dict[str, str]]
    symbols_types: list[dict[str, str]]


class UdfSymbol(OptionalMembers):
    """One symbol."""

    name: str
    ticker: str
    description: str
    type: str
    session: str
    timezone: str
    exchange: str
    minmov: int
    pricescale: int
    has_intraday: bool
    supported_resolutions: list[str]


class UdfFound(msgspec.Struct):
    """One symbol that a search found."""

    symbol: str
    full_name: str
    description: str
    exchange: str
    ticker: str
    type: str


class UdfBars(OptionalMembers):
    """Bars as columns; `s` is `ok` or `no_data`."""

    s: str
    t: tuple[int, ...] = ()
    o: tuple[float, ...] = ()
    h: tuple[float, ...] = ()
    l: tuple[float, ...] = ()  # noqa: E741 - UDF's own name
    c: tuple[float, ...] = ()
    v: tuple[float, ...] = ()
    nextTime: int | None = None  # noqa: N815 - UDF's own name


class GeckoNamed(OptionalMembers):
    """A coin with what CoinGecko's call has beside its names; members that this node cannot fill are null."""

    id: str
    symbol: str
    name: str
    current_price: float | None = None
    market_data: dict[str, Any] | None = None


class GeckoTickers(OptionalMembers):
    """What each exchange says of a coin."""

    name: str
    tickers: list[dict[str, Any]]


class GeckoRate(OptionalMembers):
    """One bitcoin in another unit."""

    name: str
    unit: str
    value: float | None
    type: str


class GeckoRates(msgspec.Struct):
    """One bitcoin in each unit."""

    rates: dict[str, GeckoRate]


class GeckoFound(msgspec.Struct):
    """A coin that a search found."""

    id: str
    name: str
    api_symbol: str
    symbol: str
    market_cap_rank: int | None
    thumb: str
    large: str


class GeckoSearch(OptionalMembers):
    """What a search found: coins; of the rest this node knows nothing."""

    coins: list[GeckoFound]
    exchanges: tuple[dict[str, Any], ...] = ()
    icos: tuple[str, ...] = ()
    categories: tuple[dict[str, Any], ...] = ()
    nfts: tuple[dict[str, Any], ...] = ()


class GeckoWorldFigures(OptionalMembers):
    """Of the whole market; what this node cannot know is null or empty."""

    active_cryptocurrencies: int
    markets: int
    updated_at: int


class GeckoWorld(msgspec.Struct):
    """The whole market."""

    data: GeckoWorldFigures


class GeckoExchange(msgspec.Struct):
    """An exchange by CoinGecko's id of it."""

    id: str
    name: str


class GeckoKey(msgspec.Struct):
    """The plan, limits and use of the key that asks; null is what has no limit."""

    plan: str
    rate_limit_request_per_minute: int | None
    monthly_call_credit: int | None
    current_total_monthly_calls: int | None
    current_remaining_monthly_calls: int | None
    api_key_rate_limit_request_per_minute: int | None
    api_key_monthly_call_credit: int | None
    api_key_current_total_monthly_calls: int | None


class HermesAverages(OptionalMembers):
    """Averages by time of several feeds."""

    binary: HermesBinary
    parsed: list[dict[str, Any]] | None = None


class UdfQuotes(OptionalMembers):
    """The newest prices of symbols; `s` is `ok` or `error`."""

    s: str
    d: tuple[dict[str, Any], ...] = ()


class UdfSymbols(OptionalMembers):
    """All symbols as columns."""

    symbol: list[str]
