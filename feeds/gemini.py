"""Gemini, WebSocket API of 2026. Documentation: "Gemini WebSocket API" and "REST API: Ticker V2".

Published limits: 300 connection attempts in 5 min; message weight 7,000 in 10 s; all symbols fit one frame. REST
120 requests/min an address, asked to be no more than one a second. The server pings at protocol level every 20 s; our
own ping shows that it still answers, for quiet symbols send nothing.

There is no ticker channel: `bookTicker` has bid and ask (and sometimes the last trade), `trade` has the last price. The
decoder keeps the newest quote of each symbol and completes one half with the other.
"""

import re
from collections.abc import Sequence

import msgspec

from feeds.fields import (
    ABSENT,
    ALIVE,
    HTTP_OK,
    NULL,
    decode_body,
    decode_frame,
    make_quote,
    price_of,
    read_ticker,
    refusal,
    refuse_rest,
    time_of_ns,
)
from feeds.wire import BadFieldError, Event, Profile, Quote, Refusal, RestRequest, Subscribed, UnknownSymbol
from trinity.limits import ASSETS_MAX
from trinity.markets import Market

PROFILE = Profile(
    name="gemini",
    ws_url="wss://ws.gemini.com",
    ws_path="",
    rest_url="https://api.gemini.com",
    ping_seconds=20,  # as often as the server's own
    silence_seconds=50,  # two pings unanswered
    connect_gap_seconds=1,  # 300 attempts in 5 min
    settle_seconds=0,
    rest_gap_seconds=1,
)

# Apart from the numbers of subscriptions, so that an answer's id says what it answers.
_PING_ID = 0
_UNKNOWN_STREAM = re.compile(r"Invalid stream name: ([^@\s]{1,40})@")
_UNKNOWN_REST = re.compile("not a valid symbol")


class _Error(msgspec.Struct):
    """{"code":-1013,"msg":"Invalid stream name: abcusd@trade"}"""

    code: int = 0
    msg: str = ""


class _Frame(msgspec.Struct):
    """No frame has a name but the events that nobody asked for (`e`); the keys tell them apart.

    {"id":1,"status":200}, {"id":4,"status":400,"error":{"code":-1013,"msg":"Invalid stream name: abcusd@trade"}}
    {"u":1764528738061152,"E":1772616921156491301,"s":"btcusd","b":"70000.17000","B":"0.1","a":"70000.18000","A":"0.2"}
    and sometimes in it "c":"70000.18000","C":"0.1" (last trade); an empty side is "" or not there
    {"E":1772616921156491301,"s":"btcusd","t":2840141014190422,"p":"70000.18000","q":"0.01","m":true}
    """

    id: msgspec.Raw = ABSENT
    status: int | None = None
    error: _Error | None = None
    event: str | None = msgspec.field(name="e", default=None)
    time: msgspec.Raw = msgspec.field(name="E", default=NULL)
    symbol: str = msgspec.field(name="s", default="")
    update_id: msgspec.Raw = msgspec.field(name="u", default=ABSENT)
    bid: msgspec.Raw = msgspec.field(name="b", default=NULL)
    ask: msgspec.Raw = msgspec.field(name="a", default=NULL)
    book_last: msgspec.Raw = msgspec.field(name="c", default=NULL)
    trade_id: msgspec.Raw = msgspec.field(name="t", default=ABSENT)
    price: msgspec.Raw = msgspec.field(name="p", default=ABSENT)


class _RestTicker(msgspec.Struct):
    """{"symbol":"BTCUSD","close":"70000.18","bid":"70000.17000","ask":"70000.18000", ...}; it has no time."""

    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    close: msgspec.Raw = ABSENT


_FRAME = msgspec.json.Decoder(_Frame)
_REST_TICKER = msgspec.json.Decoder(_RestTicker)


class Decoder:
    """One connection; it remembers what it asked for by id, and the newest quote of each symbol."""

    def __init__(self, carried: Sequence[Quote] = ()) -> None:
        self._asked: dict[bytes, tuple[str, ...]] = {}
        self.quotes: dict[str, Quote] = {quote.symbol: quote for quote in carried}

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - the protocol has no time
        number = _PING_ID + 1 + len(self._asked)
        self._asked[b"%d" % number] = tuple(symbols)
        streams = [f"{symbol}@{stream}" for symbol in symbols for stream in ("bookTicker", "trade")]
        return [msgspec.json.encode({"id": number, "method": "subscribe", "params": streams}).decode()]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
            if message.id:
                return self._read_answer(message)
            if message.event is not None:
                return [ALIVE]  # depth, mark prices and other events that nobody asked for
            return self._read_prices(message)
        except BadFieldError as error:
            return [refusal(error)]

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return [f'{{"id":{_PING_ID},"method":"ping"}}']

    def _read_answer(self, message: _Frame) -> list[Event]:
        if message.error is None and message.status == HTTP_OK:
            symbols = self._asked.get(bytes(message.id))
            return [Subscribed(symbols)] if symbols else [ALIVE]
        text = message.error.msg[:200] if message.error is not None else ""
        unknown = _UNKNOWN_STREAM.search(text)
        if unknown:
            return [UnknownSymbol(unknown[1], rejected_whole_frame=True)]
        return [Refusal("exchange_error", f"status {message.status}: {text}")]

    def _read_prices(self, message: _Frame) -> list[Event]:
        is_trade = bool(message.price or message.trade_id)
        if not message.symbol or not (is_trade or message.update_id or message.bid != NULL or message.ask != NULL):
            raise BadFieldError("unknown_shape", "neither an answer, a book nor a trade")
        try:
            known = self.quotes.get(message.symbol)
            time_ns = time_of_ns(message.time)
            if is_trade:
                bid, ask = (known.bid, known.ask) if known else (None, None)
                last = price_of(message.price, "p")
            else:
                bid, ask = price_of(message.bid, "b"), price_of(message.ask, "a")
                last = price_of(message.book_last, "c") or (known.last if known else None)
        except BadFieldError as error:
            return [refusal(error, message.symbol)]
        events = make_quote(message.symbol, bid, ask, last, time_ns)
        for event in events:
            # Bounded: a peer cannot fill the memory with names that nobody asked for.
            if isinstance(event, Quote) and (known or len(self.quotes) < ASSETS_MAX):
                self.quotes[message.symbol] = event
        return events


def new_decoder(carried: Sequence[Quote] = ()) -> Decoder:
    return Decoder(carried)


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}{market.quote}".lower()


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET a symbol: the call for all of them has neither book nor time."""
    return [RestRequest(f"/v2/ticker/{symbol}", (symbol,)) for symbol in symbols]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    try:
        ticker = decode_body(_REST_TICKER, body)
    except BadFieldError as error:
        return [refusal(error, request.symbols[0])]
    return read_ticker(request.symbols[0], ticker.bid, ticker.ask, ticker.close)
