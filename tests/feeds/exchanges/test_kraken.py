"""feeds/exchanges/kraken.py"""

import json

import pytest
from msgspec.structs import replace

from feeds.exchanges import kraken
from feeds.exchanges.contract import Alive, Event, Quote, Refusal, RestRequest, Subscribed, UnknownSymbol, parse_price
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_456_000
BTC = (
    '{"symbol":"BTC/USD","bid":70000.10,"bid_qty":0.1,"ask":70000.3,"ask_qty":0.2,"last":70000.2,'
    '"trades":7,"timestamp":"2026-01-02T03:04:05.123456Z"}'
)
BTC_QUOTE = Quote("BTC/USD", parse_price(b"70000.10"), parse_price(b"70000.3"), parse_price(b"70000.2"), TIME_NS)


def ticker_frame(*tickers: str) -> bytes:
    return f'{{"channel":"ticker","type":"snapshot","data":[{",".join(tickers)}]}}'.encode()


NO_BOOK = '{"symbol":"ABC/USD","bid":0,"bid_qty":0,"ask":0.0,"ask_qty":0,"timestamp":"1970-01-01T00:00:00.000000Z"}'

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a ticker keeps the digits of its numbers": (ticker_frame(BTC), [BTC_QUOTE]),
    "no time, no last": (
        ticker_frame('{"symbol":"BTC/USD","bid":70000.10,"ask":70000.3}'),
        [Quote("BTC/USD", parse_price(b"70000.10"), parse_price(b"70000.3"), None, None)],
    ),
    "a dead pair": (ticker_frame(NO_BOOK), [Quote("ABC/USD", None, None, None, None)]),
    "a dead pair with a last price of nobody knows when": (
        ticker_frame(NO_BOOK.replace("{", '{"last":1.50,', 1)),
        [Quote("ABC/USD", None, None, None, None)],
    ),
    "no book, but a last price": (
        ticker_frame(BTC.replace("70000.10", "0").replace("70000.3", "0.0")),
        [replace(BTC_QUOTE, bid=None, ask=None)],
    ),
    "a book with a time of 1970": (
        ticker_frame(BTC.replace("2026-01-02T03:04:05.123456Z", "1970-01-01T00:00:00.000000Z")),
        [Refusal("bad_time", "0 ns is not within 1970 to 2262", "BTC/USD")],
    ),
    "no ticker at all": (ticker_frame(), [Refusal("missing_field", "no ticker in a frame of tickers")]),
    "a channel that nobody asked for": (
        b'{"channel":"ticker_v3","data":[]}',
        [Refusal("unknown_shape", "the channel 'ticker_v3', which nobody asked for")],
    ),
    "a zero on one side": (
        ticker_frame(BTC.replace("70000.10", "0")),
        [Refusal("nonpositive_price", "bid: '0' is not above zero", "BTC/USD")],
    ),
    "a negative price": (
        ticker_frame(BTC.replace("70000.10", "-70000.10")),
        [Refusal("nonpositive_price", "bid: '-70000.10' is not above zero", "BTC/USD")],
    ),
    "a number with an exponent": (
        ticker_frame(BTC.replace("70000.10", "1.25e-5")),
        [
            replace(BTC_QUOTE, bid=parse_price(b"0.0000125")),
        ],
    ),
    "a lost field beside a good ticker": (
        ticker_frame(BTC.replace('"ask"', '"Ask"'), BTC),
        [Refusal("missing_field", "ask", "BTC/USD"), BTC_QUOTE],
    ),
    "a ticker without data": (b'{"channel":"ticker","type":"update"}', [Refusal("missing_field", "data")]),
    "an acknowledgement": (
        b'{"method":"subscribe","result":{"channel":"ticker","event_trigger":"bbo","symbol":"BTC/USD"},"success":true}',
        [Subscribed(("BTC/USD",))],
    ),
    "an acknowledgement of another channel": (
        b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
        [Refusal("bad_acknowledgement", "a confirmation that names no ticker")],
    ),
    "an unknown pair": (
        b'{"error":"Currency pair not supported ABC/USD","method":"subscribe","success":false,"symbol":"ABC/USD"}',
        [UnknownSymbol("ABC/USD")],
    ),
    "an unknown pair, named in the text alone": (
        b'{"error":"Currency pair not supported ABC/USD","method":"subscribe","success":false}',
        [UnknownSymbol("ABC/USD")],
    ),
    "an unknown pair without a name": (
        b'{"error":"Currency pair not supported","method":"subscribe","success":false}',
        [Refusal("bad_acknowledgement", "Currency pair not supported")],
    ),
    "another error": (
        b'{"error":"Private data is unavailable","method":"subscribe","success":false}',
        [Refusal("bad_acknowledgement", "Private data is unavailable")],
    ),
    "too many messages": (b'{"Error":"Exceeded msg rate"}', [Refusal("exchange_error", "Exceeded msg rate")]),
    "a status": (
        b'{"channel":"status","type":"update","data":[{"system":"online","connection_id":18125794168470749634}]}',
        [Alive()],
    ),
    "a heartbeat": (b'{"channel":"heartbeat"}', [Alive()]),
    "a pong": (b'{"method":"pong","req_id":1,"success":true}', [Alive()]),
    "a shape that nobody knows": (b'{"event":"heartbeat"}', [Refusal("unknown_shape", "no channel, method ''")]),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert kraken.new_decoder().on_frame(frame) == events


def test_one_frame_subscribes_all_pairs_by_their_book() -> None:
    """The ticker is asked for on changes of the best bid and ask."""
    (frame,) = kraken.new_decoder().subscribe(["BTC/USD", "DOGE/USD"], 0)
    params = json.loads(frame)["params"]
    assert params["symbol"] == ["BTC/USD", "DOGE/USD"]
    assert params["event_trigger"] == "bbo"
    assert json.loads(kraken.new_decoder().ping(0)[0]) == {"method": "ping"}


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """BASE/QUOTE with today's names, not XBT."""
    assert kraken.symbol_of(Market("kraken", "BTC", "USD")) == "BTC/USD"


SYMBOLS = ("BTC/USD", "DOGE/USD", "XRP/USD", "USDT/USD", "SOL/USD")


def test_rest_answers_under_old_names_are_mapped_back() -> None:
    """One GET asks for all pairs; the keys of its answer are names of 2013 for some of them."""
    (request,) = kraken.rest_requests(SYMBOLS)
    assert request == RestRequest("/0/public/Ticker?pair=XBTUSD,XDGUSD,XRPUSD,USDTUSD,SOLUSD", SYMBOLS)
    keys = ("XXBTZUSD", "XDGUSD", "XXRPZUSD", "USDTZUSD", "SOL/USD")
    ticker = {"a": ["2.20", "1", "1.0"], "b": ["2.10", "1", "1.0"], "c": ["2.15", "0.1"], "o": "2"}
    body = json.dumps({"error": [], "result": dict.fromkeys((*keys, "XETHZUSD"), ticker)}).encode()
    assert kraken.on_rest(request, 200, body) == [
        Quote(symbol, parse_price(b"2.10"), parse_price(b"2.20"), parse_price(b"2.15"), None) for symbol in SYMBOLS
    ]


ONE = RestRequest("/0/public/Ticker?pair=ABCUSD", ("ABC/USD",))
TWO = RestRequest("/0/public/Ticker?pair=ABCUSD,SOLUSD", ("ABC/USD", "SOL/USD"))
UNKNOWN = b'{"error":["EQuery:Unknown asset pair"]}'
REST_CASES: dict[str, tuple[RestRequest, int, bytes, list[Event]]] = {
    "an unknown pair asked for alone": (ONE, 200, UNKNOWN, [UnknownSymbol("ABC/USD")]),
    "an unknown pair among others": (
        TWO,
        200,
        UNKNOWN,
        [Refusal("exchange_error", f"HTTP 200: {UNKNOWN.decode()}")],
    ),
    "too many requests": (ONE, 429, b"", [Refusal("exchange_error", "HTTP 429: ", "ABC/USD")]),
    "a pair that is not in the answer": (
        ONE,
        200,
        b'{"error":[],"result":{}}',
        [Refusal("unknown_symbol", "not in the answer", "ABC/USD")],
    ),
    "a lost field": (
        ONE,
        200,
        b'{"error":[],"result":{"ABCUSD":{"a":["2"],"b":["1"]}}}',
        [Refusal("missing_field", "Object missing required field `c`", "ABC/USD")],
    ),
    "an empty side": (
        ONE,
        200,
        b'{"error":[],"result":{"ABCUSD":{"a":[],"b":["1"],"c":["1"]}}}',
        [Refusal("missing_field", "ask", "ABC/USD")],
    ),
    "no object": (ONE, 200, b"[]", [Refusal("unknown_shape", "Expected `object`, got `array`")]),
}


@pytest.mark.parametrize(("request_", "status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(request_: RestRequest, status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert kraken.on_rest(request_, status, body) == events


def test_nothing_is_asked_for_no_symbols() -> None:
    """Without a pair the exchange would answer with all of them."""
    assert kraken.rest_requests([]) == []
