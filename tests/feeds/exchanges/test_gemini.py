"""feeds/exchanges/gemini.py"""

import json

import pytest
from msgspec.structs import replace

from feeds.exchanges import gemini
from feeds.exchanges.contract import Alive, Event, Quote, Refusal, RestRequest, Subscribed, UnknownSymbol, parse_price
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_456_789  # above 2**53: a double would lose its end
BOOK = b'{"u":7,"E":1767323045123456789,"s":"btcusd","b":"70000.17000","B":"0.1","a":"70000.19000","A":"0.2"}'
TRADE = b'{"E":1767323045123456799,"s":"btcusd","t":9,"p":"70000.18000","q":"0.01","m":true}'
BID, ASK, LAST = parse_price(b"70000.17000"), parse_price(b"70000.19000"), parse_price(b"70000.18000")

BOOK_QUOTE = Quote("btcusd", BID, ASK, None, TIME_NS, tells_last=False)
TRADE_QUOTE = Quote("btcusd", None, None, LAST, TIME_NS + 10, tells_book=False)

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a book": (BOOK, [BOOK_QUOTE]),
    "a book with the last trade in it": (
        BOOK.replace(b'"A":"0.2"', b'"A":"0.2","c":"70000.18000","C":"1"'),
        [Quote("btcusd", BID, ASK, LAST, TIME_NS)],
    ),
    "a trade": (TRADE, [TRADE_QUOTE]),
    "an empty side": (BOOK.replace(b'"70000.17000"', b'""'), [replace(BOOK_QUOTE, bid=None)]),
    "no sides": (b'{"u":7,"E":1767323045123456789,"s":"btcusd"}', [replace(BOOK_QUOTE, bid=None, ask=None)]),
    "milliseconds": (
        TRADE.replace(b"1767323045123456799", b"1767323045123"),
        [replace(TRADE_QUOTE, exchange_time_ns=1_767_323_045_123_000_000)],
    ),
    "a trade that got a name": (TRADE.replace(b"{", b'{"e":"trade",', 1), [TRADE_QUOTE]),
    "a trade whose price is empty": (TRADE.replace(b"70000.18000", b""), [Refusal("missing_field", "p", "btcusd")]),
    "a trade without its price": (TRADE.replace(b'"p"', b'"P"'), [Refusal("missing_field", "p", "btcusd")]),
    "a price of zero": (
        TRADE.replace(b"70000.18000", b"0.00000"),
        [Refusal("nonpositive_price", "p: '0.00000' is not above zero", "btcusd")],
    ),
    "an acknowledgement of nothing that was asked": (
        b'{"id":1,"status":200}',
        [Refusal("bad_acknowledgement", "an answer to 1, which was not asked")],
    ),
    "a pong": (b'{"id":0,"status":200}', [Alive()]),
    "an unknown symbol": (
        b'{"id":1,"status":400,"error":{"code":-1013,"msg":"Invalid stream name: abcusd@trade"}}',
        [UnknownSymbol("abcusd", rejected_whole_frame=True)],
    ),
    "another error": (
        b'{"id":1,"status":400,"error":{"code":-1020,"msg":"Unsupported operation"}}',
        [Refusal("exchange_error", "status 400: Unsupported operation")],
    ),
    "an event that nobody asked for": (
        b'{"e":"depthUpdate","E":1,"s":"btcusd","U":1,"u":2,"b":[["1","2"]],"a":[]}',
        [Refusal("unknown_shape", "the event 'depthUpdate', which nobody asked for")],
    ),
    "a shape that nobody knows": (
        b'{"type":"heartbeat","timestamp":1}',
        [Refusal("unknown_shape", "neither an answer, a book nor a trade")],
    ),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert gemini.new_decoder().on_frame(frame) == events


def test_an_acknowledgement_names_what_its_frame_asked_for() -> None:
    """One frame subscribes both streams of all symbols; its id comes back."""
    decoder = gemini.new_decoder()
    (frame,) = decoder.subscribe(["btcusd", "ethusd"], 0)
    message = json.loads(frame)
    assert message["method"] == "subscribe"
    assert message["params"] == ["btcusd@bookTicker", "btcusd@trade", "ethusd@bookTicker", "ethusd@trade"]
    assert decoder.on_frame(b'{"id":%d,"status":200}' % message["id"]) == [Subscribed(("btcusd", "ethusd"))]
    (ping,) = decoder.ping(0)
    assert json.loads(ping)["id"] != message["id"]


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """Lower case without a sign between, unless the catalog names it."""
    assert gemini.symbol_of(Market("gemini", "BTC", "USD")) == "btcusd"
    assert gemini.symbol_of(Market("gemini", "RENDER", "USD", "rndrusd")) == "rndrusd"


REQUEST = RestRequest("/v1/pubticker/btcusd", ("btcusd",))
TICKER = (
    b'{"bid":"70000.17000","ask":"70000.19000","last":"70000.18000",'
    b'"volume":{"BTC":"9.5","USD":"9.5","timestamp":1767323045123}}'
)
REST_CASES: dict[str, tuple[int, bytes, list[Event]]] = {
    "a ticker": (
        200,
        TICKER,
        [Quote("btcusd", BID, ASK, LAST, 1_767_323_045_123_000_000)],
    ),
    "a time of five minutes is that of the volume": (
        200,
        (
            b'{"ask":"11388.08","bid":"11381.50","last":"11381.47","volume":{"BTC":"915.6534281291",'
            b'"USD":"10394749.066094351423000000000000000095","timestamp":1565587800000}}'
        ),
        [Quote("btcusd", parse_price(b"11381.50"), parse_price(b"11388.08"), parse_price(b"11381.47"), None)],
    ),
    "no volume": (
        200,
        b'{"bid":"70000.17000","ask":"70000.19000","last":"70000.18000"}',
        [Quote("btcusd", BID, ASK, LAST, None)],
    ),
    "an answer about another symbol": (
        200,
        TICKER.replace(b"BTC", b"ETH"),
        [Refusal("unknown_symbol", "it is about ethusd", "btcusd")],
    ),
    "a last price of another day": (
        200,
        TICKER.replace(b'"70000.18000"', b'"72900"'),
        [
            Quote("btcusd", BID, ASK, None, 1_767_323_045_123_000_000),
            Refusal("last_off_book", "last 72900 is far outside of 70000.17000 to 70000.19000", "btcusd"),
        ],
    ),
    "a lost field": (200, b'{"ask":"2","bid":"1"}', [Refusal("missing_field", "last", "btcusd")]),
    "an unknown symbol": (
        400,
        b'{"message":"Supplied value \'abcusd\' is not a valid symbol.","reason":"Bad Request","result":"error"}',
        [UnknownSymbol("btcusd")],
    ),
    "too many requests": (429, b"", [Refusal("exchange_error", "HTTP 429: ", "btcusd")]),
    "no JSON": (200, b"<html>", [Refusal("not_json", "JSON is malformed: invalid character (byte 0)", "btcusd")]),
}


@pytest.mark.parametrize(("status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert gemini.rest_requests(["btcusd"]) == [REQUEST]
    assert gemini.on_rest(REQUEST, status, body) == events
