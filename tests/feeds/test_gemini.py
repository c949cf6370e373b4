"""feeds/gemini.py"""

import json
from decimal import Decimal

import pytest

from feeds import gemini
from feeds.wire import Alive, Event, Quote, Refusal, RestRequest, Subscribed, UnknownSymbol
from trinity.limits import ASSETS_MAX
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_456_789  # above 2**53: a double would lose its end
BOOK = b'{"u":7,"E":1767323045123456789,"s":"btcusd","b":"70000.17000","B":"0.1","a":"70000.19000","A":"0.2"}'
TRADE = b'{"E":1767323045123456799,"s":"btcusd","t":9,"p":"70000.18000","q":"0.01","m":true}'
BID, ASK, LAST = Decimal("70000.17000"), Decimal("70000.19000"), Decimal("70000.18000")

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a book": (BOOK, [Quote("btcusd", BID, ASK, None, TIME_NS)]),
    "a book with the last trade in it": (
        BOOK.replace(b'"A":"0.2"', b'"A":"0.2","c":"70000.18000","C":"1"'),
        [Quote("btcusd", BID, ASK, LAST, TIME_NS)],
    ),
    "a trade": (TRADE, [Quote("btcusd", None, None, LAST, TIME_NS + 10)]),
    "an empty side": (BOOK.replace(b'"70000.17000"', b'""'), [Alive()]),
    "no sides": (b'{"u":7,"E":1767323045123456789,"s":"btcusd"}', [Alive()]),
    "a trade without its price": (TRADE.replace(b'"p"', b'"P"'), [Refusal("missing_field", "p", "btcusd")]),
    "a price of zero": (
        TRADE.replace(b"70000.18000", b"0.00000"),
        [Refusal("nonpositive_price", "p: '0.00000' is not above zero", "btcusd")],
    ),
    "an acknowledgement of nothing that was asked": (b'{"id":1,"status":200}', [Alive()]),
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
        [Alive()],
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


def test_book_and_trade_complete_each_other() -> None:
    """A frame carries one half; the quote has the newest of both, of this symbol only."""
    decoder = gemini.new_decoder()
    decoder.on_frame(BOOK)
    assert decoder.on_frame(TRADE) == [Quote("btcusd", BID, ASK, LAST, TIME_NS + 10)]
    assert decoder.on_frame(BOOK) == [Quote("btcusd", BID, ASK, LAST, TIME_NS)]
    assert decoder.on_frame(BOOK.replace(b"btc", b"eth")) == [Quote("ethusd", BID, ASK, None, TIME_NS)]
    empty = BOOK.replace(b'"70000.17000"', b'""')
    assert decoder.on_frame(empty) == [Quote("btcusd", None, None, LAST, TIME_NS)]
    assert decoder.on_frame(TRADE) == [Quote("btcusd", None, None, LAST, TIME_NS + 10)]


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    """Symbols beyond the bound still give their quotes, but are not remembered."""
    decoder = gemini.new_decoder()
    for i in range(ASSETS_MAX):
        decoder.on_frame(BOOK.replace(b"btc", b"x%d" % i))
    assert decoder.on_frame(BOOK) == [Quote("btcusd", BID, ASK, None, TIME_NS)]
    assert decoder.on_frame(TRADE) == [Quote("btcusd", None, None, LAST, TIME_NS + 10)]


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


REQUEST = RestRequest("/v2/ticker/btcusd", ("btcusd",))
REST_CASES: dict[str, tuple[int, bytes, list[Event]]] = {
    "a ticker": (
        200,
        b'{"symbol":"BTCUSD","close":"70000.18000","changes":["1"],"bid":"70000.17000","ask":"70000.19000"}',
        [Quote("btcusd", BID, ASK, LAST, None)],
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
