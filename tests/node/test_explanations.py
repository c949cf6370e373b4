"""A whole node asked why: /explain now and at a past moment, the command line, and a language model's tools."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from feeds.audit.account import DecisionAccount
from feeds.audit.explain import text_of
from tests.node.harness import Node
from tests.workers.api.minutes import store_minutes
from trinity.markets import load_catalog
from trinity.store.embedded import embedded_url

EXCHANGES = {"coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx"}
TOOL_NAMES = {"list_assets", "get_price", "get_prices", "get_history", "explain_price"}


def run(node: Node, *arguments: str) -> str:
    command = [sys.executable, "-m", "trinity", *arguments]
    done = subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def explained(node: Node, query: str) -> DecisionAccount | None:
    """The account that HTTP gives, with every digit; None for a refusal, and while nobody answers yet."""
    try:
        return msgspec.json.decode(node.text(f"/explain?asset=BTC{query}", "TCP_PORT_LRS"), type=DecisionAccount)
    except OSError:  # a refusal is one, too
        return None


def check_every_step(account: DecisionAccount) -> None:
    """Nothing is left out: raw quotes, ages, conversions, verdicts, each step's numbers, and the result."""
    assert {source.exchange for source in account.sources} == EXCHANGES
    for source in account.sources:
        assert source.quote is not None
        assert None not in (source.quote.bid, source.quote.ask)
        assert source.quote.bid is not None
        assert source.quote.bid.age_ms >= 0
        assert (source.venue_price, source.refusal) != (None, None)
        assert source.verdict == ("used" if source.exchange in account.used else account.left_out[source.exchange])
        assert source.converted is (source.currency != "USD" and source.usd_price is not None)
    assert {index.coin for index in account.indexes} == {"USDT"}
    assert all(index.usd is not None and len(index.legs) >= 2 for index in account.indexes)
    assert set(account.votes) >= set(account.used)
    assert account.majority is not None
    assert account.majority.low is not None
    assert account.cut is not None
    assert account.price_found is not None
    assert account.jump is not None
    assert (account.state, account.served_as) == ("good", "good")
    assert account.price == account.price_found.price
    assert len(account.used) >= account.required


def test_http_and_the_command_line_say_the_same_of_a_recorded_moment(healthy: Node) -> None:
    """Every source and step, now and at a past moment; what was not recorded, and who is not known, are 404s."""
    now = healthy.wait("an account", lambda: explained(healthy, ""), 60)
    check_every_step(now)

    run(healthy, "record", "on")
    started = time.time()
    healthy.wait("a recording", lambda: explained(healthy, f"&at={int(time.time()) - 1}"), 30)
    moment = datetime.fromtimestamp(time.time(), UTC).isoformat().replace("+00:00", "Z")
    then: DecisionAccount = healthy.wait("the moment", lambda: explained(healthy, f"&at={moment}"), 30)
    check_every_step(then)
    assert then.at.timestamp() > started
    assert msgspec.json.decode(run(healthy, "explain", "BTC", "--at", moment, "--json"), type=DecisionAccount) == then
    assert run(healthy, "explain", "BTC", "--at", moment).strip() == text_of(then).strip()

    for query, code in (
        ("asset=BTC&at=2001-01-01", "not_recorded"),
        ("asset=BTC&at=2090-01-01", "not_recorded"),
        (f"asset=NOPE&at={moment}", "unknown_asset"),
        ("asset=NOPE", "unknown_asset"),
    ):
        status, problem = healthy.get(f"/explain?{query}", "TCP_PORT_LRS")
        assert (status, problem["code"]) == (404, code)
    run(healthy, "record", "off")


async def test_a_language_model_s_tools_reach_a_real_node(healthy: Node) -> None:
    """The protocol's own client over stdio, without an address: the configured ports of this machine."""
    healthy.wait("the database", lambda: healthy.get("/history?asset=BTC", "TCP_PORT_LRS")[0] == 200, 120)
    store_minutes(embedded_url(healthy.data_dir), "BTC", "85000.5", range(5, 8))
    server = StdioServerParameters(command=sys.executable, args=["-m", "trinity", "mcp"], env=healthy.environment)
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        assert {tool.name for tool in (await session.list_tools()).tools} == TOOL_NAMES

        async def call(tool: str, **arguments: Any) -> Any:
            result = await session.call_tool(tool, arguments)
            text = result.content[0].text  # type: ignore[union-attr]
            return text if result.is_error else json.loads(text)

        assert (await call("list_assets"))["assets"] == [asset.name for asset in load_catalog().assets]
        price = await call("get_price", asset="btc", min_sources=3)
        assert (price["asset"], price["status"]) == ("BTC", "fresh")
        kraken = await call("get_price", asset="BTC", exchange="kraken")
        assert kraken["source"] == "kraken"
        assert abs(kraken["price"] - price["price"]) < price["price"] / 100
        assert "unknown_asset" in await call("get_price", asset="NOPE")
        several = await call("get_prices", assets=["BTC", "ETH"])
        assert [entry["asset"] for entry in several["prices"]] == ["BTC", "ETH"]
        assert len((await call("get_prices"))["prices"]) == len(load_catalog().assets)
        history = await call("get_history", asset="BTC", granularity="1m", start=str(int(time.time()) - 600))
        assert [candle["close"] for candle in history["candles"]][:3] == [85000.5] * 3
        assert "bad_parameter" in await call("get_history", asset="BTC", granularity="1m", start="yesterday")
        account = msgspec.convert(await call("explain_price", asset="BTC"), DecisionAccount, strict=False)
        assert {source.exchange for source in account.sources} == EXCHANGES
