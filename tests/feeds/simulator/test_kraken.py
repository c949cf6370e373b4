"""Simulated Kraken: WebSocket v2 and REST."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket

At = Callable[[float], Instant]


def _subscribe(*symbols: str, **params: Any) -> str:
    fields = {"channel": "ticker", "symbol": list(symbols)} | params
    return json.dumps({"method": "subscribe", "params": fields, "req_id": 9})


async def test_status_then_an_acknowledgement_a_symbol_then_data(running: Any, find_frame: Any) -> None:
    """Unasked the status; for each symbol its acknowledgement and its snapshot; then updates."""
    async with await running.connect("/kraken/v2") as socket:
        status = json.loads(await socket.recv())
        assert status["channel"] == "status"
        assert status["data"][0]["connection_id"] >= 2**63
        await socket.send(_subscribe("BTC/USD", "ETH/USD"))
        frames = [json.loads(await socket.recv()) for _ in range(4)]
        update = await find_frame(socket, lambda one: one.get("type") == "update")
    assert [(one.get("method"), one.get("type")) for one in frames] == [("subscribe", None), (None, "snapshot")] * 2
    assert frames[0]["result"]["symbol"] == frames[1]["data"][0]["symbol"] == "BTC/USD"
    assert frames[0]["req_id"] == 9
    ticker = update["data"][0]
    assert ticker["bid"] <= ticker["last"] <= ticker["ask"]


def test_prices_are_numbers_with_all_their_digits(make_bench: Any, at: At) -> None:
    """0.99970 is written with its zero, and small prices without an exponent."""
    bench = make_bench("kraken")
    session = bench.open()
    session.on_text(_subscribe("USDT/USD", "PEPE/USD", event_trigger="bbo"), at(0))
    text = session.on_quote(bench.quote("USDT/USD", bid=0.9997, ask=0.9998, last=0.9997), {}, at(0))[0]
    assert '"bid":0.999700,' in text
    text = session.on_quote(bench.quote("PEPE/USD"), {}, at(0))[0]
    assert re.search(r'"bid":0\.00000\d+,', text)


def test_unknown_symbols_are_refused_alone(make_bench: Any, frames_of: Any, at: At) -> None:
    """The old name XBT/USD is not supported in v2; the good symbol of the same frame is subscribed."""
    frames = frames_of(make_bench("kraken").open().on_text(_subscribe("XBT/USD", "BTC/USD"), at(0)))
    assert frames[0]["error"] == "Currency pair not supported XBT/USD"
    assert (frames[0]["success"], frames[0]["symbol"]) == (False, "XBT/USD")
    assert frames[1]["success"] is True


def test_event_triggers_decide_what_is_sent(make_bench: Any, at: At) -> None:
    """trades: one message a trade (the default); bbo: every change of the book."""
    bench = make_bench("kraken")
    session = bench.open()
    session.on_text(_subscribe("BTC/USD", snapshot=False), at(0))
    session.on_text(_subscribe("ETH/USD", event_trigger="bbo"), at(0))
    assert session.on_quote(bench.quote("BTC/USD", traded=False), {}, at(1)) == []
    assert len(session.on_quote(bench.quote("BTC/USD", traded=True), {}, at(1))) == 1
    assert len(session.on_quote(bench.quote("ETH/USD", traded=False), {}, at(1))) == 1


def test_heartbeats_fill_every_idle_second_of_a_subscription(make_bench: Any, at: At) -> None:
    """Nothing before the first subscription; then one a second when nothing else was sent."""
    bench = make_bench("kraken")
    session = bench.open()
    assert session.on_timer(at(3)) == []
    session.on_text(_subscribe("BTC/USD", event_trigger="bbo"), at(3))
    assert session.on_timer(at(3.9)) == []
    assert session.on_timer(at(4.0)) == ['{"channel":"heartbeat"}']
    session.on_quote(bench.quote("BTC/USD"), {}, at(4.5))
    assert session.on_timer(at(5.1)) == []


def test_ping_is_answered_and_other_requests_are_refused(make_bench: Any, frames_of: Any, at: At) -> None:
    """pong echoes req_id; unknown methods and channels say success false."""
    session = make_bench("kraken").open()
    pong = frames_of(session.on_text('{"method":"ping","req_id":101}', at(0)))[0]
    assert (pong["method"], pong["req_id"], "time_in" in pong) == ("pong", 101, True)
    for text in ('{"method":"add_order"}', '{"method":"subscribe","params":{"channel":"gossip"}}'):
        assert frames_of(session.on_text(text, at(0)))[0]["success"] is False


def test_an_inactive_socket_is_closed_after_a_minute(make_bench: Any, at: At) -> None:
    """Without subscription and ping for 60 s; a ping starts the minute anew."""
    session = make_bench("kraken").open()
    session.on_text('{"method":"ping"}', at(30))
    assert session.on_timer(at(89)) == []
    assert session.on_timer(at(90)) == [CloseSocket(1000, "inactivity")]


def test_unsubscribing_stops_the_symbol(make_bench: Any, frames_of: Any, at: At) -> None:
    """The acknowledgement says unsubscribe, and quotes stop."""
    bench = make_bench("kraken")
    session = bench.open()
    session.on_text(_subscribe("BTC/USD"), at(0))
    answer = session.on_text(_subscribe("BTC/USD").replace('"subscribe"', '"unsubscribe"'), at(0))
    assert frames_of(answer)[0]["method"] == "unsubscribe"
    assert session.on_quote(bench.quote("BTC/USD", traded=True), {}, at(1)) == []


async def test_rest_tickers_answer_under_legacy_names(running: Any) -> None:
    """XBTUSD and BTC's other names are all understood; the key is XXBTZUSD."""
    _, body = await running.get("/kraken/0/public/Ticker?pair=XBTUSD,ETHUSD,PEPEUSD,USDTZUSD")
    assert body["error"] == []
    assert list(body["result"]) == ["XXBTZUSD", "XETHZUSD", "PEPEUSD", "USDTZUSD"]
    assert set(body["result"]["XXBTZUSD"]) == {"a", "b", "c", "v", "p", "t", "l", "h", "o"}
    _, everything = await running.get("/kraken/0/public/Ticker")
    assert list(everything["result"])[:4] == list(body["result"])
    for name, key in (("XXBTZUSD", "XXBTZUSD"), ("BTC/USD", "BTC/USD"), ("XBT/USD", "XBT/USD")):
        _, one = await running.get(f"/kraken/0/public/Ticker?pair={name}")
        assert list(one["result"]) == [key]


@pytest.mark.parametrize("path", ["Ticker?pair=XBTUSD,NOUSD", "AssetPairs?pair=NOUSD"])
async def test_an_unknown_pair_is_an_error_with_status_200(running: Any, path: str) -> None:
    """As recorded: no result at all."""
    assert await running.get(f"/kraken/0/public/{path}") == (200, {"error": ["EQuery:Unknown asset pair"]})


async def test_lists_and_health_have_the_documented_shape(running: Any) -> None:
    """AssetPairs, Assets, SystemStatus and Time, as clients load them at start."""
    _, pairs = await running.get("/kraken/0/public/AssetPairs")
    bitcoin = pairs["result"]["XXBTZUSD"]
    assert (bitcoin["altname"], bitcoin["wsname"], bitcoin["base"], bitcoin["quote"]) == (
        "XBTUSD", "XBT/USD", "XXBT", "ZUSD",
    )  # fmt: skip
    _, assets = await running.get("/kraken/0/public/Assets")
    assert assets["result"]["XXBT"]["altname"] == "XBT"
    _, status = await running.get("/kraken/0/public/SystemStatus")
    assert status["result"]["status"] == "online"
    _, now = await running.get("/kraken/0/public/Time")
    assert now["result"]["unixtime"] > 1_700_000_000
