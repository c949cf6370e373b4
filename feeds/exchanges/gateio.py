"""Gate.io, WebSocket v4. Documentation: "Gate Spot WebSocket v4: Tickers Channel" and "Gate API v4: Spot tickers".

Published limits: none for connections, frames or pairs of the spot socket; REST 200 requests in 10 s per address for
each endpoint. A socket was seen closed after 30 s without a frame from the client, so the application's ping is sent.

`spot.tickers` is the one channel that carries bid, ask and last together; it comes at most once a second per pair, well
within the strictest age limit. `spot.book_ticker` is faster by up to 100 frames a second a pair, but has no last price.
A quiet pair sends nothing until it changes: its first quote comes over REST.
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
    read_ticker,
    refusal,
    refuse_missing,
    refuse_rest,
    tickers_of,
)
from feeds.exchanges.frequent import ASK, BID, LAST, SYMBOL, TIME, make_memory
from feeds.exchanges.listing import Pair, read_listing
from feeds.exchanges.walk import ANY, LEAVE, make_form
from trinity.clock import NS_PER_SECOND
from trinity.markets import Market

PROFILE = Profile(
    name="gateio",
    ws_url="wss://api.gateio.ws",
    ws_path="/ws/v4/",
    rest_url="https://api.gateio.ws",
    ping_seconds=15,  # half of the shortest life of an idle socket that was seen
    silence_seconds=40,  # two pings unanswered
    connect_gap_seconds=1,
    settle_seconds=0,
    rest_gap_seconds=0.2,  # 5 requests/s of the 20
)

_CHANNEL = "spot.tickers"
_PONG = "spot.pong"
_TICKERS_PATH = "/api/v4/spot/tickers"
_PAIRS_PATH = "/api/v4/spot/currency_pairs"
_UNKNOWN_PAIR = re.compile(r"unknown currency pair:? *([A-Za-z0-9]{1,16}_[A-Za-z0-9]{1,8})", re.IGNORECASE)
_UNKNOWN_REST = re.compile("INVALID_CURRENCY")  # _PAIR; without it for a currency that does not exist


class _Error(msgspec.Struct):
    """{"code":2,"message":"unknown currency pair: ABC_USDT"}"""

    code: int = 0
    message: str = ""


class _Status(msgspec.Struct):
    """{"status":"success"}"""

    status: str


class _Frame(msgspec.Struct):
    """{"time":1767322800,"time_ms":1767322800123,"channel":"spot.tickers","event":"update","result":{...}}
    {..., "event":"subscribe","id":1,"error":null,"result":{"status":"success"}}, or an error and the status "fail"
    {..., "channel":"spot.pong","event":"","result":null}
    """

    channel: str = ""
    event: str = ""
    id: int | None = None
    time: msgspec.Raw = NULL
    time_ms: msgspec.Raw = NULL
    error: _Error | None = None
    result: msgspec.Raw = ABSENT


class _Ticker(msgspec.Struct):
    """{"currency_pair":"BTC_USDT","last":"70000.2","lowest_ask":"70000.2","highest_bid":"70000.1", ...}"""

    currency_pair: str = ""
    last: msgspec.Raw = ABSENT
    lowest_ask: msgspec.Raw = ABSENT
    highest_bid: msgspec.Raw = ABSENT


class _Pair(msgspec.Struct):
    """{"id":"BTC_USDT","base":"BTC","quote":"USDT","trade_status":"tradable", ...}"""

    id: str
    base: str
    quote: str
    trade_status: str = ""


_FRAME = msgspec.json.Decoder(_Frame)
_STATUS = msgspec.json.Decoder(_Status)
_RESULT = msgspec.json.Decoder(_Ticker | list[_Ticker])
_REST_TICKERS = msgspec.json.Decoder(list[_Ticker])
_REST_PAIRS = msgspec.json.Decoder(list[_Pair])

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form({
    "time": ANY,
    "time_ms": TIME,
    "channel": b'"spot.tickers"',
    "event": b'"update"',
    "result": {"currency_pair": SYMBOL, "last": LAST, "lowest_ask": ASK, "highest_bid": BID},
    **dict.fromkeys(("id", "error"), LEAVE),
})  # fmt: skip


class Decoder:
    """One connection; it remembers what it asked for by id."""

    def __init__(self) -> None:
        self.memory = make_memory()
        self._asked: dict[int, tuple[str, ...]] = {}

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        return [self._request("subscribe", symbols, now_ns)]

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        return [self._request("unsubscribe", symbols, now_ns)]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
            if message.error is not None:
                return _read_error(message.error)
            if not message.channel:
                raise BadFieldError("unknown_shape", "no channel")
            if message.channel == _PONG:
                return [ALIVE]
            if message.channel != _CHANNEL:
                raise BadFieldError("unknown_shape", f"the channel {message.channel[:40]!r}, which nobody asked for")
            return _EVENTS.get(message.event, _read_other)(self._asked, message)
        except BadFieldError as error:
            return [refusal(error)]

    def _request(self, event: str, symbols: Sequence[str], now_ns: int) -> str:
        number = 1 + len(self._asked)
        self._asked[number] = tuple(symbols)
        message = {
            "time": now_ns // NS_PER_SECOND,
            "id": number,
            "channel": _CHANNEL,
            "event": event,
            "payload": list(symbols),
        }
        return msgspec.json.encode(message).decode()

    def ping(self, now_ns: int) -> list[str]:
        return [f'{{"time":{now_ns // NS_PER_SECOND},"channel":"spot.ping"}}']


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}_{market.quote}"


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET: a single pair, or all pairs of the exchange (lists of pairs are refused)."""
    if not symbols:
        return []
    query = f"?currency_pair={symbols[0]}" if len(symbols) == 1 else ""
    return [RestRequest(_TICKERS_PATH + query, tuple(symbols))]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    try:
        tickers = decode_body(_REST_TICKERS, body)
    except BadFieldError as error:
        return [refusal(error)]
    events: list[Event] = []
    asked = frozenset(request.symbols)
    for ticker in tickers:
        if ticker.currency_pair in asked:
            events += read_ticker(ticker.currency_pair, ticker.highest_bid, ticker.lowest_ask, ticker.last)
    return refuse_missing(request, events)


def listing_request() -> RestRequest:
    return RestRequest(_PAIRS_PATH, ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _REST_PAIRS, _pairs_of, symbol_of)


def _pairs_of(pairs: list[_Pair]) -> list[Pair]:
    return [Pair(pair.base, pair.quote, pair.id) for pair in pairs if pair.trade_status == "tradable"]


_Asked = Mapping[int, tuple[str, ...]]


def _read_tickers(asked: _Asked, message: _Frame) -> list[Event]:  # noqa: ARG001 - a row of the table of events
    # `time_ms` is younger than the protocol; whole seconds are what there is without it.
    time = message.time if message.time_ms == NULL else message.time_ms
    result = decode_field(_RESULT, message.result, "result")
    events: list[Event] = []
    for ticker in result if isinstance(result, list) else [result]:
        events += read_ticker(ticker.currency_pair, ticker.highest_bid, ticker.lowest_ask, ticker.last, time)
    return tickers_of(events)


def _read_subscribed(asked: _Asked, message: _Frame) -> list[Event]:
    status = decode_field(_STATUS, message.result, "result").status
    if status != "success":
        return [Refusal("bad_acknowledgement", f"the subscription's status is {status[:40]!r}")]
    symbols = asked.get(message.id) if message.id is not None else None
    if symbols is None:
        raise BadFieldError("bad_acknowledgement", f"a confirmation of {message.id}, which was not asked")
    return [Subscribed(symbols)]


def _read_unsubscribed(asked: _Asked, message: _Frame) -> list[Event]:  # noqa: ARG001 - a row of the table of events
    return [ALIVE]


def _read_other(asked: _Asked, message: _Frame) -> list[Event]:  # noqa: ARG001 - a row of the table of events
    raise BadFieldError("unknown_shape", f"{_CHANNEL} with the event {message.event[:40]!r}")


def _read_error(error: _Error) -> list[Event]:
    unknown = _UNKNOWN_PAIR.search(error.message)
    if unknown:
        # The status is "fail" for the frame: its other pairs are asked for again.
        return [UnknownSymbol(unknown[1], rejected_whole_frame=True)]
    return [Refusal("bad_acknowledgement", f"code {error.code}: {error.message[:200]}")]


_EVENTS: Mapping[str, Callable[[_Asked, _Frame], list[Event]]] = {
    "update": _read_tickers,
    "subscribe": _read_subscribed,
    "unsubscribe": _read_unsubscribed,
}
