"""feeds/exchanges/gateio.py"""

import json

import pytest
from msgspec.structs import replace

from feeds.exchanges import gateio
from feeds.exchanges.contract import Alive, Event, Quote, Refusal, RestRequest, Subscribed, UnknownSymbol, parse_price
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_000_000
HEAD = '"time":1767323045,"time_ms":1767323045123'
BTC = '{"currency_pair":"BTC_USDT","last":"70000.20","lowest_ask":"70000.3","highest_bid":"70000.1"}'
BTC_QUOTE = Quote("BTC_USDT", parse_price(b"70000.1"), parse_price(b"70000.3"), parse_price(b"70000.20"), TIME_NS)


def ticker_frame(result: str, head: str = HEAD) -> bytes:
    return f'{{{head},"channel":"spot.tickers","event":"update","result":{result}}}'.encode()


def error_frame(message: str) -> bytes:
    error = {"code": 2, "message": message}
    frame = {"time": 1, "channel": "spot.tickers", "event": "subscribe", "error": error, "result": {"status": "fail"}}
    return json.dumps(frame).encode()


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a ticker": (ticker_frame(BTC), [BTC_QUOTE]),
    "several tickers": (ticker_frame(f"[{BTC},{BTC}]"), [BTC_QUOTE, BTC_QUOTE]),
    "whole seconds where there are no milliseconds": (
        ticker_frame(BTC, '"time":1767323045'),
        [replace(BTC_QUOTE, exchange_time_ns=1_767_323_045_000_000_000)],
    ),
    "no time": (ticker_frame(BTC, '"trace_id":"a"'), [replace(BTC_QUOTE, exchange_time_ns=None)]),
    "a zero": (
        ticker_frame(BTC.replace('"70000.20"', '"0"')),
        [Refusal("nonpositive_price", "last: '0' is not above zero", "BTC_USDT")],
    ),
    "a lost field": (ticker_frame(BTC.replace("last", "Last", 1)), [Refusal("missing_field", "last", "BTC_USDT")]),
    "no pair": (ticker_frame(BTC.replace("currency_pair", "pair")), [Refusal("missing_field", "symbol")]),
    "no result": (
        f'{{{HEAD},"channel":"spot.tickers","event":"update"}}'.encode(),
        [Refusal("missing_field", "result")],
    ),
    "an event that nobody knows": (
        f'{{{HEAD},"channel":"spot.tickers","event":"upgrade"}}'.encode(),
        [Refusal("unknown_shape", "spot.tickers with the event 'upgrade'")],
    ),
    "an acknowledgement of nothing that was asked": (
        b'{"time":1,"channel":"spot.tickers","event":"subscribe","error":null,"result":{"status":"success"}}',
        [Refusal("bad_acknowledgement", "a confirmation of None, which was not asked")],
    ),
    "a confirmation that failed without an error": (
        b'{"time":1,"channel":"spot.tickers","event":"subscribe","result":{"status":"fail"}}',
        [Refusal("bad_acknowledgement", "the subscription's status is 'fail'")],
    ),
    "no ticker at all": (ticker_frame("[]"), [Refusal("missing_field", "no ticker in a frame of tickers")]),
    "nanoseconds": (ticker_frame(BTC, '"time":1,"time_ms":1767323045123000000'), [BTC_QUOTE]),
    "an unknown pair": (
        error_frame("unknown currency pair: ABC_USDT"),
        [UnknownSymbol("ABC_USDT", rejected_whole_frame=True)],
    ),
    "another error": (
        error_frame("request payload does not follow json schema"),
        [Refusal("bad_acknowledgement", "code 2: request payload does not follow json schema")],
    ),
    "a pong": (b'{"time":1,"channel":"spot.pong","event":"","result":null}', [Alive()]),
    "a channel that nobody asked for": (
        b'{"time":1,"channel":"spot.trades","event":"update","result":{"id":1}}',
        [Refusal("unknown_shape", "the channel 'spot.trades', which nobody asked for")],
    ),
    "a shape that nobody knows": (
        b'{"method":"ticker.update","params":[]}',
        [Refusal("unknown_shape", "no channel")],
    ),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert gateio.new_decoder().on_frame(frame) == events


def test_an_acknowledgement_names_what_its_frame_asked_for() -> None:
    """One frame subscribes all pairs; its id comes back."""
    decoder = gateio.new_decoder()
    (frame,) = decoder.subscribe(["BTC_USDT", "ETH_USDT"], 1_767_323_045_999_999_999)
    assert json.loads(frame) == {
        "time": 1767323045,
        "id": 1,
        "channel": "spot.tickers",
        "event": "subscribe",
        "payload": ["BTC_USDT", "ETH_USDT"],
    }
    answer = b'{"time":1,"id":1,"channel":"spot.tickers","event":"subscribe","result":{"status":"success"}}'
    assert decoder.on_frame(answer) == [Subscribed(("BTC_USDT", "ETH_USDT"))]


def test_the_ping_is_the_applications() -> None:
    """It carries whole seconds of wall time."""
    assert gateio.new_decoder().ping(1_767_323_045_999_999_999) == ['{"time":1767323045,"channel":"spot.ping"}']


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """BASE_QUOTE."""
    assert gateio.symbol_of(Market("gateio", "BTC", "USDT")) == "BTC_USDT"


def test_one_get_fetches_all_pairs() -> None:
    """A single pair is asked for by name; several come out of the list of all."""
    assert gateio.rest_requests([]) == []
    assert gateio.rest_requests(["BTC_USDT"]) == [ONE]
    assert gateio.rest_requests(["BTC_USDT", "ETH_USDT"]) == [TWO]


ONE = RestRequest("/api/v4/spot/tickers?currency_pair=BTC_USDT", ("BTC_USDT",))
TWO = RestRequest("/api/v4/spot/tickers", ("BTC_USDT", "ETH_USDT"))
UNKNOWN = b'{"label":"INVALID_CURRENCY_PAIR","message":"Invalid currency pair BTC_USDT"}'
REST_CASES: dict[str, tuple[RestRequest, int, bytes, list[Event]]] = {
    "the list of all": (
        TWO,
        200,
        f"[{BTC},{BTC.replace('BTC', 'ABC').replace('70000', '0')},{BTC.replace('BTC', 'ETH')}]".encode(),
        [
            replace(BTC_QUOTE, exchange_time_ns=None),
            replace(BTC_QUOTE, symbol="ETH_USDT", exchange_time_ns=None),
        ],
    ),
    "a pair that is not in the list": (
        TWO,
        200,
        f"[{BTC}]".encode(),
        [
            replace(BTC_QUOTE, exchange_time_ns=None),
            Refusal("unknown_symbol", "not in the answer", "ETH_USDT"),
        ],
    ),
    "an unknown pair": (ONE, 400, UNKNOWN, [UnknownSymbol("BTC_USDT")]),
    "an unknown pair, but asked for with others": (
        TWO,
        400,
        UNKNOWN,
        [Refusal("exchange_error", f"HTTP 400: {UNKNOWN.decode()}")],
    ),
    "too many requests": (
        ONE,
        429,
        b'{"label":"TOO_MANY_REQUESTS"}',
        [Refusal("exchange_error", 'HTTP 429: {"label":"TOO_MANY_REQUESTS"}', "BTC_USDT")],
    ),
    "no list": (TWO, 200, b"{}", [Refusal("unknown_shape", "Expected `array`, got `object`")]),
}


@pytest.mark.parametrize(("request_", "status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(request_: RestRequest, status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert gateio.on_rest(request_, status, body) == events
