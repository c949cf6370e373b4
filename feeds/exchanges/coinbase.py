"""Coinbase, Advanced Trade feed. Documentation: "Advanced Trade WebSocket" and "Exchange REST API: Get product ticker".

Published limits: subscribe within 5 s of connecting; 8 unauthenticated messages/s and 8 connections/s an address; REST
10 requests/s per address. One channel per message, any number of products. The channel `heartbeats` beats once a second
and keeps quiet channels open.

The REST service is that of Coinbase Exchange, the same market: it alone gives bid, ask, last and a time in one answer.
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
    refuse_rest,
    tickers_of,
    time_of_rfc3339,
)
from feeds.exchanges.frequent import (
    ASK,
    BID,
    CALENDAR_TIME,
    LAST,
    NEXT_SEQUENCE,
    NO_SEQUENCE,
    SEQUENCE,
    SYMBOL,
    make_memory,
)
from feeds.exchanges.listing import Pair, read_listing
from feeds.exchanges.walk import LEAVE, make_form
from trinity.markets import Market

PROFILE = Profile(
    name="coinbase",
    ws_url="wss://advanced-trade-ws.coinbase.com",
    ws_path="",
    rest_url="https://api.exchange.coinbase.com",
    ping_seconds=None,  # the server's heartbeats keep the connection alive
    silence_seconds=10,  # ten heartbeats missed
    connect_gap_seconds=1,
    settle_seconds=0,
    rest_gap_seconds=0.15,  # 6.7 requests/s of the 10
    headers={"User-Agent": "trinity-oracle"},  # the REST service refuses clients without a name
)

# What fits beside its successor in 64 bits; behind a larger one nobody knows which is due.
_SEQUENCE_MAX = 2**63 - 1
# Errors about limits and channels may name a product too: only this sentence says that there is none.
_NO_PRODUCT = re.compile(r"\b([A-Z0-9]{1,16}-[A-Z0-9]{3,5}) is not a valid product\b")
_NOT_FOUND = re.compile(r'"message" ?: ?"(?:NotFound|(?:[^"]{0,40} )?product [^"]{0,20}not found[^"]{0,20})"', re.I)


class _Ticker(msgspec.Struct):
    """{"type":"ticker","product_id":"BTC-USD","price":"70000.18","best_bid":"70000.17","best_ask":"70000.18", ...}"""

    product_id: str = ""
    price: msgspec.Raw = ABSENT
    best_bid: msgspec.Raw = ABSENT
    best_ask: msgspec.Raw = ABSENT


class _Subscriptions(msgspec.Struct):
    """{"heartbeats":["heartbeats"],"ticker":["BTC-USD","ETH-USD"]}"""

    ticker: list[str] = []


class _ChannelEvent(msgspec.Struct):
    """{"type":"snapshot","tickers":[...]}, later "update"; {"subscriptions":{...}}: all of the connection, not only
    what was asked last; {"current_time":"...","heartbeat_counter":6}
    """

    tickers: list[_Ticker] | msgspec.UnsetType = msgspec.UNSET
    subscriptions: _Subscriptions | msgspec.UnsetType = msgspec.UNSET


class _Frame(msgspec.Struct):
    """{"channel":"ticker","timestamp":"2026-01-02T03:04:05.123456789Z","sequence_num":6,"events":[...]}
    {"type":"error","message":"Failed to subscribe","reason":"ABC-USD is not a valid product"}
    """

    channel: str = ""
    type: str = ""
    timestamp: msgspec.Raw = NULL
    sequence_num: int | None = None
    events: list[_ChannelEvent] | msgspec.UnsetType = msgspec.UNSET
    message: str = ""
    reason: str = ""


class _RestTicker(msgspec.Struct):
    """{"ask":"70000.18","bid":"70000.17","price":"70000.18","time":"2026-01-02T03:04:05.123456Z", ...}

    `time` is that of the last trade, and the only proof of how young the book is: it may make a quiet product look
    stale, never a stale one fresh. The answer does not name its product; if it ever does, it must be the right one.
    """

    product_id: str = ""
    price: msgspec.Raw = ABSENT
    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    time: msgspec.Raw = NULL


class _Product(msgspec.Struct):
    """{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","status":"online","trading_disabled":false, ...}"""

    id: str
    base: str = msgspec.field(name="base_currency")
    quote: str = msgspec.field(name="quote_currency")
    status: str = ""
    trading_disabled: bool = False


_FRAME = msgspec.json.Decoder(_Frame)
_REST_TICKER = msgspec.json.Decoder(_RestTicker)
_PRODUCTS = msgspec.json.Decoder(list[_Product])

# A ticker of one symbol; all other keys that the decoder reads make it another frame.
FREQUENT = make_form({
    "channel": b'"ticker"',
    "timestamp": CALENDAR_TIME,
    "sequence_num": SEQUENCE,
    "events": [{
        "tickers": [{"product_id": SYMBOL, "price": LAST, "best_bid": BID, "best_ask": ASK}],
        "subscriptions": LEAVE,
    }],
    **dict.fromkeys(("type", "message", "reason"), LEAVE),
})  # fmt: skip


class Decoder:
    """One connection; it remembers the sequence number, which counts the messages of all channels."""

    def __init__(self) -> None:
        self.memory = make_memory()

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - the protocol has no time
        ticker = {"type": "subscribe", "product_ids": list(symbols), "channel": "ticker"}
        heartbeats = {"type": "subscribe", "channel": "heartbeats"}
        return [msgspec.json.encode(message).decode() for message in (ticker, heartbeats)]

    def unsubscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        message = {"type": "unsubscribe", "product_ids": list(symbols), "channel": "ticker"}
        return [msgspec.json.encode(message).decode()]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            message = decode_frame(_FRAME, frame)
        except BadFieldError as error:
            return [refusal(error)]
        # A gap costs the connection, not the prices of the frame that showed it.
        return _read(message) + self._check_sequence(message.sequence_num)

    def ping(self, now_ns: int) -> list[str]:  # noqa: ARG002 - as above
        return []

    def _check_sequence(self, sequence: int | None) -> list[Event]:
        if sequence is None:
            return []
        expected = int(self.memory[NEXT_SEQUENCE])
        self.memory[NEXT_SEQUENCE] = sequence + 1 if 0 <= sequence < _SEQUENCE_MAX else NO_SEQUENCE
        if expected in (NO_SEQUENCE, sequence):
            return []
        detail = f"message {sequence} came where {expected} was due"
        return [Refusal("bad_sequence", detail), Reconnect("sequence", detail)]


def new_decoder() -> Decoder:
    return Decoder()


def symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}-{market.quote}"


def rest_requests(symbols: Sequence[str]) -> list[RestRequest]:
    """One GET a product; there is no call for several that gives a book."""
    return [RestRequest(f"/products/{symbol}/ticker", (symbol,)) for symbol in symbols]


def on_rest(request: RestRequest, status: int, body: bytes) -> list[Event]:
    if status != HTTP_OK:
        return refuse_rest(request, status, body, _NOT_FOUND)
    try:
        ticker = decode_body(_REST_TICKER, body)
    except BadFieldError as error:
        return [refusal(error, request.symbols[0])]
    return read_ticker(
        request.symbols[0], ticker.bid, ticker.ask, ticker.price, ticker.time, time_of_rfc3339, ticker.product_id
    )


def listing_request() -> RestRequest:
    return RestRequest("/products", ())


def on_listing(status: int, body: bytes) -> Listed | Refusal:
    return read_listing(status, body, _PRODUCTS, _pairs_of, symbol_of)


def _pairs_of(products: list[_Product]) -> list[Pair]:
    return [
        Pair(product.base, product.quote, product.id)
        for product in products
        if product.status == "online" and not product.trading_disabled
    ]


def _read(message: _Frame) -> list[Event]:
    if not message.channel:
        return _read_error(message)
    try:
        return _CHANNELS.get(message.channel, _read_other)(message)
    except BadFieldError as error:
        return [refusal(error)]


def _read_tickers(message: _Frame) -> list[Event]:
    events: list[Event] = []
    for event in present(message.events, "events"):
        for ticker in present(event.tickers, "tickers"):
            events += read_ticker(
                ticker.product_id,
                ticker.best_bid,
                ticker.best_ask,
                ticker.price,
                message.timestamp,
                time_of_rfc3339,
            )
    return tickers_of(events)


def _read_subscriptions(message: _Frame) -> list[Event]:
    states = [present(event.subscriptions, "subscriptions") for event in present(message.events, "events")]
    products = [product for state in states for product in state.ticker]
    return [Subscribed(tuple(products))]


def _read_heartbeat(message: _Frame) -> list[Event]:  # noqa: ARG001 - nothing in it to read
    return [ALIVE]


def _read_other(message: _Frame) -> list[Event]:
    raise BadFieldError("unknown_shape", f"the channel {message.channel[:40]!r}, which nobody asked for")


def _read_error(message: _Frame) -> list[Event]:
    if message.type != "error":
        return [Refusal("unknown_shape", f"neither a channel nor an error, type {message.type[:40]!r}")]
    text = f"{message.message}: {message.reason}"[:200]
    product = _NO_PRODUCT.search(text)
    if product:
        # One bad product was seen to refuse itself alone, and the whole message: so all others are asked again.
        return [UnknownSymbol(product[1], rejected_whole_frame=True)]
    return [Refusal("exchange_error", text)]


_CHANNELS: Mapping[str, Callable[[_Frame], list[Event]]] = {
    "ticker": _read_tickers,
    "subscriptions": _read_subscriptions,
    "heartbeats": _read_heartbeat,
}
