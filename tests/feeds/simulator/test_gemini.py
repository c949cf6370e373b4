"""Simulated Gemini: streams, errors, pings and REST."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import SendPing

At = Callable[[float], Instant]
SUBSCRIBE = {"id": 1, "method": "subscribe", "params": ["btcusd@bookTicker", "btcusd@trade"]}


@pytest.mark.parametrize("path", ["/gemini", "/gemini/"])
async def test_both_streams_flow_after_the_acknowledgement(running: Any, find_frame: Any, path: str) -> None:
    """A bookTicker has b, a and c, a trade p and q; both have E in nanoseconds as a number."""
    async with await running.connect(path) as socket:
        await socket.send(json.dumps(SUBSCRIBE))
        assert json.loads(await socket.recv()) == {"id": 1, "status": 200}
        book = await find_frame(socket, lambda one: "b" in one)
        trade = await find_frame(socket, lambda one: "p" in one)
    assert set(book) == {"u", "E", "s", "b", "B", "a", "A", "c", "C"}
    assert set(trade) == {"E", "s", "t", "p", "q", "m"}
    assert book["s"] == trade["s"] == "btcusd"
    assert book["E"] > 2**53
    assert float(book["b"]) <= float(book["c"]) <= float(book["a"])


@pytest.mark.parametrize("method", ["SUBSCRIBE", "subscribe", "Subscribe"])
def test_method_names_are_taken_in_any_case_and_ids_echoed(
    make_bench: Any, frames_of: Any, at: At, method: str
) -> None:
    """An id may be a number or a string."""
    session = make_bench("gemini").open()
    answer = session.on_text(json.dumps(SUBSCRIBE | {"method": method, "id": "a7"}), at(0))
    assert frames_of(answer) == [{"id": "a7", "status": 200}]


def test_one_bad_stream_rejects_the_whole_frame(make_bench: Any, frames_of: Any, at: At) -> None:
    """The error names the stream, and the good one of the same frame is not subscribed."""
    bench = make_bench("gemini")
    session = bench.open()
    answer = session.on_text(json.dumps(SUBSCRIBE | {"params": ["btcusd@bookTicker", "NOUSD@trade"]}), at(0))
    error = {"code": -1013, "msg": "Invalid stream name: NOUSD@trade"}
    assert frames_of(answer) == [{"id": 1, "status": 400, "error": error}]
    assert session.on_quote(bench.quote("btcusd"), {}, at(1)) == []


@pytest.mark.parametrize(
    ("message", "code"), [({"id": 2, "method": "order"}, -1020), ({"id": 2, "method": "subscribe"}, -1013)]
)
def test_other_requests_are_refused(make_bench: Any, frames_of: Any, at: At, message: Any, code: int) -> None:
    """Unknown methods and missing params have the documented codes."""
    assert frames_of(make_bench("gemini").open().on_text(json.dumps(message), at(0)))[0]["error"]["code"] == code


def test_ping_and_conninfo_are_answered(make_bench: Any, frames_of: Any, at: At) -> None:
    """The application's ping gives status 200, conninfo the limits."""
    session = make_bench("gemini").open()
    assert frames_of(session.on_text('{"id":100,"method":"ping"}', at(0))) == [{"id": 100, "status": 200}]
    limits = frames_of(session.on_text('{"id":7,"method":"conninfo"}', at(0)))[0]["rateLimits"]
    assert limits[0]["limit"] == 7000


def test_the_server_pings_every_20_seconds(make_bench: Any, at: At) -> None:
    """A protocol ping, with and without subscriptions; an idle socket stays open."""
    session = make_bench("gemini").open()
    pings = [tick for tick in range(1, 1300) if session.on_timer(at(tick / 10)) == [SendPing()]]
    assert pings == [200, 400, 600, 800, 1000, 1200]


def test_unsubscribing_and_quiet_streams_send_nothing(make_bench: Any, at: At) -> None:
    """Without a trade the trade stream is silent; an unsubscribed stream is, too."""
    bench = make_bench("gemini")
    session = bench.open()
    session.on_text(json.dumps(SUBSCRIBE | {"params": ["btcusd@trade"]}), at(0))
    assert session.on_quote(bench.quote("btcusd", traded=False), {}, at(1)) == []
    assert len(session.on_quote(bench.quote("btcusd", traded=True), {}, at(1))) == 1
    session.on_text(json.dumps(SUBSCRIBE | {"method": "unsubscribe"}), at(1))
    assert session.on_quote(bench.quote("btcusd", traded=True), {}, at(2)) == []


async def test_rest_answers_have_the_documented_shape(running: Any) -> None:
    """pubticker, ticker v2, pricefeed, symbols and details speak of the same market."""
    _, public = await running.get("/gemini/v1/pubticker/BTCUSD")
    assert set(public) == {"ask", "bid", "last", "volume"}
    assert isinstance(public["volume"]["timestamp"], int)
    _, ticker = await running.get("/gemini/v2/ticker/btcusd")
    assert (ticker["symbol"], len(ticker["changes"])) == ("BTCUSD", 24)
    _, prices = await running.get("/gemini/v1/pricefeed")
    assert [one["pair"] for one in prices][:4] == ["BTCUSD", "ETHUSD", "PEPEUSD", "USDTUSD"]
    assert float(ticker["close"]) == pytest.approx(float(prices[0]["price"]), rel=0.002)
    _, symbols = await running.get("/gemini/v1/symbols")
    assert symbols[:4] == ["btcusd", "ethusd", "pepeusd", "usdtusd"]
    _, details = await running.get("/gemini/v1/symbols/details/pepeusd")
    assert (details["base_currency"], details["quote_currency"], details["status"]) == ("PEPE", "USD", "open")


@pytest.mark.parametrize("path", ["/v1/pubticker/bla", "/v2/ticker/bla", "/v1/symbols/details/bla"])
async def test_an_unknown_symbol_is_the_recorded_error(running: Any, path: str) -> None:
    """HTTP 400 with the sentence that lists the supported symbols."""
    status, body = await running.get(f"/gemini{path}")
    assert status == 400
    assert body["message"].startswith("Supplied value 'bla' is not a valid symbol.")
    assert (body["reason"], body["result"]) == ("Bad Request", "error")
