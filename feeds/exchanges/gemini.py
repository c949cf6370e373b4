"""Gemini, WebSocket API of 2026. Documentation: "Gemini WebSocket API" and "REST API: Ticker".

Published limits: 300 connection attempts in 5 min; message weight 7,000 in 10 s; all symbols fit one frame. REST
120 requests/min per address, asked to be no more than one a second. The server pings at protocol level every 20 s; our
own ping shows that it still answers, for quiet symbols send nothing.

There is no ticker channel: `bookTicker` has bid and ask (and sometimes the last trade), `trade` has the last price. A
frame speaks of its half alone, so that an old trade does not become as young as the book that came after it.

Over REST it is `/v1/pubticker`. `/v2/ticker` has no time, and its `close` is not the last trade: it was seen 4 % off.
"""

import re
from collections.abc import Sequence

import msgspec

from feeds.exchanges.contract import (
    BadFieldError,
    Event,
    Listed,
    Profile,
    Quote,
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
    make_quote,
    price_of,
    read_ticker,
    refusal,
    refuse_rest,
    text_of,
    time_of_integer,
)
from feeds.exchanges.frequent import ASK, BID, BOOK_MARK, LAST, SYMBOL, TIME, TRADE, TRADE_MARK, make_memory
from feeds.exchanges.listing import Pair, read_listing
from feeds.exchanges.walk import LEAVE, make_form
from trinity.clock import NS_PER_SECOND
from trinity.markets import QUOTES, Market

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
# The names that a book and a trade would have; today they have none.
_EVENTS = (None, "bookTicker", "trade")
_TIMESTAMP = "timestamp"
# Every recorded answer of the real exchange has a time on a whole five minutes: 1565587800, 1594982700 s and others.
# Taken for the price's, it would make nearly every answer stale; without it an answer is as young as its receipt.
_VOLUME_STEP_NS = 300 * NS_PER_SECOND
# The list names markets without a mark between coin and currency, and these end as `usd` does.
_LIKE_USD = ("gusd", "rlusd")
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
    """{"bid":"70000.17","ask":"70000.19","last":"70000.18","volume":{"BTC":"9","USD":"9","timestamp":1767322800123}}

    The currencies of the volume are all that names the market.
    """

    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    last: msgspec.Raw = ABSENT
    volume: dict[str, msgspec.Raw] = {}


_FRAME = msgspec.json.Decoder(_Frame)
_REST_TICKER = msgspec.json.Decoder(_RestTicker)
_SYMBOLS = msgspec.json.Decoder(list[str])

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form(
    {
        "u": BOOK_MARK, "E": TIME, "s": SYMBOL, "b": BID, "a": ASK, "c": LAST, "t": TRADE_MARK, "p": TRADE,
        **dict.fromkeys(("id", "status", "error", "e"), LEAVE),
    },
    (SYMBOL, TIME, BID, ASK, BOOK_MARK),
    (SYMBOL, TIME, BID, ASK, BOOK_MARK, LAST),
    (SYMBOL, TIME, TRADE, TRADE_MARK),
)  # fmt: skip


class Decoder:
    """One connection; it remembers what it asked for by id."""

    def __init__(self) -> None:
        self.memory = make_memory()
        self._asked: dict[bytes, tuple[str, ...]] = {}

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - the protocol has no time
        return [self._request("subscribe", symbols, tuple(symbols))]

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return [self._request("unsubscribe", symbols, ())]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
            if message.id:
                return self._read_answer(message)
            if message.event not in _EVENTS:
                # Depth and mark prices have fields of the same names.
                raise BadFieldError("unknown_shape", f"the event {str(message.event)[:40]!r}, which nobody asked for")
            return _read_prices(message)
        except BadFieldError as error:
            return [refusal(error)]

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return [f'{{"id":{_PING_ID},"method":"ping"}}']

    def _request(self, method: str, symbols: Sequence[str], confirmed: tuple[str, ...]) -> str:
        """A request whose answer confirms these symbols."""
        number = _PING_ID + 1 + len(self._asked)
        self._asked[b"%d" % number] = confirmed
        streams = [f"{symbol}@{stream}" for symbol in symbols for stream in ("bookTicker", "trade")]
        return msgspec.json.encode({"id": number, "method": method, "params": streams}).decode()

    def _read_answer(self, message: _Frame) -> list[Event]:
        if message.error is None and message.status == HTTP_OK:
            if text_of(message.id) == str(_PING_ID):
                return [ALIVE]
            symbols = self._asked.get(bytes(message.id))
            if symbols is None:
                raise BadFieldError(
                    "bad_acknowledgement", f"an answer to {text_of(message.id)[:40]}, which was not asked"
                )
            return [Subscribed(symbols)]
        text = message.error.msg[:200] if message.error is not None else ""
        unknown = _UNKNOWN_STREAM.search(text)
        if unknown:
            return [UnknownSymbol(unknown[1], rejected_whole_frame=True)]
        return [Refusal("exchange_error", f"status {message.status}: {text}")]


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}{market.quote}".lower()


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET a symbol: the call for all of them has neither book nor time."""
    return [RestRequest(f"/v1/pubticker/{symbol}", (symbol,)) for symbol in symbols]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    symbol = request.symbols[0]
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _UNKNOWN_REST)
    try:
        ticker = decode_body(_REST_TICKER, body)
    except BadFieldError as error:
        return [refusal(error, symbol)]
    time = ticker.volume.pop(_TIMESTAMP, NULL)
    names = [name.lower() for name in ticker.volume]
    named = symbol if "".join(reversed(names)) == symbol else "".join(names)
    return read_ticker(symbol, ticker.bid, ticker.ask, ticker.last, time, _time_of_volume, named)


def listing_request() -> RestRequest:
    return RestRequest("/v1/symbols", ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _SYMBOLS, _pairs_of, symbol_of)


def _pairs_of(symbols: list[str]) -> list[Pair]:
    """`stgusd` is STG in USD or ST in GUSD: the latter where ST is also there in USD."""
    known = frozenset(symbols)
    plain = [
        symbol
        for symbol in symbols
        if not any(symbol.endswith(end) and f"{symbol.removesuffix(end)}usd" in known for end in _LIKE_USD)
    ]
    return [
        Pair(symbol.removesuffix(quote.lower()).upper(), quote, symbol)
        for symbol in plain
        for quote in QUOTES
        if symbol.endswith(quote.lower())
    ]


def _read_prices(message: _Frame) -> list[Event]:
    is_trade = bool(message.price or message.trade_id)
    if not message.symbol or not (is_trade or message.update_id or message.bid != NULL or message.ask != NULL):
        raise BadFieldError("unknown_shape", "neither an answer, a book nor a trade")
    try:
        time_ns = time_of_integer(message.time)
        if is_trade:
            last = price_of(message.price, "p")
            if last is None:
                raise BadFieldError("missing_field", "p")
            return [Quote(message.symbol, None, None, last, time_ns, tells_book=False)]
        bid, ask, last = price_of(message.bid, "b"), price_of(message.ask, "a"), price_of(message.book_last, "c")
    except BadFieldError as error:
        return [refusal(error, message.symbol)]
    if last is None:
        return [Quote(message.symbol, bid, ask, None, time_ns, tells_last=False)]
    return make_quote(message.symbol, bid, ask, last, time_ns)


def _time_of_volume(raw: msgspec.Raw) -> int | None:
    """The time of the answer; on a whole five minutes, where it was mostly seen, it is that of the volume alone."""
    time_ns = time_of_integer(raw)
    return None if time_ns is not None and time_ns % _VOLUME_STEP_NS == 0 else time_ns
