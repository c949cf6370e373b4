"""The MCP server over stdio, with the protocol's own client, against an HTTP server that answers as a node does."""

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.mcpserver.exceptions import ToolError

from trinity.cli.mcp import make_server, node_of, refusal_of
from trinity.config import Config

KEY = "trk_mcp-tests-only"
PRICE = {"asset": "BTC", "price": 71002.5, "status": "fresh"}
STALE = {
    "error": {"code": "stale_price", "message": "no fresh price"},
    "status": "stale_price", "asset": "ETH", "last_price": 3550.5, "age_ms": 4000,
}  # fmt: skip
PROBLEM = {"status": 400, "code": "bad_parameter", "detail": "1w is not a granularity", "field": "granularity"}


@pytest.fixture
async def node_url() -> AsyncIterator[str]:
    """Answers of a node, for whoever has the key."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("X-API-Key") != KEY:
            return web.json_response({"error": {"code": "missing_key", "message": "send a key"}}, status=401)
        query = dict(request.query)
        if request.path == "/price":
            return web.json_response(PRICE) if query["asset"] == "BTC" else web.json_response(STALE, status=503)
        if request.path == "/prices":
            return web.json_response({"prices": [PRICE, STALE], "asked": query})
        if request.path == "/history":
            return web.json_response({"candles": [], "asked": query})
        return web.json_response(PROBLEM, status=400)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def test_the_protocol_s_own_client_uses_all_tools(node_url: str) -> None:
    """Prices, history and explanations come through; a refusal is a tool error with the node's code and sentence."""
    environment = {**os.environ, "TRINITY_URL": node_url, "TRINITY_API_KEY": KEY}
    server = StdioServerParameters(command=sys.executable, args=["-m", "trinity", "mcp"], env=environment)
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        tools = {tool.name for tool in (await session.list_tools()).tools}
        assert tools == {"get_price", "get_prices", "get_history", "explain_price"}
        good = await session.call_tool("get_price", {"asset": "BTC", "min_sources": 3})
        assert not good.is_error
        assert json.loads(text_of(good)) == PRICE
        stale = await session.call_tool("get_price", {"asset": "ETH"})
        assert stale.is_error
        assert "stale_price: no fresh price" in text_of(stale)
        assert '"last_price": 3550.5' in text_of(stale)
        several = await session.call_tool("get_prices", {"assets": ["BTC", "ETH"]})
        assert json.loads(text_of(several))["asked"] == {"assets": "BTC,ETH"}
        history = await session.call_tool("get_history", {"asset": "BTC", "granularity": "1h", "start": "1767225600"})
        assert json.loads(text_of(history))["asked"] == {"asset": "BTC", "granularity": "1h", "from": "1767225600"}
        refused = await session.call_tool("explain_price", {"asset": "BTC"})
        assert refused.is_error
        assert "bad_parameter: 1w is not a granularity" in text_of(refused)
        wrong = await session.call_tool("get_history", {"asset": "BTC", "granularity": "1w", "start": "0"})
        assert wrong.is_error


async def test_a_node_that_is_not_there_is_an_error_that_says_so() -> None:
    """Without the key in it."""
    node = node_of(Config(), {"TRINITY_URL": "http://127.0.0.1:1/", "TRINITY_API_KEY": KEY})
    with pytest.raises(ToolError, match=r"node_unreachable: http://127.0.0.1:1 does not answer") as refused:
        await make_server(node).call_tool("get_price", {"asset": "BTC"})
    assert KEY not in str(refused.value) + repr(node)


def test_without_an_address_the_configured_ports_are_asked() -> None:
    """Lookups and reports each on their own."""
    node = node_of(Config(), {})
    assert node == ("http://127.0.0.1:8080", "http://127.0.0.1:9090", None)


def test_a_remote_node_has_one_address_or_two() -> None:
    """Its lookups and its reports; where only one is named, it serves both, or this machine does the other."""
    lookups, reports = {"TRINITY_URL": "http://far:8080/"}, {"TRINITY_REPORTS_URL": "http://far:9090/"}
    assert node_of(Config(), lookups) == ("http://far:8080", "http://far:8080", None)
    assert node_of(Config(), lookups | reports) == ("http://far:8080", "http://far:9090", None)
    assert node_of(Config(), reports) == ("http://127.0.0.1:8080", "http://far:9090", None)


def test_a_refusal_is_read_in_both_forms() -> None:
    """A lookup's error object, a report's problem, and what nobody foresaw."""
    assert refusal_of(503, STALE).startswith("stale_price: no fresh price")
    assert refusal_of(400, PROBLEM).startswith("bad_parameter: 1w is not a granularity")
    assert refusal_of(502, {}) == "http_502: "
