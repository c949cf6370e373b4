"""What each operation answers with 200: the table that the document and its test are made of.

Rules: a path of the router whose handler returns a Struct describes itself; every other one has a row here. `ask` are
example values that a node with the usual markets answers with 200; what it answered once stands in examples.json.
"""

from workers.api.openapi import foreign, lookups, reports
from workers.api.openapi.words import Answer, Operation, Parameter

_CSV = "text/csv"
_EVENTS = "text/event-stream"
_SPAN = {"from": "2026-03-29", "to": "2026-03-30"}
_BITCOIN = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"

ANSWERS: dict[str, Answer] = {
    "/reports/summary": Answer(reports.SummaryReport, _SPAN, needs="key"),
    "/reports/usage": Answer(reports.UsageReport, _SPAN | {"granularity": "day"}, needs="key"),
    "/reports/top": Answer(reports.TopReport, _SPAN | {"by": "asset"}, needs="key"),
    "/reports/latency": Answer(reports.LatencyReport, _SPAN, needs="key"),
    "/reports/log": Answer(reports.LogPage, _SPAN | {"limit": 2}, needs="key"),
    "/reports/errors": Answer(reports.ErrorReport, _SPAN, needs="key"),
    "/history": Answer(reports.CandlesAnswer, {"asset": "BTC", "granularity": "1m"}),
    "/twap": Answer(reports.AverageAnswer, {"asset": "BTC", "min_coverage": 0}),
    "/price_at": Answer(reports.PastPrice, {"asset": "BTC", "timestamp": "2026-03-29T12:00:00Z"}),
    "/explain": Answer(reports.Explanation, {"asset": "BTC"}),
    "/node": Answer(reports.NodeState),
    "/node/asset": Answer(reports.AssetAnswer, {"asset": "BTC"}),
    "/node/inside": Answer(reports.NodeInside, needs="admin"),
    "/node/day": Answer(reports.NodeDay),
    "/cluster": Answer(reports.ClusterState, needs="admin"),
    "/stream/prices": Answer(str, {"assets": "BTC,ETH", "interval_ms": 1000}, _EVENTS),
    "/v2/price_feeds": Answer(list[foreign.HermesFeed], {"query": "btc"}),
    "/v2/updates/price/latest": Answer(foreign.HermesUpdate, {"ids[]": _BITCOIN}),
    "/v2/updates/price/stream": Answer(str, {"ids[]": _BITCOIN}, _EVENTS),
    "/api/v3/ping": Answer(foreign.GeckoPing),
    "/api/v3/simple/supported_vs_currencies": Answer(list[str]),
    "/api/v3/coins/list": Answer(list[foreign.GeckoCoin]),
    "/api/v3/simple/price": Answer(foreign.GeckoPrices, {"ids": "bitcoin", "vs_currencies": "usd"}),
    "/api/v3/coins/{coin_id}/market_chart": Answer(
        foreign.GeckoChart, {"coin_id": "bitcoin", "vs_currency": "usd", "days": "1"}
    ),
    "/api/v3/coins/{coin_id}/market_chart/range": Answer(
        foreign.GeckoChart, {"coin_id": "bitcoin", "vs_currency": "usd", "from": 1774742400, "to": 1774828800}
    ),
    "/api/v3/coins/markets": Answer(list[foreign.GeckoNamed], {"vs_currency": "usd"}),
    "/api/v3/coins/{coin_id}": Answer(foreign.GeckoNamed, {"coin_id": "bitcoin"}),
    "/api/v3/coins/{coin_id}/history": Answer(foreign.GeckoNamed, {"coin_id": "bitcoin", "date": "29-03-2026"}),
    "/api/v3/coins/{coin_id}/ohlc": Answer(
        list[list[float]], {"coin_id": "bitcoin", "vs_currency": "usd", "days": "1"}
    ),
    "/api/v3/coins/{coin_id}/ohlc/range": Answer(
        list[list[float]], {"coin_id": "bitcoin", "vs_currency": "usd", "from": 1774742400, "to": 1774828800}
    ),
    "/api/v3/search": Answer(foreign.GeckoSearch, {"query": "btc"}),
    "/api/v3/search/trending": Answer(foreign.GeckoSearch),
    "/api/v3/global": Answer(foreign.GeckoWorld),
    "/api/v3/exchanges/list": Answer(list[foreign.GeckoExchange]),
    "/api/v3/key": Answer(foreign.GeckoKey, needs="key"),
    "/api/v3/coins/{coin_id}/tickers": Answer(foreign.GeckoTickers, {"coin_id": "bitcoin"}),
    "/api/v3/exchange_rates": Answer(foreign.GeckoRates),
    "/api/v3/simple/token_price/{platform}": Answer(foreign.GeckoPrices, {"platform": "ethereum"}),
    "/v2/updates/price/{publish_time}": Answer(foreign.HermesUpdate, {"publish_time": 1774742400, "ids[]": _BITCOIN}),
    "/v2/updates/twap/{window_seconds}/latest": Answer(
        foreign.HermesAverages, {"window_seconds": 300, "ids[]": _BITCOIN}
    ),
    "/udf/quotes": Answer(foreign.UdfQuotes, {"symbols": "BTC"}),
    "/udf/symbol_info": Answer(foreign.UdfSymbols),
    "/reports/accounts": Answer(reports.RowReport, needs="admin"),
    "/reports/billing": Answer(reports.RowReport, {"month": "2026-03"}, needs="admin"),
    "/reports/plans": Answer(reports.RowReport, needs="admin"),
    "/udf/config": Answer(foreign.UdfConfig),
    "/udf/time": Answer(str, media="text/plain"),
    "/udf/symbols": Answer(foreign.UdfSymbol, {"symbol": "BTC"}),
    "/udf/search": Answer(list[foreign.UdfFound], {"query": "btc"}),
    "/udf/history": Answer(foreign.UdfBars, {"symbol": "BTC", "resolution": "1", "from": 1774742400, "to": 1774828800}),
}
# Beside JSON, for the same question.
EXPORTS = (
    _CSV,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.apache.parquet",
)
WITH_EXPORTS = "/reports/"

_QUALITY = (
    Parameter("exchange", {"type": "string"}, "One exchange's own price instead of the consensus: kraken."),
    Parameter("max_age_ms", {"type": "integer", "minimum": 1}, "Refuse a price that is older."),
    Parameter("min_sources", {"type": "integer", "minimum": 1}, "Refuse a price of fewer exchanges."),
    Parameter(
        "max_conf_bps",
        {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.001},
        "Refuse a price whose confidence / price is more, in basis points; at most three decimals.",
    ),
)
_ASSET = Parameter("asset", {"type": "string", "minLength": 1}, "A name or an alias, in any case: BTC.", required=True)
_ASSETS = Parameter("assets", {"type": "string", "minLength": 1}, "Names with commas between them; all if left out.")
_BOTH_PORTS = ("reports", "request")
_HEALTH_PORTS = ("health", "reports_health")

# What is not the router's: lookups, which both ports answer, and the health of the node.
OPERATIONS = (
    Operation(
        "/v1/price",
        "prices",
        "One price: 200, or 404 or 503 with the last good price where there was one; 503 `asset_resolving` and 429 "
        "`miss_budget_exceeded` of an asset beyond the catalog say when to come again.",
        Answer(lookups.GoodPrice, {"asset": "BTC"}),
        _BOTH_PORTS,
        (_ASSET, *_QUALITY),
        lookups.RefusedLookup,
    ),
    Operation(
        "/v1/prices",
        "prices",
        "Several prices, each with its own status: one that is refused, or that there is not, spoils no other.",
        Answer(lookups.PriceList, {"assets": "BTC,NOPE"}),
        _BOTH_PORTS,
        (_ASSETS, *_QUALITY),
        lookups.LookupRefusal,
    ),
    Operation(
        "/v1/assets",
        "prices",
        "What can be asked for, and which exchanges list it.",
        Answer(lookups.AssetList),
        _BOTH_PORTS,
        refusal=lookups.LookupRefusal,
    ),
    Operation(
        "/v1/health",
        "health",
        "The answering request worker's own view, in short. On this port /health is the same.",
        Answer(lookups.WorkerHealth),
        ("request",),
        refusal=lookups.LookupRefusal,
        is_public=True,
    ),
    Operation(
        "/live",
        "health",
        "200 while the health process runs.",
        Answer(lookups.Liveness),
        _HEALTH_PORTS,
        refusal=lookups.LookupRefusal,
        is_public=True,
    ),
    Operation(
        "/ready",
        "health",
        "Whether this port's service may be sent calls: 200, else 503 and why not.",
        Answer(lookups.Readiness),
        _HEALTH_PORTS,
        refusal=lookups.Readiness,
        is_public=True,
    ),
    Operation(
        "/health",
        "health",
        "Every feed, process and age of the node; 503 when it is down.",
        Answer(lookups.NodeHealth),
        _HEALTH_PORTS,
        refusal=lookups.NodeHealth,
        is_public=True,
    ),
    Operation(
        "/metrics",
        "health",
        "Prometheus text.",
        Answer(str, media="text/plain"),
        _HEALTH_PORTS,
        refusal=lookups.LookupRefusal,
        is_public=True,
    ),
)
