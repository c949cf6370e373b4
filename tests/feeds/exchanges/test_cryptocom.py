"""feeds/exchanges/cryptocom.py"""

import json

import pytest

from feeds.exchanges import cryptocom
from feeds.exchanges.contract import Event, Quote, Refusal, Reply, RestRequest, Subscribed, UnknownSymbol, parse_price
from trinity.markets import Market

TIME_NS = 1_767_323_045_123_000_000
BTC = '{"i":"BTC_USD","b":"70000.10","bs":"1","k":"70000.3","ks":"1","a":"70000.2","h":null,"t":1767323045123}'
BTC_QUOTE = Quote("BTC_USD", parse_price(b"70000.10"), parse_price(b"70000.3"), parse_price(b"70000.2"), TIME_NS)
NAMES = '"instrument_name":"BTC_USD","subscription":"ticker.BTC_USD","channel":"ticker"'


def ticker_frame(*tickers: str, head: str = '"id":-1,') -> bytes:
    result = f'{{{NAMES},"data":[{",".join(tickers)}]}}'
    return f'{{{head}"method":"subscribe","code":0,"result":{result}}}'.encode()


CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a ticker": (ticker_frame(BTC), [BTC_QUOTE]),
    "the first ticker carries the request's id": (
        ticker_frame(BTC, head='"id":1,'),
        [Subscribed(("BTC_USD",)), BTC_QUOTE],
    ),
    "an older ticker without id, with numbers": (
        ticker_frame('{"i":"BTC_USD","b":70000.10,"k":70000.3,"a":70000.2,"t":1767323045123}', head=""),
        [BTC_QUOTE],
    ),
    "several tickers, one without its name": (
        ticker_frame(BTC, BTC.replace('"i":"BTC_USD",', "")),
        [BTC_QUOTE, BTC_QUOTE],
    ),
    "no book": (
        ticker_frame(BTC.replace('"70000.10"', "null").replace('"70000.3"', "null")),
        [Quote("BTC_USD", None, None, parse_price(b"70000.2"), TIME_NS)],
    ),
    "no trade": (
        ticker_frame(BTC.replace('"70000.2"', "null")),
        [Quote("BTC_USD", parse_price(b"70000.10"), parse_price(b"70000.3"), None, TIME_NS)],
    ),
    "no price at all": (
        ticker_frame('{"i":"BTC_USD","b":null,"k":null,"a":null,"t":1}'),
        [Quote("BTC_USD", None, None, None, 10**9)],
    ),
    "a zero": (
        ticker_frame(BTC.replace('"70000.3"', '"0"')),
        [Refusal("nonpositive_price", "ask: '0' is not above zero", "BTC_USD")],
    ),
    "a lost field": (ticker_frame(BTC.replace('"b"', '"B"')), [Refusal("missing_field", "bid", "BTC_USD")]),
    "a time that is no time": (
        ticker_frame(BTC.replace("1767323045123", "17.5")),
        [Refusal("bad_time", "17.5", "BTC_USD")],
    ),
    "an acknowledgement without prices": (
        f'{{"id":1,"method":"subscribe","code":0,"result":{{{NAMES}}}}}'.encode(),
        [Subscribed(("BTC_USD",))],
    ),
    "a later ticker without prices": (
        f'{{"id":-1,"method":"subscribe","code":0,"result":{{{NAMES}}}}}'.encode(),
        [Refusal("missing_field", "data")],
    ),
    "a bare acknowledgement": (
        b'{"id":1,"code":0,"method":"subscribe"}',
        [Refusal("bad_acknowledgement", "a confirmation of 1, which was not asked")],
    ),
    "nanoseconds": (ticker_frame(BTC.replace("1767323045123", "1767323045123000000")), [BTC_QUOTE]),
    "a ticker of another instrument than its frame": (
        ticker_frame(BTC.replace('"i":"BTC_USD"', '"i":"ETH_USD"')),
        [Refusal("unknown_symbol", "it is about ETH_USD", "BTC_USD")],
    ),
    "no ticker at all": (ticker_frame(), [Refusal("missing_field", "no ticker in a frame of tickers")]),
    "a heartbeat without an id": (b'{"method":"public/heartbeat","code":0}', [Refusal("missing_field", "id")]),
    "no code": (b'{"id":1,"method":"subscribe"}', [Refusal("missing_field", "code")]),
    "another channel": (
        b'{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USD","channel":"trade","data":[{"d":"1","q":"2"}]}}',
        [Refusal("unknown_shape", "the channel 'trade', which nobody asked for")],
    ),
    "a heartbeat is answered with its id": (
        b'{"id":1767323045123,"method":"public/heartbeat","code":0}',
        [Reply('{"id":1767323045123,"method":"public/respond-heartbeat"}')],
    ),
    "an unknown symbol": (
        b'{"id":1,"method":"subscribe","code":40003,"channel":"ticker.ABC_USD","message":"Unknown symbol"}',
        [UnknownSymbol("ABC_USD")],
    ),
    "too many subscriptions": (
        b'{"id":9,"method":"subscribe","code":40107,"message":"Maximum subscriptions exceeded"}',
        [Refusal("exchange_error", "code 40107: Maximum subscriptions exceeded")],
    ),
    "a shape that nobody knows": (
        b'{"id":9,"code":0}',
        [Refusal("unknown_shape", "the method '', which nobody asked for")],
    ),
}


@pytest.mark.parametrize(("frame", "events"), CASES.values(), ids=CASES)
def test_a_frame_means_its_events(frame: bytes, events: list[Event]) -> None:
    """Each documented frame gives exactly these events."""
    assert cryptocom.new_decoder().on_frame(frame) == events


def test_a_frame_subscribes_at_most_a_hundred_channels() -> None:
    """More go into further frames, each with its own id."""
    symbols = [f"A{i}_USD" for i in range(250)]
    frames = [json.loads(f) for f in cryptocom.new_decoder().subscribe(symbols, 1_767_323_045_123_999_999)]
    assert [len(frame["params"]["channels"]) for frame in frames] == [100, 100, 50]
    assert [frame["id"] for frame in frames] == [1, 2, 3]
    assert frames[0]["nonce"] == 1_767_323_045_123
    assert [c for frame in frames for c in frame["params"]["channels"]] == [f"ticker.{s}" for s in symbols]


def test_a_symbol_follows_from_the_naming_rule() -> None:
    """BASE_QUOTE."""
    assert cryptocom.symbol_of(Market("cryptocom", "BTC", "USD")) == "BTC_USD"


ONE = RestRequest("/exchange/v1/public/get-tickers?instrument_name=BTC_USD", ("BTC_USD",))
TWO = RestRequest("/exchange/v1/public/get-tickers", ("BTC_USD", "ETH_USD"))


def test_one_get_fetches_all_instruments() -> None:
    """A single one is asked for by name; several come out of the list of all."""
    assert cryptocom.rest_requests([]) == []
    assert cryptocom.rest_requests(["BTC_USD"]) == [ONE]
    assert cryptocom.rest_requests(["BTC_USD", "ETH_USD"]) == [TWO]


UNKNOWN = b'{"id":-1,"method":"public/get-tickers","code":40003,"message":"Unknown symbol"}'
REST_CASES: dict[str, tuple[RestRequest, int, bytes, list[Event]]] = {
    "the list of all, without one that was asked for": (
        TWO,
        200,
        f'{{"id":-1,"code":0,"result":{{"data":[{BTC},{{"i":"BTCUSD-PERP","b":"0"}}]}}}}'.encode(),
        [BTC_QUOTE, Refusal("unknown_symbol", "not in the answer", "ETH_USD")],
    ),
    "an unknown symbol": (ONE, 200, UNKNOWN, [UnknownSymbol("BTC_USD")]),
    "an unknown symbol with the status of an error": (ONE, 400, UNKNOWN, [UnknownSymbol("BTC_USD")]),
    "too many requests": (
        ONE,
        429,
        b'{"code":42901}',
        [Refusal("exchange_error", 'HTTP 429: {"code":42901}', "BTC_USD")],
    ),
    "no result": (ONE, 200, b'{"code":0}', [Refusal("missing_field", "result")]),
}


@pytest.mark.parametrize(("request_", "status", "body", "events"), REST_CASES.values(), ids=REST_CASES)
def test_a_rest_answer_means_its_events(request_: RestRequest, status: int, body: bytes, events: list[Event]) -> None:
    """Each documented answer gives exactly these events."""
    assert cryptocom.on_rest(request_, status, body) == events
