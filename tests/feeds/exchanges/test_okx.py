"""feeds/exchanges/okx.py"""

import json

import pytest
from msgspec.structs import replace

from feeds.exchanges import okx
from feeds.exchanges.contract import (
    Alive,
    Event,
    Quote,
    Reconnect,
    Refusal,
    RestRequest,
    Subscribed,
    UnknownSymbol,
    parse_price,
)
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_000_000
BTC = (
    '{"instType":"SPOT","instId":"BTC-USDT","last":"70000.2","askPx":"70000.3","bidPx":"70000.10","ts":"1767323045123"}'
)
BTC_QUOTE = Quote("BTC-USDT", parse_price(b"70000.10"), parse_price(b"70000.3"), parse_price(b"70000.2"), TIME_NS)
UNKNOWN = "Subscribe failed, wrong URL or channel:tickers,instId:ABC-USDT doesn't exist. Please use the correct URL."


def ticker_frame(*tickers: str) -> bytes:
    return f'{{"arg":{{"channel":"tickers","instId":"BTC-USDT"}},"data":[{",".join(tickers)}]}}'.encode()


def event_frame(event: str, **fields: object) -> bytes:
    return json.dumps({"event": event, "connId": "0a1b2c3d"} | fields).encode()


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a ticker": (ticker_frame(BTC), [BTC_QUOTE]),
    "several tickers, one without its name": (
        ticker_frame(BTC, BTC.replace('"instId"', '"id"')),
        [BTC_QUOTE, BTC_QUOTE],
    ),
    "no time": (ticker_frame(BTC.replace("ts", "time")), [replace(BTC_QUOTE, exchange_time_ns=None)]),
    "an empty side": (
        ticker_frame(BTC.replace('"70000.10"', '""')),
        [replace(BTC_QUOTE, bid=None)],
    ),
    "a zero": (
        ticker_frame(BTC.replace('"70000.2"', '"0"')),
        [Refusal("nonpositive_price", "last: '0' is not above zero", "BTC-USDT")],
    ),
    "a lost field": (ticker_frame(BTC.replace("askPx", "ask")), [Refusal("missing_field", "ask", "BTC-USDT")]),
    "no data": (b'{"arg":{"channel":"tickers"}}', [Refusal("missing_field", "data")]),
    "another channel": (
        b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"px":"0"}]}',
        [Refusal("unknown_shape", "the channel 'trades', which nobody asked for")],
    ),
    "microseconds": (ticker_frame(BTC.replace("1767323045123", "1767323045123000")), [BTC_QUOTE]),
    "a ticker of another instrument than its frame": (
        ticker_frame(BTC.replace("BTC-USDT", "ETH-USDT")),
        [Refusal("unknown_symbol", "it is about ETH-USDT", "BTC-USDT")],
    ),
    "no ticker at all": (ticker_frame(), [Refusal("missing_field", "no ticker in a frame of tickers")]),
    "an acknowledgement": (
        event_frame("subscribe", arg={"channel": "tickers", "instId": "BTC-USDT"}),
        [Subscribed(("BTC-USDT",))],
    ),
    "an acknowledgement of another channel": (
        event_frame("subscribe", arg={"channel": "trades", "instId": "BTC-USDT"}),
        [Refusal("bad_acknowledgement", "a confirmation that names no ticker")],
    ),
    "an unknown instrument": (event_frame("error", code="60018", msg=UNKNOWN), [UnknownSymbol("ABC-USDT")]),
    "another error": (
        event_frame("error", code="60014", msg="Requests too frequent"),
        [Refusal("exchange_error", "code 60014: Requests too frequent")],
    ),
    "a planned close": (
        event_frame("notice", code="64008", msg="The connection will soon be closed."),
        [Reconnect("planned", "The connection will soon be closed.")],
    ),
    "another notice": (event_frame("notice", code="1", msg="Hello"), [Alive()]),
    "a confirmation that failed": (
        event_frame("subscribe", arg={"channel": "tickers", "instId": "BTC-USDT"}, code="60018", msg="no"),
        [Refusal("bad_acknowledgement", "code 60018: no")],
    ),
    "an event that nobody knows": (
        event_frame("upgrade"),
        [Refusal("unknown_shape", "the event 'upgrade', which nobody asked for")],
    ),
    "a count of connections": (event_frame("channel-conn-count", connCount="2"), [Alive()]),
    "a pong": (b"pong", [Alive()]),
    "a shape that nobody knows": (
        b'{"op":"subscribe"}',
        [Refusal("unknown_shape", "neither an event nor the data of a channel")],
    ),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert okx.new_decoder().on_frame(frame) == events


def test_a_frame_subscribes_at_most_25_instruments() -> None:
    """More go into further frames, all far below 64 KB; the ping is a text."""
    symbols = [f"A{i}-USDT" for i in range(60)]
    frames = okx.new_decoder().subscribe(symbols, 0)
    assert [arg["instId"] for frame in frames for arg in json.loads(frame)["args"]] == symbols
    assert [len(json.loads(frame)["args"]) for frame in frames] == [25, 25, 10]
    assert okx.new_decoder().ping(0) == ["ping"]


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """BASE-QUOTE."""
    assert okx.symbol_of(Market("okx", "BTC", "USDT")) == "BTC-USDT"


ONE = RestRequest("/api/v5/market/ticker?instId=BTC-USDT", ("BTC-USDT",))
TWO = RestRequest("/api/v5/market/tickers?instType=SPOT", ("BTC-USDT", "ETH-USDT"))


def test_one_get_fetches_all_instruments() -> None:
    """A single one is asked for by name; several come out of the list of all."""
    assert okx.rest_requests([]) == []
    assert okx.rest_requests(["BTC-USDT"]) == [ONE]
    assert okx.rest_requests(["BTC-USDT", "ETH-USDT"]) == [TWO]


NOT_THERE = b'{"code":"51001","data":[],"msg":"Instrument ID doesn\'t exist."}'
REST_CASES: dict[str, tuple[RestRequest, int, bytes, list[Event]]] = {
    "the list of all, without one that was asked for": (
        TWO,
        200,
        f'{{"code":"0","msg":"","data":[{BTC},{{"instId":"ABC-USDT","last":"0"}}]}}'.encode(),
        [BTC_QUOTE, Refusal("unknown_symbol", "not in the answer", "ETH-USDT")],
    ),
    "an unknown instrument": (ONE, 200, NOT_THERE, [UnknownSymbol("BTC-USDT")]),
    "too many requests": (
        ONE,
        429,
        b'{"code":"50011"}',
        [Refusal("exchange_error", 'HTTP 429: {"code":"50011"}', "BTC-USDT")],
    ),
    "too many requests with the status of a success": (
        TWO,
        200,
        b'{"code":"50011","msg":"Too Many Requests"}',
        [Refusal("exchange_error", 'HTTP 200: {"code":"50011","msg":"Too Many Requests"}')],
    ),
    "no code": (ONE, 200, b"{}", [Refusal("missing_field", "Object missing required field `code`")]),
}


@pytest.mark.parametrize(("request_", "status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(request_: RestRequest, status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert okx.on_rest(request_, status, body) == events
