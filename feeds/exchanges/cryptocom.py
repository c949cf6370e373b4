"""Crypto.com Exchange, WebSocket v1. Documentation: "Exchange API v1: ticker.{instrument_name}, public/get-tickers".

Published limits: 400 subscriptions per connection; 100 requests/s on the market socket, counted by the calendar second
of the connect, so wait 1 s before the first; REST 100 requests/s per address for each method. The server sends
`public/heartbeat` every 30 s and closes the connection of a client that does not answer with the same id.

A ticker subscription has no acknowledgement of its own: its first data frame carries the id of the request, later
ones -1.
"""

import re
from collections.abc import Sequence

import msgspec

from feeds.exchanges.contract import (
    BadFieldError,
    Event,
    Listed,
    Profile,
    Refusal,
    Reply,
    RestRequest,
    Subscribed,
    UnknownSymbol,
)
from feeds.exchanges.fields import (
    ABSENT,
    ALIVE,
    HTTP_OK,
    NULL,
    decode_body,
    decode_field,
    decode_frame,
    present,
    read_ticker,
    refusal,
    refuse_missing,
    refuse_rest,
    tickers_of,
)
from feeds.exchanges.frequent import ASK, BID, LAST, NAMED, SYMBOL, TIME, make_memory
from feeds.exchanges.listing import Pair, read_listing
from feeds.exchanges.walk import LEAVE, make_form
from trinity.clock import NS_PER_MS
from trinity.markets import Market

PROFILE = Profile(
    name="cryptocom",
    ws_url="wss://stream.crypto.com",
    ws_path="/exchange/v1/market",
    rest_url="https://api.crypto.com",
    ping_seconds=None,  # the server's heartbeats keep the connection alive
    silence_seconds=40,  # one heartbeat of 30 s missed, and a margin
    connect_gap_seconds=1,
    settle_seconds=1,
    rest_gap_seconds=0.1,  # 10 requests/s of the 100
)

# As many as were seen accepted in one frame.
_CHANNELS_PER_FRAME = 100
_TICKERS_PATH = "/exchange/v1/public/get-tickers"
_INSTRUMENTS_PATH = "/exchange/v1/public/get-instruments"
_PUSHED_IDS = (-1, None)
_UNKNOWN = re.compile(r"unknown symbol|(?:unsupported|invalid) instrument", re.IGNORECASE)
_TICKER_CHANNEL = re.compile(r"ticker\.([A-Za-z0-9_-]{1,40})")


class _Ticker(msgspec.Struct):
    """{"i":"BTC_USD","b":"70000.17","k":"70000.18","a":"70000.18","t":1767322800123, ...}

    Instrument, bid, ask, last and milliseconds; a price may be null. An older version of the protocol
    sent the same fields as numbers.
    """

    instrument: str = msgspec.field(name="i", default="")
    bid: msgspec.Raw = msgspec.field(name="b", default=ABSENT)
    ask: msgspec.Raw = msgspec.field(name="k", default=ABSENT)
    last: msgspec.Raw = msgspec.field(name="a", default=ABSENT)
    time: msgspec.Raw = msgspec.field(name="t", default=NULL)


class _Result(msgspec.Struct):
    """{"instrument_name":"BTC_USD","subscription":"ticker.BTC_USD","channel":"ticker","data":[...]}"""

    channel: str = ""
    instrument_name: str = ""
    data: list[_Ticker] | msgspec.UnsetType = msgspec.UNSET


class _Frame(msgspec.Struct):
    """{"id":-1,"method":"subscribe","code":0,"result":{...}}, the id of the request in the first one of a subscription
    {"id":1767322800123,"method":"public/heartbeat","code":0}
    {"id":11,"method":"subscribe","code":40003,"channel":"ticker.ABC_USD","message":"Unknown symbol"}
    """

    method: str = ""
    id: int | None = None
    code: int | None = None
    channel: str | None = None
    message: str | None = None
    result: _Result | msgspec.UnsetType = msgspec.UNSET


class _RestResult(msgspec.Struct):
    """{"data":[...]}"""

    data: list[_Ticker]


class _RestAnswer(msgspec.Struct):
    """{"id":-1,"method":"public/get-tickers","code":0,"result":{"data":[...]}}"""

    code: int
    result: msgspec.Raw = ABSENT


class _Instrument(msgspec.Struct):
    """{"symbol":"BTC_USD","inst_type":"CCY_PAIR","base_ccy":"BTC","quote_ccy":"USD","tradable":true, ...}"""

    symbol: str
    kind: str = msgspec.field(name="inst_type", default="")
    base: str = msgspec.field(name="base_ccy", default="")
    quote: str = msgspec.field(name="quote_ccy", default="")
    tradable: bool = False


class _Instruments(msgspec.Struct):
    """{"data":[...]}"""

    data: list[_Instrument] = []


class _RestInstruments(msgspec.Struct):
    """{"id":1,"method":"public/get-instruments","code":0,"result":{"data":[...]}}"""

    result: _Instruments


_FRAME = msgspec.json.Decoder(_Frame)
_REST_ANSWER = msgspec.json.Decoder(_RestAnswer)
_REST_RESULT = msgspec.json.Decoder(_RestResult)
_REST_INSTRUMENTS = msgspec.json.Decoder(_RestInstruments)

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form({
    "id": b"-1",
    "method": b'"subscribe"',
    "code": b"0",
    "result": {
        "instrument_name": SYMBOL,
        "channel": b'"ticker"',
        "data": [{"i": NAMED, "b": BID, "k": ASK, "a": LAST, "t": TIME}],
    },
    **dict.fromkeys(("channel", "message"), LEAVE),
})  # fmt: skip


class Decoder:
    """One connection; it remembers what it asked for by id."""

    def __init__(self) -> None:
        self.memory = make_memory()
        self._asked: dict[int, tuple[str, ...]] = {}

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        return self._requests("subscribe", symbols, now_ns)

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        return self._requests("unsubscribe", symbols, now_ns)

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
            if message.code:
                return _read_error(message)
            if message.code is None:
                raise BadFieldError("missing_field", "code")
            if message.method == "public/heartbeat":
                if message.id is None:
                    raise BadFieldError("missing_field", "id")
                return [Reply(f'{{"id":{message.id},"method":"public/respond-heartbeat"}}')]
            if message.method == "unsubscribe":
                return [ALIVE]
            if message.method != "subscribe":
                raise BadFieldError("unknown_shape", f"the method {message.method[:40]!r}, which nobody asked for")
            if message.result is msgspec.UNSET:
                return self._read_bare(message.id)
            return _read_result(message.id, message.result)
        except BadFieldError as error:
            return [refusal(error)]

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - only the server asks
        return []

    def _read_bare(self, number: int | None) -> list[Event]:
        """An acknowledgement without prices, as the documentation has it: of a whole request."""
        symbols = self._asked.get(number) if number is not None else None
        if symbols is None:
            raise BadFieldError("bad_acknowledgement", f"a confirmation of {number}, which was not asked")
        return [Subscribed(symbols)]

    def _requests(self, method: str, symbols: Sequence[str], now_ns: int) -> list[str]:
        return [
            self._request(method, tuple(symbols[start : start + _CHANNELS_PER_FRAME]), now_ns)
            for start in range(0, len(symbols), _CHANNELS_PER_FRAME)
        ]

    def _request(self, method: str, symbols: tuple[str, ...], now_ns: int) -> str:
        number = 1 + len(self._asked)
        self._asked[number] = symbols
        message = {
            "id": number,
            "method": method,
            "params": {"channels": [f"ticker.{symbol}" for symbol in symbols]},
            "nonce": now_ns // NS_PER_MS,
        }
        return msgspec.json.encode(message).decode()


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}_{market.quote}"


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET: a single instrument, or all of them."""
    if not symbols:
        return []
    query = f"?instrument_name={symbols[0]}" if len(symbols) == 1 else ""
    return [RestRequest(_TICKERS_PATH + query, tuple(symbols))]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN)
    try:
        answer = decode_body(_REST_ANSWER, body)
        if answer.code != 0:
            return refuse_rest(request, status, body, _UNKNOWN)
        tickers = decode_field(_REST_RESULT, answer.result, "result").data
    except BadFieldError as error:
        return [refusal(error)]
    asked = frozenset(request.symbols)
    found = [ticker for ticker in tickers if ticker.instrument in asked]
    events = [event for ticker in found for event in _read_ticker(ticker, ticker.instrument)]
    return refuse_missing(request, events)


def listing_request() -> RestRequest:
    return RestRequest(_INSTRUMENTS_PATH, ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _REST_INSTRUMENTS, _pairs_of, symbol_of)


def _pairs_of(answer: _RestInstruments) -> list[Pair]:
    listed = answer.result.data
    return [Pair(one.base, one.quote, one.symbol) for one in listed if one.kind == "CCY_PAIR" and one.tradable]


def _read_result(number: int | None, result: _Result) -> list[Event]:
    if result.channel != "ticker":
        raise BadFieldError("unknown_shape", f"the channel {result.channel[:40]!r}, which nobody asked for")
    first: list[Event] = []
    if number not in _PUSHED_IDS and result.instrument_name:
        first.append(Subscribed((result.instrument_name,)))
        if result.data is msgspec.UNSET:
            return first  # an acknowledgement without prices
    events: list[Event] = []
    for ticker in present(result.data, "data"):
        events += _read_ticker(ticker, result.instrument_name or ticker.instrument)
    return first + tickers_of(events)


def _read_ticker(ticker: _Ticker, symbol: str) -> list[Event]:
    return read_ticker(symbol, ticker.bid, ticker.ask, ticker.last, ticker.time, named=ticker.instrument)


def _read_error(message: _Frame) -> list[Event]:
    text = (message.message or "")[:200]
    channel = _TICKER_CHANNEL.search(f"{message.channel} {text}")
    if channel and _UNKNOWN.search(text):
        return [UnknownSymbol(channel[1])]
    return [Refusal("exchange_error", f"code {message.code}: {text}", channel[1] if channel else None)]
