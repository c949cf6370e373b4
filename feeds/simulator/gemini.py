"""Simulated Gemini: the new WebSocket API (ws.gemini.com) and the public REST service.

Sources: docs.gemini.com "WebSocket" 0.10.7, probes and recordings of 2026. Implemented: streams `@bookTicker` (with
the last trade in c and C) and `@trade`, one bad stream rejects the whole frame, protocol ping every 20 s, `ping`,
`conninfo`. The depth streams are not simulated: they are refused as unknown.
"""

import random
from typing import Any

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.market import Instant, MarketRow, SimulatedQuote
from feeds.simulator.rates import Limit
from feeds.simulator.venue import (
    Out,
    RestCall,
    RestReply,
    Route,
    SendPing,
    Session,
    Venue,
    rest_ticker,
    seconds_since,
    to_json,
)
from trinity.markets import Market

PING_SECONDS = 20.0
# 120 requests a minute; a burst of 5 more is queued, then 429.
REST_LIMIT = Limit("rest", 125, 60.0)
PRICE_FIELDS = ("b", "a", "c", "p", "bid", "ask", "last", "close", "price")
# The stream shows more decimals than the order book has ("85868.36000").
STREAM_ZEROS = "000"


class _Request(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[str] = []


class GeminiSession(Session):
    """One connection to ws.gemini.com."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._streams: set[tuple[str, str]] = set()
        self._ping_at_ns = now.monotonic_ns

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"id":1,"method":"subscribe","params":["btcusd@bookTicker","btcusd@trade"]}"""
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_error(None, -1013, "Invalid request")]
        method = request.method.lower()
        if method == "ping":
            return [to_json({"id": request.id, "status": 200})]
        if method == "conninfo":
            return [to_json({"id": request.id, "status": 200, "rateLimits": _RATE_LIMITS})]
        if method not in ("subscribe", "unsubscribe"):
            return [_error(request.id, -1020, "Unsupported operation")]
        if not request.params:
            return [_error(request.id, -1013, "Missing params")]
        streams = set()
        for name in request.params:
            symbol, _, channel = name.partition("@")
            if channel not in ("bookTicker", "trade") or self.board.subscribe(symbol) is None:
                return [_error(request.id, -1013, f"Invalid stream name: {name[:80]}")]
            streams.add((symbol, channel))
        self._streams = self._streams | streams if method == "subscribe" else self._streams - streams
        return [to_json({"id": request.id, "status": 200})]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        symbol = quote.row.symbol
        out: list[Out] = []
        if (symbol, "bookTicker") in self._streams:
            out.append(self.frame("bookTicker", quote, frames, _book_ticker))
        if quote.traded and (symbol, "trade") in self._streams:
            out.append(self.frame("trade", quote, frames, _trade))
        return out

    def on_timer(self, now: Instant) -> list[Out]:
        if seconds_since(self._ping_at_ns, now) < PING_SECONDS:
            return []
        self._ping_at_ns = now.monotonic_ns
        return [SendPing()]


def _book_ticker(quote: SimulatedQuote) -> str:
    """{"u":1764549594389752,"E":1783981140076872200,"s":"btcusd","b":"71519.37000","B":"0.18",...}"""
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"E":{quote.time_ns},'
    return (
        f'{{"u":{1_764_528_738_061_152 + quote.number},{stamp}"s":"{row.symbol}",'
        f'"b":"{_stream_text(row, quote.bid)}","B":"0.1835869400",'
        f'"a":"{_stream_text(row, quote.ask)}","A":"0.0007925000",'
        f'"c":"{_stream_text(row, quote.last)}","C":"0.0162522200"}}'
    )


def _trade(quote: SimulatedQuote) -> str:
    """{"E":1783981140085684200,"s":"btcusd","t":2840141014190422,"p":"62145.38000","q":"0.01","m":true}"""
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"E":{quote.time_ns},'
    maker = "true" if quote.last <= quote.bid else "false"
    trade_id = 2_840_141_014_190_422 + quote.number
    price = _stream_text(row, quote.last)
    return f'{{{stamp}"s":"{row.symbol}","t":{trade_id},"p":"{price}","q":"0.0162522200","m":{maker}}}'


def _stream_text(row: MarketRow, price: float) -> str:
    return f"{row.text(price)}{STREAM_ZEROS}" if row.decimals else row.text(price)


def _error(request_id: int | str | None, code: int, message: str) -> str:
    return to_json({"id": request_id, "status": 400, "error": {"code": code, "msg": message}})


def _public_ticker(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /v1/pubticker/btcusd"""
    row = board.find(call.path["symbol"].lower())
    if row is None:
        return _unknown(board, call)
    quote = board.answered(row, call.now)
    stamp = "" if quote.time_ns is None else f',"timestamp":{quote.time_ns // 1_000_000}'
    text = (
        f'{{"ask":"{row.text(quote.ask)}","bid":"{row.text(quote.bid)}","last":"{row.text(quote.last)}",'
        f'"volume":{{"{_base(row)}":"915.6534281291","{row.currency}":"10394749.06"{stamp}}}}}'
    )
    return rest_ticker(text, [quote], PRICE_FIELDS)


def _ticker_v2(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /v2/ticker/btcusd"""
    row = board.find(call.path["symbol"].lower())
    if row is None:
        return _unknown(board, call)
    quote = board.answered(row, call.now)
    hours = ",".join(f'"{row.text(quote.last * (1.0 - hour / 2_400.0))}"' for hour in range(24))
    text = (
        f'{{"symbol":"{row.symbol.upper()}","open":"{row.text(quote.last * 0.99)}",'
        f'"high":"{row.text(quote.last * 1.02)}","low":"{row.text(quote.last * 0.98)}",'
        f'"close":"{row.text(quote.last)}","changes":[{hours}],'
        f'"bid":"{_stream_text(row, quote.bid)}","ask":"{_stream_text(row, quote.ask)}"}}'
    )
    return rest_ticker(text, [quote], PRICE_FIELDS)


def _price_feed(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /v1/pricefeed"""
    quotes = list(board.answered_all(call.now))
    parts = [
        f'{{"pair":"{quote.row.symbol.upper()}","price":"{quote.row.text(quote.last)}","percentChange24h":"0.0523"}}'
        for quote in quotes
    ]
    return rest_ticker(f"[{','.join(parts)}]", quotes, PRICE_FIELDS)


def _symbols(board: ExchangeBoard, _: RestCall) -> RestReply:
    """GET /v1/symbols"""
    return RestReply(200, to_json([row.symbol for row in board.listed()]))


def _details(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /v1/symbols/details/btcusd"""
    row = board.find(call.path["symbol"].lower())
    if row is None:
        return _unknown(board, call)
    fields: dict[str, Any] = {
        "symbol": row.symbol.upper(),
        "base_currency": _base(row),
        "quote_currency": row.currency,
        "tick_size": 1e-8,
        "quote_increment": 10.0**-row.decimals,
        "min_order_size": "0.00001",
        "status": "open",
        "wrap_enabled": False,
        "product_type": "spot",
        "contract_type": "vanilla",
        "contract_price_currency": row.currency,
    }
    return RestReply(200, to_json(fields))


def _unknown(board: ExchangeBoard, call: RestCall) -> RestReply:
    names = ", ".join(symbol.upper() for symbol in board.rows)
    message = (
        f"Supplied value '{call.path['symbol'][:40]}' is not a valid symbol.  Please correct your API request "
        f"to use one of the supported symbols: [{names}]"
    )
    return RestReply(400, to_json({"message": message, "reason": "Bad Request", "result": "error"}))


def _base(row: MarketRow) -> str:
    return row.symbol.upper().removesuffix(row.currency)


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}{market.quote}".lower()


_RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "SECOND", "intervalNum": 10, "limit": 7000, "count": 1},
    {"rateLimitType": "CONNECTION_ATTEMPTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300, "count": 1},
]

VENUE = Venue(
    name="gemini",
    sockets={"/gemini": GeminiSession, "/gemini/": GeminiSession},
    routes=(
        Route("/v1/pubticker/{symbol}", _public_ticker, REST_LIMIT),
        Route("/v2/ticker/{symbol}", _ticker_v2, REST_LIMIT),
        Route("/v1/pricefeed", _price_feed, REST_LIMIT),
        Route("/v1/symbols", _symbols, REST_LIMIT),
        Route("/v1/symbols/details/{symbol}", _details, REST_LIMIT),
    ),
    symbol_of=_symbol_of,
    connect_limit=Limit("connect", 300, 300.0),
    too_many=RestReply(429, '{"result":"error","reason":"RateLimited","message":"Requests were made too frequently"}'),
    broken=RestReply(500, '{"result":"error","reason":"System","message":"We are experiencing technical issues"}'),
)
