"""Kraken, WebSocket v2. Documentation: "Spot WebSockets v2: Ticker" and "Spot REST: Get Ticker Information".

Published limits: about 150 connection attempts in 10 min per address, at most one in 5 s during maintenance; REST one
request a second. No limit of symbols a frame. A socket without a subscription, or without activity for 60 s, is closed;
a subscription brings a heartbeat every second.

The ticker is triggered by the best bid and ask (`bbo`), not by trades. Prices are JSON numbers; their text counts.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from feeds.exchanges.contract import (
    BadFieldError,
    Event,
    Listed,
    Profile,
    Refusal,
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
    text_of,
    tickers_of,
    time_of_rfc3339,
)
from feeds.exchanges.frequent import ASK, BID, CALENDAR_TIME, LAST, SYMBOL, make_memory
from feeds.exchanges.listing import Pair, read_listing
from feeds.exchanges.walk import LEAVE, make_form
from trinity.markets import Market

PROFILE = Profile(
    name="kraken",
    ws_url="wss://ws.kraken.com",
    ws_path="/v2",
    rest_url="https://api.kraken.com",
    ping_seconds=30,  # half of the 60 s after which an idle socket is closed
    silence_seconds=10,  # ten heartbeats missed
    connect_gap_seconds=5,
    settle_seconds=0,
    rest_gap_seconds=1,
)

_UNKNOWN_PAIR = re.compile(r"pair not supported:?(?: (\S{1,24}))?", re.IGNORECASE)
_UNKNOWN_REST = re.compile("Unknown asset pair")
# The REST service and its answers use these names of 2013; everything newer is called as in v2.
_REST_NAMES: Mapping[str, str] = {"BTC": "XBT", "DOGE": "XDG"}
_NAMES = {old: name for name, old in _REST_NAMES.items()}
# Answers may put X before an old coin and Z before an old currency: BTC/USD is asked as XBTUSD, answered as XXBTZUSD.
_REST_KEY_FORMS = ("{}{}", "X{}Z{}", "{}Z{}")
# Older answers have no status; others are cancel_only, post_only, limit_only and reduce_only.
_ONLINE = ("online", "")
_ZERO = re.compile(rb'"?0(?:\.0{1,18})?(?:[eE][+-]?\d{1,2})?"?')
_NEVER = "1970-01-01T00:00:00"


class _Confirmation(msgspec.Struct):
    """{"channel":"ticker","event_trigger":"bbo","snapshot":true,"symbol":"BTC/USD"}"""

    channel: str = ""
    symbol: str = ""


class _Ticker(msgspec.Struct):
    """{"symbol":"BTC/USD","bid":70000.1,"ask":70000.2,"last":70000.2,"timestamp":"2026-01-02T03:04:05.123456Z", ...}

    A pair without a book has bid and ask 0 and the time of 1970; one without a trade in 24 h has no last.
    """

    symbol: str = ""
    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    last: msgspec.Raw = NULL
    timestamp: msgspec.Raw = NULL


class _Frame(msgspec.Struct):
    """{"channel":"ticker","type":"update","data":[...]}, {"channel":"heartbeat"}
    {"method":"subscribe","result":{...},"success":true,"req_id":1, ...}, one per symbol
    {"error":"Currency pair not supported ABC/USD","method":"subscribe","success":false,"symbol":"ABC/USD", ...}
    {"Error":"Exceeded msg rate"}
    """

    channel: str = ""
    method: str = ""
    data: list[_Ticker] | msgspec.UnsetType = msgspec.UNSET
    result: _Confirmation | None = None
    success: bool | None = None
    symbol: str | None = None
    error: str | None = None
    rate_error: str | None = msgspec.field(name="Error", default=None)


class _RestTicker(msgspec.Struct):
    """{"a":["70000.20000","1","1.000"],"b":["70000.10000","1","1.000"],"c":["70000.20000","0.1"], ...}, no time."""

    ask: list[msgspec.Raw] = msgspec.field(name="a")
    bid: list[msgspec.Raw] = msgspec.field(name="b")
    last: list[msgspec.Raw] = msgspec.field(name="c")


class _RestAnswer(msgspec.Struct):
    """{"error":[],"result":{"XXBTZUSD":{...}}}, {"error":["EQuery:Unknown asset pair"]}"""

    error: list[str] = []
    result: dict[str, msgspec.Raw] = {}


class _RestPair(msgspec.Struct):
    """{"altname":"XBTUSD","wsname":"XBT/USD","status":"online", ...}; the name is the first protocol's."""

    wsname: str = ""
    status: str = ""


class _RestPairs(msgspec.Struct):
    """{"error":[],"result":{"XXBTZUSD":{...}}}"""

    error: list[str] = []
    result: dict[str, _RestPair] = {}


_FRAME = msgspec.json.Decoder(_Frame)
_REST_ANSWER = msgspec.json.Decoder(_RestAnswer)
_REST_TICKER = msgspec.json.Decoder(_RestTicker)
_REST_PAIRS = msgspec.json.Decoder(_RestPairs)

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form({
    "channel": b'"ticker"',
    "data": [{"symbol": SYMBOL, "bid": BID, "ask": ASK, "last": LAST, "timestamp": CALENDAR_TIME}],
    **dict.fromkeys(("method", "result", "success", "symbol", "error", "Error"), LEAVE),
})  # fmt: skip


class Decoder:
    """One connection; nothing to remember."""

    def __init__(self) -> None:
        self.memory = make_memory()

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - the protocol has no time
        params = {"channel": "ticker", "symbol": list(symbols), "event_trigger": "bbo", "snapshot": True}
        return [msgspec.json.encode({"method": "subscribe", "params": params, "req_id": 1}).decode()]

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        params = {"channel": "ticker", "symbol": list(symbols), "event_trigger": "bbo"}
        return [msgspec.json.encode({"method": "unsubscribe", "params": params, "req_id": 1}).decode()]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
            if message.channel:
                return _CHANNELS.get(message.channel, _read_other_channel)(message)
            return _METHODS.get(message.method, _read_other)(message)
        except BadFieldError as error:
            return [refusal(error)]

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return ['{"method":"ping"}']


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}/{market.quote}"


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET for all."""
    pairs = ",".join("".join(_rest_names(symbol)) for symbol in symbols)
    return [RestRequest(f"/0/public/Ticker?pair={pairs}", tuple(symbols))] if symbols else []


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    try:
        answer = decode_body(_REST_ANSWER, body)
    except BadFieldError as error:
        return [refusal(error)]
    if answer.error:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    symbols = _symbols_by_key(request.symbols)
    events: list[Event] = []
    for key, raw in answer.result.items():
        if key in symbols:
            events += _read_rest_ticker(symbols[key], raw)
    return refuse_missing(request, events)


def listing_request() -> RestRequest:
    return RestRequest("/0/public/AssetPairs", ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _REST_PAIRS, _pairs_of, symbol_of)


def _pairs_of(answer: _RestPairs) -> list[Pair]:
    names = [pair.wsname for pair in answer.result.values() if pair.status in _ONLINE]
    halves = [[_NAMES.get(half, half) for half in name.split("/")] for name in names]
    return [Pair(half[0], half[1], "/".join(half)) for half in halves if len(half) == 2]


def _read_tickers(message: _Frame) -> list[Event]:
    events: list[Event] = []
    for ticker in present(message.data, "data"):
        bid, ask, last, time = ticker.bid, ticker.ask, ticker.last, ticker.timestamp
        if _ZERO.fullmatch(bid) and _ZERO.fullmatch(ask):
            bid = ask = NULL  # no book; a zero on one side alone is refused
            if _NEVER in text_of(time):
                last = time = NULL  # a dead pair: its last price is of nobody knows when
        events += read_ticker(ticker.symbol, bid, ask, last, time, time_of_rfc3339)
    return tickers_of(events)


def _read_subscribe(message: _Frame) -> list[Event]:
    if message.success:
        result = message.result
        if result is None or result.channel != "ticker" or not result.symbol:
            raise BadFieldError("bad_acknowledgement", "a confirmation that names no ticker")
        return [Subscribed((result.symbol,))]
    text = (message.error or "no reason given")[:200]
    unknown = _UNKNOWN_PAIR.search(text)
    symbol = unknown and (message.symbol or unknown[1])
    if symbol:
        return [UnknownSymbol(symbol)]
    return [Refusal("bad_acknowledgement", text, message.symbol)]


def _read_pong(message: _Frame) -> list[Event]:
    return _read_other(message) if message.error or message.success is False else [ALIVE]


def _read_alive(message: _Frame) -> list[Event]:  # noqa: ARG001 - nothing in it to read
    return [ALIVE]


def _read_other_channel(message: _Frame) -> list[Event]:
    raise BadFieldError("unknown_shape", f"the channel {message.channel[:40]!r}, which nobody asked for")


def _read_other(message: _Frame) -> list[Event]:
    text = message.rate_error or message.error
    if text:
        return [Refusal("exchange_error", text[:200], message.symbol)]
    raise BadFieldError("unknown_shape", f"no channel, method {message.method[:40]!r}")


_CHANNELS: Mapping[str, Callable[[_Frame], list[Event]]] = {
    "ticker": _read_tickers,
    "heartbeat": _read_alive,
    "status": _read_alive,
}
_METHODS: Mapping[str, Callable[[_Frame], list[Event]]] = {
    "subscribe": _read_subscribe,
    "unsubscribe": _read_pong,
    "pong": _read_pong,
}


def _rest_names(symbol: str) -> tuple[str, str]:
    base, _, quote = symbol.partition("/")
    return _REST_NAMES.get(base, base), _REST_NAMES.get(quote, quote)


def _symbols_by_key(symbols: Sequence[str]) -> dict[str, str]:
    """Every key that an answer may use, with the symbol that it stands for."""
    keys = {form.format(*_rest_names(symbol)): symbol for form in _REST_KEY_FORMS for symbol in symbols}
    return keys | {symbol: symbol for symbol in symbols}


def _read_rest_ticker(symbol: str, raw: msgspec.Raw) -> list[Event]:
    try:
        ticker = decode_field(_REST_TICKER, raw, symbol)
    except BadFieldError as error:
        return [refusal(error, symbol)]
    bid, ask, last = ((field[0] if field else ABSENT) for field in (ticker.bid, ticker.ask, ticker.last))
    return read_ticker(symbol, bid, ask, last)
