"""The MCP server with the protocol's own client, against an HTTP server that answers as a node does."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, Literal

import jsonschema
import pytest
from aiohttp import web
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver.exceptions import ToolError

from trinity.cli.mcp import Node, node_of
from trinity.cli.mcp_tools import make_server, refusal_of
from trinity.config import Config
from trinity.version import version
from trinity.vocabulary import EXCHANGES

KEY = "trk_mcp-tests-only"
PRICE = {"asset": "BTC", "price": 71002.5, "status": "fresh", "of_a_newer_node": [1]}
STALE = {
    "error": {"code": "stale_price", "message": "no fresh price"},
    "status": "stale_price", "asset": "ETH", "last_price": 3550.5, "age_ms": 4000,
}  # fmt: skip
PROBLEM = {"status": 400, "code": "bad_parameter", "detail": "1w is not a granularity", "field": "granularity"}
ASSETS = {"assets": ["BTC"], "exchanges": ["kraken"], "markets": {"BTC": ["kraken"]}, "aliases": {}}
HISTORY = {"asset": "BTC", "currency": "USD", "granularity": "1h", "candles": [], "gaps": []}
TOOLS = {"list_assets", "get_price", "get_prices", "get_history", "explain_price"}
# The first and the last revision of 2025; both are begun by a handshake.
HANDSHAKES = ("2025-03-26", "2025-11-25")

Mode = Literal["auto", "legacy"]


@pytest.fixture
async def node_url() -> AsyncIterator[str]:
    """Answers of a node, for whoever has the key; each says what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("X-API-Key") != KEY:
            return web.json_response({"error": {"code": "missing_key", "message": "send a key"}}, status=401)
        asked = {"asked": dict(request.query)}
        if request.path == "/price":
            if request.query["asset"] == "BTC":
                return web.json_response(PRICE | asked)
            return web.json_response(STALE, status=503)
        if request.path == "/prices":
            return web.json_response({"prices": [PRICE, STALE]} | asked)
        if request.path in ("/assets", "/history"):
            return web.json_response((ASSETS if request.path == "/assets" else HISTORY) | asked)
        return web.json_response(PROBLEM, status=400)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def server_over_stdio(node_url: str, key: str = KEY) -> StdioServerParameters:
    environment = {**os.environ, "TRINITY_URL": node_url, "TRINITY_API_KEY": key}
    return StdioServerParameters(command=sys.executable, args=["-m", "trinity", "mcp"], env=environment)


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def check_all_tools(client: Client) -> None:
    """Each tool by its defaults and with arguments; the structured answer is the node's, and fits its schema."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == TOOLS
    for name, arguments, asked in (
        ("list_assets", {}, {}),
        ("get_price", {}, {"asset": "BTC"}),
        ("get_price", {"max_age_ms": 5, "min_sources": 3, "exchange": "kraken"},
         {"asset": "BTC", "exchange": "kraken", "max_age_ms": "5", "min_sources": "3"}),
        ("get_prices", {}, {}),
        ("get_prices", {"assets": ["BTC", "ETH"], "max_conf_bps": 2.5}, {"assets": "BTC,ETH", "max_conf_bps": "2.5"}),
        ("get_history", {}, {"asset": "BTC", "granularity": "1h"}),
        ("get_history", {"start": 1767225600, "end": "2026-01-02", "granularity": "1m"},
         {"asset": "BTC", "granularity": "1m", "from": "1767225600", "to": "2026-01-02"}),
    ):  # fmt: skip
        result = await client.call_tool(name, arguments)
        assert not result.is_error, text_of(result)
        content: Any = result.structured_content
        assert content == json.loads(text_of(result))
        assert content["asked"] == asked
        jsonschema.validate(content, tools[name].output_schema or {})
    price: Any = (await client.call_tool("get_price", {})).structured_content
    assert (price["price"], price["of_a_newer_node"]) == (71002.5, [1])
    prices: Any = (await client.call_tool("get_prices", {})).structured_content
    assert [entry["status"] for entry in prices["prices"]] == ["fresh", "stale_price"]
    stale = await client.call_tool("get_price", {"asset": "ETH"})
    assert stale.is_error
    assert text_of(stale).startswith("stale_price: no fresh price {")
    assert '"last_price": 3550.5' in text_of(stale)
    refused = await client.call_tool("explain_price", {})
    assert refused.is_error
    assert text_of(refused) == 'bad_parameter: 1w is not a granularity {"field": "granularity"}'


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_protocol_s_own_client_uses_all_tools_over_stdio(node_url: str, mode: Mode) -> None:
    """Without and with the handshake of 2025; the server says its name and the version of the package."""
    async with Client(server_over_stdio(node_url), mode=mode) as client:
        await check_all_tools(client)
        assert client.server_info is not None
        assert client.server_info.name == "trinity"
        assert client.server_info.version == version()
        assert client.protocol_version in HANDSHAKES if mode == "legacy" else client.protocol_version > "2026"


async def test_the_protocol_s_own_client_uses_all_tools_over_http(node_url: str) -> None:
    """`trinity mcp --http PORT` serves this machine under /mcp."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
    environment = {**os.environ, "TRINITY_URL": node_url, "TRINITY_API_KEY": KEY}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trinity", "mcp", "--http", str(port), env=environment
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                break
        for mode in ("auto", "legacy"):
            async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
                await check_all_tools(client)
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("revision", HANDSHAKES)
async def test_each_earlier_revision_of_the_protocol_is_spoken(node_url: str, revision: str) -> None:
    """As raw lines: initialize, initialized, tools/list, tools/call; an unknown argument is refused there, too."""
    parameters = server_over_stdio(node_url)
    process = await asyncio.create_subprocess_exec(
        parameters.command, *parameters.args, env=parameters.env,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    asking, hearing = process.stdin, process.stdout

    async def ask(number: int, method: str, params: dict[str, Any]) -> Any:
        asking.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")
        async with asyncio.timeout(60):
            return json.loads(await hearing.readline())["result"]

    hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    try:
        begun = await ask(1, "initialize", hello)
        assert (begun["protocolVersion"], begun["serverInfo"]["name"]) == (revision, "trinity")
        asking.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        tools = (await ask(2, "tools/list", {}))["tools"]
        assert {tool["name"] for tool in tools} == TOOLS
        good = await ask(3, "tools/call", {"name": "get_price", "arguments": {"max_age_ms": 2000}})
        assert json.loads(good["content"][0]["text"])["price"] == 71002.5
        wrong = await ask(4, "tools/call", {"name": "get_price", "arguments": {"max_age": 2000}})
        assert wrong["isError"]
        assert wrong["content"][0]["text"].startswith("unknown_parameter: 'max_age' ")
    finally:
        asking.close()
        await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_argument_that_a_tool_does_not_have_is_refused(node_url: str, mode: Mode) -> None:
    """`max_age` for `max_age_ms` gives no price but the name and all that there are; no tool takes one."""
    node = Node(node_url, node_url, KEY)
    async with Client(make_server(node), mode=mode) as client:
        refused = await client.call_tool("get_price", {"asset": "BTC", "max_age": 2000})
        assert refused.is_error
        assert text_of(refused) == (
            "unknown_parameter: 'max_age' is not an argument of get_price; there are: asset, exchange, max_age_ms, "
            'min_sources, max_conf_bps {"field": "max_age"}'
        )
        for tool in TOOLS:
            wrong = await client.call_tool(tool, {"assett": "BTC"})
            assert wrong.is_error
            assert text_of(wrong).startswith(f"unknown_parameter: 'assett' is not an argument of {tool}; ")


async def test_wrong_values_name_their_argument_and_what_is_allowed() -> None:
    """An enum's error lists its words; the value itself is not said again."""
    async with Client(make_server(Node("http://127.0.0.1:1", "http://127.0.0.1:1", KEY))) as client:
        for tool, arguments, said in (
            ("get_history", {"granularity": "1w"}, "granularity: Input should be '1m', '5m', '1h' or '1d'"),
            ("get_price", {"max_age_ms": "soon"}, "max_age_ms: Input should be a valid integer"),
            ("get_price", {"asset": 7}, "asset: Input should be a valid string"),
            ("get_prices", {"assets": "BTC"}, "assets: Input should be a valid list"),
        ):
            wrong = await client.call_tool(tool, arguments)
            assert wrong.is_error
            assert text_of(wrong).startswith(f"bad_parameter: {said}")
            assert f'{{"field": "{next(iter(arguments))}"}}' in text_of(wrong)


async def test_a_model_can_go_by_the_descriptions_alone() -> None:
    """Every argument of every tool has a default and a description; no other is allowed, and answers are typed."""
    async with Client(make_server(Node("", "", None))) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.description
            assert "\n " not in tool.description
            assert tool.input_schema["additionalProperties"] is False
            assert "required" not in tool.input_schema
            for argument in tool.input_schema["properties"].values():
                assert argument["description"]
            assert tool.output_schema is not None
            assert len(tool.output_schema["properties"]) > 0
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        said = tools["get_price"].input_schema["properties"]["exchange"]["description"]
        assert all(exchange in said for exchange in EXCHANGES)


async def test_a_node_that_is_not_there_is_an_error_that_says_so() -> None:
    """Without the key in it."""
    node = node_of(Config(), {"TRINITY_URL": "http://127.0.0.1:1/", "TRINITY_API_KEY": KEY})
    with pytest.raises(ToolError, match=r"node_unreachable: http://127.0.0.1:1 does not answer") as refused:
        await make_server(node).call_tool("get_price", {"asset": "BTC"})
    assert KEY not in str(refused.value)


async def test_a_missing_key_is_told_as_the_node_tells_it(node_url: str) -> None:
    """Its code and sentence."""
    async with Client(make_server(Node(node_url, node_url, None))) as client:
        refused = await client.call_tool("get_price", {})
    assert refused.is_error
    assert text_of(refused) == "missing_key: send a key"


def test_a_refusal_is_read_in_both_forms() -> None:
    """A lookup's error object, a report's problem, and what nobody foresaw."""
    assert refusal_of(503, STALE).startswith("stale_price: no fresh price")
    assert refusal_of(400, PROBLEM).startswith("bad_parameter: 1w is not a granularity")
    assert refusal_of(502, {}) == "http_502: "
