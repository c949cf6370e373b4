"""Simulated Gate.io: WebSocket v4 and REST."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket

At = Callable[[float], Instant]
PATH = "/gateio/ws/v4/"


def _subscribe(channel: str, *pairs: str) -> dict[str, Any]:
    return {"time": 1611541000, "id": 3, "channel": channel, "event": "subscribe", "payload": list(pairs)}


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("spot.tickers", ("currency_pair", "last", "lowest_ask", "highest_bid")),
        ("spot.book_ticker", ("s", "b", "a", "t", "u")),
        ("spot.trades", ("currency_pair", "price", "create_time_ms", "side")),
    ],
)
async def test_every_channel_is_acknowledged_once_and_flows(
    running: Any, find_frame: Any, channel: str, fields: tuple[str, ...]
) -> None:
    """One acknowledgement a frame with the id, then updates whose result is one object."""
    async with await running.connect(PATH) as socket:
        acknowledged = await find_frame(socket, lambda _: True, _subscribe(channel, "BTC_USDT", "ETH_USDT"))
        update = await find_frame(socket, lambda one: one["event"] == "update")
    assert (acknowledged["event"], acknowledged["result"], acknowledged["id"]) == (
        "subscribe",
        {"status": "success"},
        3,
    )
    assert "error" not in acknowledged
    assert update["channel"] == channel
    assert set(fields) <= set(update["result"])
    assert update["time_ms"] // 1000 == update["time"]


def test_tickers_come_at_most_once_a_second_and_without_a_snapshot(make_bench: Any, frames_of: Any, at: At) -> None:
    """Three quotes within a second give one frame at once and the newest one a second later."""
    bench = make_bench("gateio")
    session = bench.open()
    assert len(session.on_text(json.dumps(_subscribe("spot.tickers", "BTC_USDT")), at(0))) == 1
    sent = [session.on_quote(bench.quote("BTC_USDT", bid=float(number)), {}, at(number / 10)) for number in (1, 2, 3)]
    assert [len(out) for out in sent] == [1, 0, 0]
    assert session.on_timer(at(0.9)) == []
    assert frames_of(session.on_timer(at(1.1)))[0]["result"]["highest_bid"] == "3.0"


def test_ping_is_answered_with_pong(make_bench: Any, frames_of: Any, at: At) -> None:
    """spot.ping gives spot.pong without a result."""
    pong = frames_of(make_bench("gateio").open().on_text('{"time":1,"channel":"spot.ping"}', at(0)))[0]
    assert (pong["channel"], pong["result"]) == ("spot.pong", None)


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (_subscribe("spot.tickers", "BTC_USDT", "NOPE_USDT"), 2, "unknown currency pair: NOPE_USDT"),
        (_subscribe("spot.tickers", "btc_usdt"), 2, "unknown currency pair: btc_usdt"),
        (_subscribe("spot.obu", "BTC_USDT"), 2, "Unknown channel spot.obu"),
        (_subscribe("spot.tickers"), 1, "request payload does not follow json schema"),
        ({"channel": 1}, 1, "request payload does not follow json schema"),
    ],
)
def test_errors_are_those_that_were_recorded(
    make_bench: Any, frames_of: Any, at: At, message: Any, code: int, text: str
) -> None:
    """The error has code and message, the result says fail, and nothing of the frame is subscribed."""
    bench = make_bench("gateio")
    session = bench.open()
    frame = frames_of(session.on_text(json.dumps(message), at(0)))[0]
    assert frame["error"] == {"code": code, "message": text}
    assert frame["result"] == {"status": "fail"}
    assert session.on_quote(bench.quote("BTC_USDT"), {}, at(1)) == []


def test_text_that_is_not_json_gets_no_reply(make_bench: Any, at: At) -> None:
    """As probed."""
    assert make_bench("gateio").open().on_text("ping", at(0)) == []


def test_idle_sockets_die_without_a_close_frame(make_bench: Any, at: At) -> None:
    """30 s without a subscription, 60 s with a silent one; a ping or an update keeps it alive."""
    bench = make_bench("gateio")
    unsubscribed, silent, lively = bench.open(), bench.open(), bench.open()
    for session in (silent, lively):
        session.on_text(json.dumps(_subscribe("spot.book_ticker", "BTC_USDT")), at(0))
    assert unsubscribed.on_timer(at(29.9)) == []
    assert unsubscribed.on_timer(at(30)) == [CloseSocket(None)]
    lively.on_quote(bench.quote("BTC_USDT"), {}, at(50))
    assert silent.on_timer(at(59.9)) == []
    assert silent.on_timer(at(60)) == [CloseSocket(None)]
    assert lively.on_timer(at(60)) == []


def test_unsubscribing_stops_the_pair(make_bench: Any, frames_of: Any, at: At) -> None:
    """Neither updates nor the quote that waited for its second come any more."""
    bench = make_bench("gateio")
    session = bench.open()
    message = _subscribe("spot.tickers", "BTC_USDT")
    session.on_text(json.dumps(message), at(0))
    for number in (1, 2):
        session.on_quote(bench.quote("BTC_USDT"), {}, at(number / 10))
    answer = frames_of(session.on_text(json.dumps(message | {"event": "unsubscribe"}), at(0.3)))
    assert answer[0]["result"] == {"status": "success"}
    assert session.on_timer(at(2)) == []
    assert session.on_quote(bench.quote("BTC_USDT"), {}, at(3)) == []


async def test_rest_answers_have_the_documented_shape(running: Any) -> None:
    """One pair, all pairs, the list of pairs."""
    _, one = await running.get("/gateio/api/v4/spot/tickers?currency_pair=BTC_USDT")
    assert float(one[0]["highest_bid"]) <= float(one[0]["last"]) <= float(one[0]["lowest_ask"])
    _, everything = await running.get("/gateio/api/v4/spot/tickers")
    names = [ticker["currency_pair"] for ticker in everything]
    assert names[:4] == ["BTC_USDT", "ETH_USDT", "PEPE_USDT", "USDC_USDT"]
    _, pairs = await running.get("/gateio/api/v4/spot/currency_pairs")
    _, pair = await running.get("/gateio/api/v4/spot/currency_pairs/BTC_USDT")
    assert pairs[0] == pair
    assert (pair["base"], pair["quote"], pair["trade_status"]) == ("BTC", "USDT", "tradable")
    assert await running.get("/gateio/api/v4/margin/currency_pairs") == (200, [])
    _, now = await running.get("/gateio/api/v4/spot/time")
    assert now["server_time"] > 1_700_000_000_000


@pytest.mark.parametrize(
    "path", ["tickers?currency_pair=BTC_USDTT", "tickers?currency_pair=BTC_USDT,ETH_USDT", "currency_pairs/BTC_USDTT"]
)
async def test_an_invalid_pair_is_a_labelled_400(running: Any, path: str) -> None:
    """A comma list is an invalid pair, too."""
    status, body = await running.get(f"/gateio/api/v4/spot/{path}")
    assert (status, body["label"]) == (400, "INVALID_CURRENCY_PAIR")
