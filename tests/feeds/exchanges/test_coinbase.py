"""feeds/exchanges/coinbase.py"""

import json

import pytest
from msgspec.structs import replace

from feeds.exchanges import coinbase
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

TIME = '"timestamp":"2026-01-02T03:04:05.123456789Z"'
TIME_NS = 1_767_323_045_123_456_789
BTC = '{"type":"ticker","product_id":"BTC-USD","price":"70000.18","best_bid":"70000.170","best_ask":"70000.19"}'
ETH = '{"type":"ticker","product_id":"ETH-USD","price":"3000.5","best_bid":"3000.4","best_ask":"3000.6"}'
BTC_QUOTE = Quote("BTC-USD", parse_price(b"70000.170"), parse_price(b"70000.19"), parse_price(b"70000.18"), TIME_NS)
ETH_QUOTE = Quote("ETH-USD", parse_price(b"3000.4"), parse_price(b"3000.6"), parse_price(b"3000.5"), TIME_NS)


def ticker_frame(*tickers: str, sequence: int = 0, head: str = TIME) -> bytes:
    body = f'"events":[{{"type":"update","tickers":[{",".join(tickers)}]}}]'
    return f'{{"channel":"ticker",{head},"sequence_num":{sequence},{body}}}'.encode()


def error_frame(message: str, reason: str) -> bytes:
    return json.dumps({"type": "error", "message": message, "reason": reason}).encode()


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a ticker": (ticker_frame(BTC), [BTC_QUOTE]),
    "several tickers, and fields that nobody knows": (
        ticker_frame(BTC, ETH, head=f'"client_id":"","new":[1],{TIME}'),
        [BTC_QUOTE, ETH_QUOTE],
    ),
    "no time": (ticker_frame(BTC, head='"client_id":""'), [replace(BTC_QUOTE, exchange_time_ns=None)]),
    "an empty side": (
        ticker_frame(BTC.replace('"70000.170"', '""')),
        [replace(BTC_QUOTE, bid=None)],
    ),
    "two empty sides": (
        ticker_frame(BTC.replace('"70000.170"', '""').replace('"70000.19"', '""')),
        [Quote("BTC-USD", None, None, parse_price(b"70000.18"), TIME_NS)],
    ),
    "a last price far outside its book": (
        ticker_frame(BTC.replace("70000.18", "71401")),
        [
            replace(BTC_QUOTE, last=None),
            Refusal("last_off_book", "last 71401 is far outside of 70000.170 to 70000.19", "BTC-USD"),
        ],
    ),
    "prices with exponents": (
        ticker_frame(BTC.replace('"70000.170"', '"7.000017e4"')),
        [replace(BTC_QUOTE, bid=parse_price(b"70000.17"))],
    ),
    "no ticker at all": (ticker_frame(), [Refusal("missing_field", "no ticker in a frame of tickers")]),
    "a time of 1970": (
        ticker_frame(BTC, head='"timestamp":"1970-01-01T00:00:00Z"'),
        [Refusal("bad_time", "0 ns is not within 1970 to 2262", "BTC-USD")],
    ),
    "a zero beside a good ticker": (
        ticker_frame(BTC.replace('"70000.170"', '"0"'), ETH),
        [Refusal("nonpositive_price", "bid: '0' is not above zero", "BTC-USD"), ETH_QUOTE],
    ),
    "a lost field": (
        ticker_frame(BTC.replace("best_ask", "bestAsk")),
        [Refusal("missing_field", "ask", "BTC-USD")],
    ),
    "a price that is no price": (
        ticker_frame(BTC.replace('"70000.18"', '"1E+999999999"')),
        [Refusal("bad_number", "last: '1E+999999999' is not a price", "BTC-USD")],
    ),
    "a time that is no time": (
        ticker_frame(BTC, head='"timestamp":"yesterday"'),
        [Refusal("bad_time", '"yesterday"', "BTC-USD")],
    ),
    "an acknowledgement": (
        (
            b'{"channel":"subscriptions","sequence_num":2,"events":[{"subscriptions":'
            b'{"heartbeats":["heartbeats"],"ticker":["ETH-USD","BTC-USD"]}}]}'
        ),
        [Subscribed(("ETH-USD", "BTC-USD"))],
    ),
    "an acknowledgement of another channel": (
        b'{"channel":"subscriptions","events":[{"subscriptions":{"heartbeats":["heartbeats"]}}]}',
        [Subscribed(())],
    ),
    "a heartbeat": (b'{"channel":"heartbeats","sequence_num":7,"events":[{"heartbeat_counter":41}]}', [Alive()]),
    "a channel that nobody asked for": (
        b'{"channel":"candles","sequence_num":7,"events":[{"type":"update","candles":[{"start":"1"}]}]}',
        [Refusal("unknown_shape", "the channel 'candles', which nobody asked for")],
    ),
    "an unknown product": (
        error_frame("Failed to subscribe", "ABC-USD is not a valid product"),
        [UnknownSymbol("ABC-USD", rejected_whole_frame=True)],
    ),
    "another error": (
        error_frame("Failed to subscribe", "No channels provided"),
        [Refusal("exchange_error", "Failed to subscribe: No channels provided")],
    ),
    "the other feed's ticker": (
        b'{"type":"ticker","product_id":"BTC-USD","price":"1"}',
        [Refusal("unknown_shape", "neither a channel nor an error, type 'ticker'")],
    ),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert coinbase.new_decoder().on_frame(frame) == events


def test_a_gap_in_the_sequence_costs_the_connection_but_not_the_price() -> None:
    """The first number may be any; later ones must follow, over all channels."""
    decoder = coinbase.new_decoder()
    assert decoder.on_frame(ticker_frame(BTC, sequence=40)) == [BTC_QUOTE]
    assert decoder.on_frame(b'{"channel":"heartbeats","sequence_num":41}') == [Alive()]
    detail = "message 44 came where 42 was due"
    assert decoder.on_frame(ticker_frame(BTC, sequence=44)) == [
        BTC_QUOTE,
        Refusal("bad_sequence", detail),
        Reconnect("sequence", detail),
    ]
    assert decoder.on_frame(ticker_frame(BTC, sequence=45)) == [BTC_QUOTE]


def test_one_message_subscribes_one_channel() -> None:
    """All products share a message; the heartbeats have their own."""
    assert [json.loads(frame) for frame in coinbase.new_decoder().subscribe(["BTC-USD", "ETH-USD"], 0)] == [
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "ticker"},
        {"type": "subscribe", "channel": "heartbeats"},
    ]


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """BASE-QUOTE, unless the catalog names it."""
    assert coinbase.symbol_of(Market("coinbase", "BTC", "USD")) == "BTC-USD"
    assert coinbase.symbol_of(Market("coinbase", "JUP", "USD", "JUPITER-USD")) == "JUPITER-USD"


REQUEST = RestRequest("/products/BTC-USD/ticker", ("BTC-USD",))
REST_CASES: dict[str, tuple[int, bytes, list[Event]]] = {
    "a ticker": (
        200,
        b'{"ask":"70000.19","bid":"70000.170","trade_id":1,"price":"70000.18","time":"2026-01-02T03:04:05.123456789Z"}',
        [BTC_QUOTE],
    ),
    "an answer about another product": (
        200,
        b'{"product_id":"ETH-USD","ask":"2","bid":"1","price":"1"}',
        [Refusal("unknown_symbol", "it is about ETH-USD", "BTC-USD")],
    ),
    "an empty side": (
        200,
        b'{"ask":"","bid":"1","price":"1"}',
        [Quote("BTC-USD", parse_price(b"1"), None, parse_price(b"1"), None)],
    ),
    "a lost field": (200, b'{"ask":"2","bid":"1"}', [Refusal("missing_field", "last", "BTC-USD")]),
    "no JSON": (200, b"", [Refusal("not_json", "Input data was truncated", "BTC-USD")]),
    "an unknown product": (404, b'{"message":"NotFound"}', [UnknownSymbol("BTC-USD")]),
    "too many requests": (429, b"slow down", [Refusal("exchange_error", "HTTP 429: slow down", "BTC-USD")]),
}


@pytest.mark.parametrize(("status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert coinbase.rest_requests(["BTC-USD"]) == [REQUEST]
    assert coinbase.on_rest(REQUEST, status, body) == events
