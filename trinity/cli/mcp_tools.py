"""The tools of `trinity mcp`: typed arguments and answers, and a description that a language model can go by.

    list_assets, get_price, get_prices   what a node serves, and its prices now
    get_history                          candles
    explain_price                        each step of the consensus

Rules: every argument has a default, and one that a tool does not have is refused by name: a misspelt limit must not
give a price without the limit. What the node refuses is a tool error with the node's code, sentence and field; a price
that is not fresh is refused, so a model never takes an old number for new. What an answer has beside the fields that
are described here is passed on.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

import aiohttp
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from trinity.cli.mcp import Node
from trinity.version import version
from trinity.vocabulary import EXCHANGES

# A lookup takes microseconds, a long history seconds.
ANSWER_SECONDS = 30.0
# Of an argument's name that is said again.
_NAME_CHARS_MAX = 64

INSTRUCTIONS = (
    "Prices of crypto assets in US dollars, as the consensus of several exchanges, with their confidence, sources and "
    "age. Start with get_price, or with list_assets to see which assets there are. An error begins with a stable code; "
    "a price that is too old or disputed is an error, and its `last_price` is not a current price. Times are UTC."
)

Asset = Annotated[str, Field(description="Ticker, such as BTC or ETH, in any case; list_assets has all. Default: BTC.")]
Exchange = Annotated[
    str | None, Field(description=f"Only this exchange's own price: {', '.join(EXCHANGES)}. Default: the consensus.")
]
MaxAge = Annotated[int | None, Field(description="Refuse a price that is older than this many milliseconds (from 1).")]
MinSources = Annotated[int | None, Field(description="Refuse a price that fewer exchanges than this stand behind.")]
MaxConfidence = Annotated[
    float | None, Field(description="Refuse a price whose confidence / price is more than this, in basis points.")
]
Assets = Annotated[list[str] | None, Field(description='Tickers, such as ["BTC", "ETH"]. Default: all.')]
Moment = str | int | None
Start = Annotated[
    Moment,
    Field(description="ISO 8601 or seconds since 1970. Default: a day before the end (5m: 2, 1h: 14, 1d: 93 days)."),
]
End = Annotated[Moment, Field(description="ISO 8601 or seconds since 1970. Default: now.")]
Granularity = Annotated[Literal["1m", "5m", "1h", "1d"], Field(description="Length of a candle.")]

_open = with_config(ConfigDict(extra="allow"))


@_open
class AssetsAnswer(TypedDict):
    """What the node serves."""

    assets: list[str]
    exchanges: list[str]
    markets: Annotated[dict[str, list[str]], Field(description="The exchanges of each asset.")]
    aliases: Annotated[dict[str, str], Field(description="Other names that assets have.")]


@_open
class PriceAnswer(TypedDict, total=False):
    """A price, or in a list why there is none (`error`)."""

    asset: str
    status: Annotated[str, Field(description="fresh, or the code of the refusal")]
    price: float
    currency: str
    confidence: Annotated[float, Field(description="Half the width of the band that the price is in.")]
    sources: Annotated[int, Field(description="Exchanges that the price stands on.")]
    timestamp: Annotated[int, Field(description="Milliseconds since 1970, of the older source in the middle.")]
    exchanges: list[str]
    error: dict[str, str]


@_open
class PricesAnswer(TypedDict):
    """In the order asked for."""

    prices: list[PriceAnswer]


@_open
class CandleAnswer(TypedDict, total=False):
    """One candle, in USD."""

    start: str
    end: str
    open: float
    high: float
    low: float
    close: float
    average: Annotated[float | None, Field(description="Weighted by time.")]
    coverage: Annotated[float, Field(description="Share of the candle in which a price stood, 0 to 1.")]


@_open
class ToolCandles(TypedDict):
    """Candles, oldest first; `gaps` are the ranges without any price."""

    asset: str
    currency: str
    granularity: str
    candles: list[CandleAnswer]
    gaps: list[dict[str, str]]


@_open
class ExplanationAnswer(TypedDict, total=False):
    """The consensus of one asset, step by step."""

    asset: str
    at: str
    state: Annotated[str, Field(description="good, or why there is no price")]
    price: float | None
    confidence: float | None
    required: Annotated[int, Field(description="Exchanges that are needed.")]
    used: list[str]
    left_out: Annotated[dict[str, str], Field(description="The reason of each exchange that does not count.")]
    sources: Annotated[list[dict[str, Any]], Field(description="Each exchange's quote, age, conversion and verdict.")]


class StrictTool(Tool):
    """A tool that refuses arguments which it does not have, and whose errors are the node's sentences alone."""

    def model_post_init(self, _context: Any) -> None:
        """Forbid them in the schema, and in what checks the arguments."""
        given = self.fn_metadata.arg_model
        arguments: Any = type(
            given.__name__, (given,), {"model_config": ConfigDict(extra="forbid"), "__module__": __name__}
        )
        self.fn_metadata.arg_model = arguments
        self.parameters = arguments.model_json_schema(by_alias=True)

    async def run(self, arguments: dict[str, Any], context: Any, convert_result: bool = False) -> Any:
        """The library puts its own words around an error, and pydantic's instead of ours."""
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(self._wrong(error.__cause__)) from error.__cause__
            raise (error.__cause__ if isinstance(error.__cause__, ToolError) else error) from None

    def _wrong(self, error: ValidationError) -> str:
        found = error.errors(include_url=False, include_input=False)
        # An argument that is none first: the others are often wrong because of it.
        first = min(found, key=lambda problem: problem["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])[:_NAME_CHARS_MAX]
        details = json.dumps({"field": field})
        if first["type"] == "extra_forbidden":
            names = ", ".join(self.parameters["properties"]) or "none"
            return f"unknown_parameter: {field!r} is not an argument of {self.name}; there are: {names} {details}"
        return f"bad_parameter: {field}: {first['msg']} {details}"


def make_server(node: Node) -> MCPServer[Any]:
    """The server with its tools."""

    async def list_assets() -> AssetsAnswer:
        """Which assets and exchanges this node serves."""
        return cast(AssetsAnswer, await _get(node.lookups_url, "/assets", node.key, {}))

    async def get_price(
        asset: Asset = "BTC",
        exchange: Exchange = None,
        max_age_ms: MaxAge = None,
        min_sources: MinSources = None,
        max_conf_bps: MaxConfidence = None,
    ) -> PriceAnswer:
        """The price of one asset now, in USD: the consensus, or with `exchange` that exchange's own price.

        The other arguments say how good it must be; a price that is not is refused with a code.
        """
        limits = {"max_age_ms": max_age_ms, "min_sources": min_sources, "max_conf_bps": max_conf_bps}
        query = {"asset": asset, "exchange": exchange, **limits}
        return cast(PriceAnswer, await _get(node.lookups_url, "/price", node.key, query))

    async def get_prices(
        assets: Assets = None,
        max_age_ms: MaxAge = None,
        min_sources: MinSources = None,
        max_conf_bps: MaxConfidence = None,
    ) -> PricesAnswer:
        """The prices of several assets now, in USD; each is good or has an error of its own, which spoils no other."""
        limits = {"max_age_ms": max_age_ms, "min_sources": min_sources, "max_conf_bps": max_conf_bps}
        query = {"assets": ",".join(assets) if assets is not None else None, **limits}
        return cast(PricesAnswer, await _get(node.lookups_url, "/prices", node.key, query))

    async def get_history(
        asset: Asset = "BTC", granularity: Granularity = "1h", start: Start = None, end: End = None
    ) -> ToolCandles:
        """Candles of the consensus price of an asset in USD, from `start` to `end`, at most 7,200."""
        query = {"asset": asset, "granularity": granularity, "from": start, "to": end}
        return cast(ToolCandles, await _get(node.reports_url, "/history", node.key, query))

    async def explain_price(asset: Asset = "BTC") -> ExplanationAnswer:
        """How the price of an asset comes about now: every exchange's quote, age, conversion, verdict, the result."""
        return cast(ExplanationAnswer, await _get(node.reports_url, "/explain", node.key, {"asset": asset}))

    tools = (list_assets, get_price, get_prices, get_history, explain_price)
    return MCPServer(
        "trinity",
        title="Trinity price oracle",
        instructions=INSTRUCTIONS,
        version=version(),
        log_level="WARNING",
        tools=[_tool(tool) for tool in tools],
    )


def _tool(function: Callable[..., Any]) -> StrictTool:
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    tool = StrictTool.from_function(
        function, description=inspect.getdoc(function), annotations=reads, structured_output=True
    )
    return cast(StrictTool, tool)


async def _get(base_url: str, path: str, key: str | None, query: Mapping[str, object]) -> dict[str, Any]:
    """The node's JSON object; ToolError with its code and sentence when it refuses."""
    said = {name: str(value) for name, value in query.items() if value is not None}
    headers = {"X-API-Key": key} if key is not None else {}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(base_url + path, params=said, headers=headers, allow_redirects=False) as response,
        ):
            status, body = response.status, json.loads(await response.read())
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        reason = type(error).__name__
        raise ToolError(f"node_unreachable: {base_url} does not answer ({reason}): is the node running?") from None
    except ValueError:
        raise ToolError(f"bad_answer: {base_url}{path} did not answer in JSON: is this a Trinity node?") from None
    if not isinstance(body, dict):
        raise ToolError(f"bad_answer: {base_url}{path} did not answer with an object: is this a Trinity node?")
    if status != 200:
        raise ToolError(refusal_of(status, body))
    return body


def refusal_of(status: int, body: Mapping[str, Any]) -> str:
    """`code: sentence (details)` out of a lookup's error or a report's problem."""
    error = body.get("error")
    error = error if isinstance(error, Mapping) else body
    code, text = error.get("code", f"http_{status}"), error.get("message") or error.get("detail") or ""
    names = ("field", "asset", "last_price", "last_timestamp", "age_ms", "request_id")
    details = {name: found for name in names if (found := body.get(name, error.get(name))) is not None}
    return f"{code}: {text}" + (f" {json.dumps(details)}" if details else "")
