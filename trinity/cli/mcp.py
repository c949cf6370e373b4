"""`trinity mcp`: the node as a Model Context Protocol server on standard input and output, for language models' tools.

    get_price, get_prices     the lookups (HTTP 8080)
    get_history               candles (HTTP 9090)
    explain_price             each step of the consensus (HTTP 9090)

Rules: it asks a running node over HTTP and knows nothing itself: the configured ports of this machine, or another
node's lookups at TRINITY_URL and its reports at TRINITY_REPORTS_URL, which may be left out where one address serves
both (behind a load balancer). TRINITY_API_KEY is sent as X-API-Key and shown nowhere. What the node refuses is a tool
error with the node's code and sentence; a price that is not fresh is refused, so a model never takes an old number for
new.
"""

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import aiohttp
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from trinity.config import Config
from trinity.net.ports import host_in_url, local_host

# A lookup takes microseconds, a long history seconds.
ANSWER_SECONDS = 30.0

INSTRUCTIONS = (
    "Prices of crypto assets in US dollars, as the consensus of several exchanges, with their confidence, sources and "
    "age. A price that is too old or disputed is an error with a code; its `last_price` is not a current price."
)


class Node(NamedTuple):
    """Where the node answers."""

    lookups_url: str
    reports_url: str
    key: str | None

    def __repr__(self) -> str:
        return f"Node({self.lookups_url!r}, {self.reports_url!r})"


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """None: a client starts it without any."""


def run(config: Config, _parsed: argparse.Namespace) -> int:
    """Serve until standard input ends."""
    make_server(node_of(config, os.environ)).run("stdio")
    return 0


def node_of(config: Config, environment: Mapping[str, str]) -> Node:
    """The node that is meant."""
    key = environment.get("TRINITY_API_KEY") or None
    url = environment.get("TRINITY_URL")
    host = host_in_url(local_host(config.node.bind_host))
    lookups_url = url or f"http://{host}:{config.ports.tcp_port_lpo}"
    reports_url = environment.get("TRINITY_REPORTS_URL") or url or f"http://{host}:{config.ports.tcp_port_lrs}"
    return Node(lookups_url.rstrip("/"), reports_url.rstrip("/"), key)


def make_server(node: Node) -> MCPServer[Any]:
    """The server with its four tools."""
    server: MCPServer[Any] = MCPServer("trinity", instructions=INSTRUCTIONS, log_level="WARNING")

    @server.tool()
    async def get_price(
        asset: str,
        exchange: str | None = None,
        max_age_ms: int | None = None,
        min_sources: int | None = None,
        max_conf_bps: float | None = None,
    ) -> dict[str, Any]:
        """The price of one asset (`BTC`) now, in USD; with `exchange` (`kraken`) that exchange's own price.

        The limits say how good it must be: the price's age, exchanges it stands on, confidence / price.
        """
        limits = {"max_age_ms": max_age_ms, "min_sources": min_sources, "max_conf_bps": max_conf_bps}
        return await _get(node.lookups_url, "/price", node.key, {"asset": asset, "exchange": exchange, **limits})

    @server.tool()
    async def get_prices(assets: list[str] | None = None) -> dict[str, Any]:
        """The prices of several assets, of all when none is named; each is good or has an error of its own."""
        names = ",".join(assets) if assets is not None else None
        return await _get(node.lookups_url, "/prices", node.key, {"assets": names})

    @server.tool()
    async def get_history(
        asset: str, granularity: Literal["1m", "5m", "1h", "1d"], start: str, end: str | None = None
    ) -> dict[str, Any]:
        """Candles of an asset from `start` to `end` (now, when left out): ISO 8601 or seconds since 1970."""
        query = {"asset": asset, "granularity": granularity, "from": start, "to": end}
        return await _get(node.reports_url, "/history", node.key, query)

    @server.tool()
    async def explain_price(asset: str) -> dict[str, Any]:
        """How the price of an asset came about: every exchange's quote, age, conversion, verdict, and the result."""
        return await _get(node.reports_url, "/explain", node.key, {"asset": asset})

    return server


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
    names = ("parameter", "field", "asset", "last_price", "last_timestamp", "age_ms", "request_id")
    details = {name: found for name in names if (found := body.get(name, error.get(name))) is not None}
    return f"{code}: {text}" + (f" {json.dumps(details)}" if details else "")
