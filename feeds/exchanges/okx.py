"""OKX, WebSocket v5. Documentation: "OKX API v5: Tickers channel" and "Get tickers".

Published limits: 3 connections/s per address; 480 subscriptions or logins per hour and connection; arguments of a
frame up to 64 KB; REST 20 requests in 2 s per address. A connection without a frame for 30 s is closed: the client
sends the text `ping`, the server answers the text `pong`. A notice comes 60 s before a planned close.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from feeds.exchanges.contract import (
    BadFieldError,
    Event,
    Listed,
    Profile,
    Reconnect,
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
from trinity.config import OkxRegion
from trinity.markets import Market

PROFILE = Profile(
    name="okx",
    ws_url="wss://ws.okx.com:8443",
    ws_path="/ws/v5/public",
    rest_url="https://www.okx.com",
    ping_seconds=20,  # within the 30 s, with a margin for a slow answer
    silence_seconds=30,  # the exchange's own limit
    connect_gap_seconds=0.5,  # 2 connections/s of the 3
    settle_seconds=0,
    rest_gap_seconds=0.2,  # 5 requests/s of the 10
    subscribe_gap_seconds=20,  # up to two frames each time, 360 of the 480 an hour
)

# Who asks elsewhere than in their own region is redirected or refused. Base addresses of WebSocket and REST.
REGIONS: Mapping[OkxRegion, tuple[str, str]] = {
    "global": (PROFILE.ws_url, PROFILE.rest_url),
    "eea": ("wss://wseea.okx.com:8443", "https://eea.okx.com"),
    "us": ("wss://wsus.okx.com:8443", "https://us.okx.com"),
}

# Some 1.2 KB of arguments a frame, far below 64 KB, and a bad frame costs few symbols.
_ARGS_PER_FRAME = 25
_CHANNEL = "tickers"
_CLOSING_CODE = "64008"
_NO_ERROR = ("", "0")
_UNKNOWN_INSTRUMENT = re.compile(r"channel: ?tickers, ?instId: ?([A-Za-z0-9-]{1,40}) doesn't exist")
_UNKNOWN_REST = re.compile('"51001"')


class _Argument(msgspec.Struct):
    """{"channel":"tickers","instId":"BTC-USDT"}"""

    channel: str = ""
    instrument: str = msgspec.field(name="instId", default="")


class _Ticker(msgspec.Struct):
    """{"instId":"BTC-USDT","last":"70000.2","askPx":"70000.2","bidPx":"70000.1","ts":"1767322800123", ...}

    An empty string is "not applicable".
    """

    instrument: str = msgspec.field(name="instId", default="")
    bid: msgspec.Raw = msgspec.field(name="bidPx", default=ABSENT)
    ask: msgspec.Raw = msgspec.field(name="askPx", default=ABSENT)
    last: msgspec.Raw = ABSENT
    time: msgspec.Raw = msgspec.field(name="ts", default=NULL)


class _Frame(msgspec.Struct):
    """{"arg":{...},"data":[...]}
    {"event":"subscribe","arg":{...},"connId":"0a1b2c3d"}
    {"event":"error","code":"60018","msg":"... wrong URL or channel:tickers,instId:ABC-USDT doesn't exist. ..."}
    {"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. ..."}
    """

    event: str | None = None
    arg: _Argument | None = None
    data: list[_Ticker] | msgspec.UnsetType = msgspec.UNSET
    code: str | int = ""
    msg: str = ""


class _RestAnswer(msgspec.Struct):
    """{"code":"0","msg":"","data":[...]}"""

    code: str
    data: list[_Ticker] = []


class _Instrument(msgspec.Struct):
    """{"instType":"SPOT","instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT","state":"live", ...}"""

    name: str = msgspec.field(name="instId")
    base: str = msgspec.field(name="baseCcy", default="")
    quote: str = msgspec.field(name="quoteCcy", default="")
    state: str = ""


class _RestInstruments(msgspec.Struct):
    """{"code":"0","msg":"","data":[...]}"""

    data: list[_Instrument] = []


_FRAME = msgspec.json.Decoder(_Frame)
_REST_ANSWER = msgspec.json.Decoder(_RestAnswer)
_REST_INSTRUMENTS = msgspec.json.Decoder(_RestInstruments)

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form({
    "arg": {"channel": b'"tickers"', "instId": SYMBOL},
    "data": [{"instId": NAMED, "last": LAST, "askPx": ASK, "bidPx": BID, "ts": TIME}],
    **dict.fromkeys(("event", "code", "msg"), LEAVE),
})  # fmt: skip


class Decoder:
    """One connection; nothing to remember."""

    def __init__(self) -> None:
        self.memory = make_memory()

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - the protocol has no time
        return _requests("subscribe", symbols)

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return _requests("unsubscribe", symbols)

    def on_frame(self, frame: bytes) -> list[Event]:
        if frame == b"pong":
            return [ALIVE]
        try:
            message = decode_frame(_FRAME, frame)
            if message.event is not None:
                return _EVENTS.get(message.event, _read_other)(message)
            return _read_tickers(message)
        except BadFieldError as error:
            return [refusal(error)]

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return ["ping"]


def _requests(op: str, symbols: Sequence[str]) -> list[str]:
    args = [{"channel": _CHANNEL, "instId": symbol} for symbol in symbols]
    return [
        msgspec.json.encode({"op": op, "args": args[start : start + _ARGS_PER_FRAME]}).decode()
        for start in range(0, len(args), _ARGS_PER_FRAME)
    ]


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}-{market.quote}"


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET: a single instrument, or all spot instruments."""
    if not symbols:
        return []
    call = f"ticker?instId={symbols[0]}" if len(symbols) == 1 else "tickers?instType=SPOT"
    return [RestRequest(f"/api/v5/market/{call}", tuple(symbols))]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    try:
        answer = decode_body(_REST_ANSWER, body)
    except BadFieldError as error:
        return [refusal(error)]
    if answer.code != "0":
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    asked = frozenset(request.symbols)
    found = [ticker for ticker in answer.data if ticker.instrument in asked]
    events = [event for ticker in found for event in _read_ticker(ticker, ticker.instrument)]
    return refuse_missing(request, events)


def listing_request() -> RestRequest:
    return RestRequest("/api/v5/public/instruments?instType=SPOT", ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _REST_INSTRUMENTS, _pairs_of, symbol_of)


def _pairs_of(answer: _RestInstruments) -> list[Pair]:
    return [Pair(one.base, one.quote, one.name) for one in answer.data if one.state == "live"]


def _read_tickers(message: _Frame) -> list[Event]:
    if message.arg is None or not message.arg.channel:
        raise BadFieldError("unknown_shape", "neither an event nor the data of a channel")
    if message.arg.channel != _CHANNEL:
        raise BadFieldError("unknown_shape", f"the channel {message.arg.channel[:40]!r}, which nobody asked for")
    events: list[Event] = []
    for ticker in present(message.data, "data"):
        events += _read_ticker(ticker, message.arg.instrument or ticker.instrument)
    return tickers_of(events)


def _read_ticker(ticker: _Ticker, symbol: str) -> list[Event]:
    return read_ticker(symbol, ticker.bid, ticker.ask, ticker.last, ticker.time, named=ticker.instrument)


def _read_subscribed(message: _Frame) -> list[Event]:
    argument = message.arg
    if str(message.code) not in _NO_ERROR:
        raise BadFieldError("bad_acknowledgement", f"code {message.code}: {message.msg[:200]}")
    if argument is None or argument.channel != _CHANNEL or not argument.instrument:
        raise BadFieldError("bad_acknowledgement", "a confirmation that names no ticker")
    return [Subscribed((argument.instrument,))]


def _read_error(message: _Frame) -> list[Event]:
    unknown = _UNKNOWN_INSTRUMENT.search(message.msg)
    if unknown:
        return [UnknownSymbol(unknown[1])]
    return [Refusal("exchange_error", f"code {message.code}: {message.msg[:200]}")]


def _read_notice(message: _Frame) -> list[Event]:
    return [Reconnect("planned", message.msg[:200])] if str(message.code) == _CLOSING_CODE else [ALIVE]


def _read_unsubscribed(message: _Frame) -> list[Event]:  # noqa: ARG001 - nothing in it to read
    return [ALIVE]


def _read_count(message: _Frame) -> list[Event]:  # noqa: ARG001 - how many connections a channel has: a note
    return [ALIVE]


def _read_other(message: _Frame) -> list[Event]:
    raise BadFieldError("unknown_shape", f"the event {(message.event or '')[:40]!r}, which nobody asked for")


_EVENTS: Mapping[str, Callable[[_Frame], list[Event]]] = {
    "subscribe": _read_subscribed,
    "unsubscribe": _read_unsubscribed,
    "error": _read_error,
    "notice": _read_notice,
    "channel-conn-count": _read_count,
}
