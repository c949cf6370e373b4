"""The simulated exchanges as a server: entry points, faults as a client sees them, limits."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from feeds.simulator.server import Simulator
from trinity.clock import SystemClock
from trinity.config import SimulatorSection
from trinity.errors import PortTakenError
from trinity.markets import Catalog

SUBSCRIBE = {
    "kraken": ("/kraken/v2", {"method": "subscribe", "params": {
        "channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"], "event_trigger": "bbo"}}),
    "coinbase": ("/coinbase", {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "ticker"}),
    "gemini": ("/gemini", {"id": 1, "method": "subscribe", "params": ["btcusd@bookTicker", "ethusd@bookTicker"]}),
    "gateio": ("/gateio/ws/v4/", {
        "time": 1, "channel": "spot.book_ticker", "event": "subscribe", "payload": ["BTC_USDT", "ETH_USDT"]}),
    "cryptocom": ("/cryptocom/exchange/v1/market", {
        "id": 1, "method": "subscribe", "params": {"channels": ["ticker.BTC_USD", "ticker.ETH_USD"]}}),
    "okx": ("/okx/ws/v5/public", {"op": "subscribe", "args": [
        {"channel": "tickers", "instId": "BTC-USDT"}, {"channel": "tickers", "instId": "ETH-USDT"}]}),
}  # fmt: skip
REST_PATH = {
    "kraken": "/kraken/0/public/Ticker?pair=XBTUSD",
    "coinbase": "/coinbase/products/BTC-USD/ticker",
    "gemini": "/gemini/v1/pubticker/btcusd",
    "gateio": "/gateio/api/v4/spot/tickers?currency_pair=BTC_USDT",
    "cryptocom": "/cryptocom/exchange/v1/public/get-tickers?instrument_name=BTC_USD",
    "okx": "/okx/api/v5/market/ticker?instId=BTC-USDT",
}
# Where an exchange's stream has symbol, bid, ask and time of a quote.
STREAM: dict[str, Callable[[Any], tuple[str, float, float, Any]]] = {
    "kraken": lambda one: _fields(one["data"][0], "symbol", "bid", "ask", "timestamp"),
    "coinbase": lambda one: (
        *_fields(one["events"][0]["tickers"][0], "product_id", "best_bid", "best_ask", "none")[:3], one.get("timestamp")
    ),
    "gemini": lambda one: _fields(one, "s", "b", "a", "E"),
    "gateio": lambda one: _fields(one["result"], "s", "b", "a", "t"),
    "cryptocom": lambda one: _fields(one["result"]["data"][0], "i", "b", "k", "t"),
    "okx": lambda one: _fields(one["data"][0], "instId", "bidPx", "askPx", "ts"),
}  # fmt: skip
ALL = pytest.mark.parametrize("exchange", sorted(SUBSCRIBE))


def _fields(one: Any, symbol: str, bid: str, ask: str, time: str) -> tuple[str, float, float, Any]:
    return one[symbol].upper(), float(one[bid]), float(one[ask]), one.get(time)


def _quote(exchange: str, frame: Any) -> tuple[str, float, float, Any] | None:
    """Symbol, bid, ask and time of a price frame; None for every other one."""
    try:
        return STREAM[exchange](frame)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


class Stream:
    """A subscribed socket of one exchange."""

    def __init__(self, exchange: str, socket: Any) -> None:
        self.exchange = exchange
        self.socket = socket

    async def until(self, wanted: Callable[[tuple[str, float, float, Any]], object]) -> tuple[str, float, float, Any]:
        """The first quote that is as wanted."""
        async with asyncio.timeout(60):
            while True:
                quote = _quote(self.exchange, json.loads(await self.socket.recv()))
                if quote is not None and wanted(quote):
                    return quote

    async def bitcoin(self) -> tuple[str, float, float, Any]:
        return await self.until(lambda quote: quote[0].startswith("BTC"))


async def _open(running: Any, exchange: str) -> Stream:
    path, subscribe = SUBSCRIBE[exchange]
    opened = await running.connect(path)
    await opened.send(json.dumps(subscribe))
    return Stream(exchange, opened)


async def test_it_says_plainly_that_it_is_simulated(running: Any) -> None:
    """GET / names the service, its seed and the six exchanges."""
    status, body = await running.get("/")
    assert status == 200
    assert (body["service"], body["simulated"], body["seed"]) == ("simulated exchanges", True, 7)
    assert sorted(body["exchanges"]) == sorted(SUBSCRIBE)
    assert await running.status("/binance/ticker") == 404


async def test_what_is_true_can_be_asked_for_whatever_the_faults_say(running: Any) -> None:
    """GET /market has every market with the price it had before any fault, in its own currency."""
    assert (await running.fault(exchange="kraken", fault="scale_price", value=2.0))[0] == 201
    status, body = await running.get("/market")
    assert status == 200
    told = {(market["exchange"], market["asset"]): market for market in body["markets"]}
    assert body["simulated"] is True
    assert told["okx", "BTC"]["currency"] == "USDT"
    kraken, coinbase = told["kraken", "BTC"], told["coinbase", "BTC"]
    assert kraken["bid"] <= kraken["last"] <= kraken["ask"]
    assert abs(kraken["bid"] / coinbase["bid"] - 1) < 0.005


@ALL
async def test_scale_price_moves_stream_and_rest_of_one_asset(running: Any, exchange: str) -> None:
    """BTC is ten times dearer on both ways, ETH is not, and clearing the fault brings BTC back."""
    stream = await _open(running, exchange)
    _, normal, _, _ = await stream.bitcoin()
    _, before = await running.get(REST_PATH[exchange])
    status, fault = await running.fault(exchange=exchange, asset="BTC", fault="scale_price", value=10, seconds=60)
    assert status == 201
    await stream.until(lambda quote: quote[0].startswith("BTC") and quote[1] > normal * 9)
    _, ether, _, _ = await stream.until(lambda quote: quote[0].startswith("ETH"))
    assert ether < 10_000
    _, after = await running.get(REST_PATH[exchange])
    assert _largest(after) > _largest(before) * 8
    assert await running.clear(f"?id={fault['id']}") == (200, {"cleared": 1})
    await stream.until(lambda quote: quote[0].startswith("BTC") and quote[1] < normal * 2)
    await stream.socket.close()


def _largest(value: Any) -> float:
    """The largest number among the fields of an answer that may be a price."""
    names = ("a", "ask", "lowest_ask", "askPx", "k")
    if isinstance(value, dict):
        own = [float(one[0] if isinstance(one, list) else one) for name, one in value.items() if name in names]
        return max([*own, *(_largest(one) for one in value.values() if isinstance(one, dict | list))], default=0.0)
    return max((_largest(one) for one in value), default=0.0) if isinstance(value, list) else 0.0


@ALL
async def test_zero_and_crossed_prices_reach_the_client(running: Any, exchange: str) -> None:
    """zero_price sends zeros, crossed_book a bid above the ask."""
    stream = await _open(running, exchange)
    await stream.bitcoin()
    await running.fault(exchange=exchange, fault="zero_price")
    await stream.until(lambda quote: quote[1] == quote[2] == 0.0)
    await running.clear()
    await running.fault(exchange=exchange, fault="crossed_book")
    await stream.until(lambda quote: quote[1] > quote[2] > 0.0)
    await stream.socket.close()


@ALL
async def test_bad_payload_no_timestamp_and_freeze_change_what_arrives(running: Any, exchange: str) -> None:
    """Renamed price fields, then no time, then silence for BTC alone."""
    stream = await _open(running, exchange)
    await stream.bitcoin()
    await running.fault(exchange=exchange, fault="bad_payload")
    async with asyncio.timeout(60):
        while "_v2" not in await stream.socket.recv():
            pass
    assert "_v2" in json.dumps((await running.get(REST_PATH[exchange]))[1])
    await running.clear()
    await running.fault(exchange=exchange, fault="no_timestamp")
    await stream.until(lambda quote: quote[3] is None)
    await running.clear()
    await stream.until(lambda quote: quote[3] is not None)
    await running.fault(exchange=exchange, asset="BTC", fault="freeze")
    symbols = [(await stream.until(lambda _: True))[0] for _ in range(8)][2:]
    assert not [symbol for symbol in symbols if symbol.startswith("BTC")]
    await stream.socket.close()


@ALL
async def test_a_disconnect_closes_once_and_refuse_keeps_the_socket_down(
    running: Any, until: Any, exchange: str
) -> None:
    """After a disconnect one may connect again at once; refuse answers 503 until it is cleared, REST goes on."""
    stream = await _open(running, exchange)
    await stream.bitcoin()
    await running.fault(exchange=exchange, fault="disconnect")
    with pytest.raises(ConnectionClosed):  # behind the quotes that are on their way
        await stream.until(lambda _: False)
    stream = await _open(running, exchange)
    await stream.bitcoin()
    await running.fault(exchange=exchange, fault="refuse", seconds=60)
    with pytest.raises(ConnectionClosed):  # behind the quotes that are on their way
        await stream.until(lambda _: False)
    with pytest.raises(InvalidStatus) as refused:
        await _open(running, exchange)
    assert refused.value.response.status_code == 503
    assert await running.status(REST_PATH[exchange]) == 200
    await running.clear()
    stream = await _open(running, exchange)
    await stream.bitcoin()


async def test_a_disconnect_with_seconds_closes_again_and_again(running: Any) -> None:
    """Sockets that come back within the time are closed, too."""
    await running.fault(exchange="kraken", fault="disconnect", seconds=60)
    for _ in range(2):
        with pytest.raises(ConnectionClosed):  # perhaps before it has subscribed
            await (await _open(running, "kraken")).until(lambda _: False)


async def test_a_frozen_exchange_goes_on_with_its_heartbeats(running: Any, find_frame: Any) -> None:
    """Kraken sends heartbeats instead of quotes: it is alive but not fresh."""
    await running.fault(exchange="kraken", fault="freeze")
    path, subscribe = SUBSCRIBE["kraken"]
    async with await running.connect(path) as opened:
        await find_frame(opened, lambda one: one.get("success"), subscribe)
        await find_frame(opened, lambda one: one == {"channel": "heartbeat"})
        _, body = await running.get(REST_PATH["kraken"])
        assert body["result"], "REST goes on"


async def test_clock_skew_and_bad_sequence_are_seen(running: Any) -> None:
    """Gemini's times go ahead by an hour; Coinbase's sequence_num jumps."""
    gemini = await _open(running, "gemini")
    *_, normal = await gemini.bitcoin()
    await running.fault(exchange="gemini", fault="clock_skew", value=3600)
    await gemini.until(lambda quote: quote[3] > normal + 3_500 * 10**9)
    await running.fault(exchange="coinbase", fault="bad_sequence")
    coinbase = await _open(running, "coinbase")
    numbers = [json.loads(await coinbase.socket.recv())["sequence_num"] for _ in range(8)]
    assert numbers != list(range(8))
    for stream in (gemini, coinbase):
        await stream.socket.close()


async def test_rest_faults_have_the_exchanges_own_bodies(running: Any) -> None:
    """rest_429 and rest_500 answer as the exchange documents it; rest_freeze repeats one answer."""
    await running.fault(exchange="okx", fault="rest_429")
    assert await running.get(REST_PATH["okx"]) == (429, {"code": "50011", "data": [], "msg": "Too Many Requests"})
    await running.fault(exchange="gateio", fault="rest_500")
    status, body = await running.get(REST_PATH["gateio"])
    assert (status, body["label"]) == (500, "INTERNAL")
    await running.fault(exchange="gemini", fault="rest_freeze")
    _, frozen = await running.get(REST_PATH["gemini"])
    stream = await _open(running, "gemini")
    for _ in range(3):
        await stream.bitcoin()
    assert (await running.get(REST_PATH["gemini"]))[1] == frozen
    await stream.socket.close()


async def test_a_slow_stream_gets_older_and_older(running: Any) -> None:
    """At 30 % of the rate, the time in a quote falls behind the present second by second."""
    clock = SystemClock()
    stream = await _open(running, "gemini")
    await running.fault(exchange="gemini", fault="slow", value=0.3)
    await stream.until(lambda quote: clock.wall_ns() - quote[3] > 1_500_000_000)
    await stream.socket.close()


async def test_faults_are_listed_and_wrong_ones_refused_by_field(running: Any) -> None:
    """POST answers the fault or 400 with the field; GET lists what is active; DELETE of none is 404."""
    status, body = await running.fault(exchange="kraken", asset="BTC", fault="scale_price", value=1.1, seconds=30)
    assert (status, body["id"], body["asset"]) == (201, 1, "BTC")
    _, listed = await running.get("/faults")
    assert [one["fault"] for one in listed["faults"]] == ["scale_price"]
    status, body = await running.fault(exchange="kraken", fault="scale_price", value="much")
    assert (status, body["error"]["code"]) == (400, "bad_fault")
    assert body["error"]["message"].startswith("value: ")
    status, body = await running.post_raw(b"{")
    assert (status, body["error"]["message"][:5]) == (400, "body:")
    assert (await running.clear("?id=99"))[0] == 404
    assert (await running.clear("?id=x"))[0] == 400
    assert await running.clear() == (200, {"cleared": 1})


async def test_request_limits_are_enforced_with_the_documented_answer(running: Any) -> None:
    """OKX allows 20 requests in 2 s and 3 connections in a second; one more is 429."""
    answers = [await running.status(REST_PATH["okx"]) for _ in range(40)]
    assert answers[:20] == [200] * 20
    assert 429 in answers
    opened = [await running.connect("/okx/ws/v5/public") for _ in range(3)]
    with pytest.raises(InvalidStatus) as refused:
        await running.connect("/okx/ws/v5/public")
    for one in opened:
        await one.close()
    assert refused.value.response.status_code == 429


async def test_a_taken_port_is_named(catalog: Catalog) -> None:
    """Starting on a port in use raises PortTakenError for SIMULATOR_PORT."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        simulator = Simulator(catalog, SimulatorSection(), "127.0.0.1", SystemClock(), logging.getLogger("test"))
        with pytest.raises(PortTakenError) as caught:
            await simulator.start(port)
    assert (caught.value.name, caught.value.port) == ("SIMULATOR_PORT", port)


async def test_it_beats_while_the_market_moves(catalog: Catalog, until: Any) -> None:
    """The supervisor's heartbeat comes from the loop that makes the quotes."""
    beats: list[int] = []
    simulator = Simulator(catalog, SimulatorSection(), "127.0.0.1", SystemClock(), logging.getLogger("test"))
    await simulator.start(0, beats.append)
    await until(lambda: len(beats) >= 3)
    await simulator.stop()
    assert beats == sorted(beats)


_PROGRAM = """
import logging, sys
from trinity.clock import SystemClock
from trinity.config import SimulatorSection
from trinity.markets import load_catalog
from feeds.simulator.server import run_standalone
log = logging.getLogger("simulate")
section = SimulatorSection(port=int(sys.argv[1]))
run_standalone(load_catalog(), section, "127.0.0.1", SystemClock(), log)
"""


async def test_the_standalone_process_serves_the_default_catalog_and_ends_on_sigterm(until: Any) -> None:
    """150 markets and more over one port; SIGTERM ends it with code 0, also while somebody is connected."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(port)])

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
        return process.poll() is not None

    try:
        await until(answers, 30)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
        process.wait()
