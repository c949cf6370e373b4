"""Simulated Crypto.com Exchange: WebSocket v1 (market) and the public REST service.

Sources: exchange-docs.crypto.com "Exchange v1", probes of 2026-09. Implemented: `ticker.` channels whose first data
frame carries the request's id instead of an acknowledgement, heartbeats every 30 s that the client must answer
(closed with 1000 at the third unanswered one), protocol pings every 5 s, 400 subscriptions, 100 requests a second,
fewer in the second of the connection.
"""

import random
from typing import Any

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.market import NS_PER_SECOND, Instant, MarketRow, SimulatedQuote
from feeds.simulator.rates import Limit
from feeds.simulator.venue import (
    CloseSocket,
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

HEARTBEAT_SECONDS = 30.0
# Measured: the first heartbeat comes 5 to 27 s after connecting.
FIRST_HEARTBEAT_SECONDS = (5.0, 27.0)
UNANSWERED_MAX = 3
PING_SECONDS = 5.0
SUBSCRIPTIONS_MAX = 400
REQUESTS_PER_SECOND = 100
PRICE_FIELDS = ("a", "b", "k", "h", "l")
BAD_REQUEST, UNKNOWN_SYMBOL, SUBSCRIPTIONS_EXCEEDED, TOO_MANY_REQUESTS = 40001, 40003, 40107, 42901


class _Params(msgspec.Struct):
    channels: list[str] = []


class _Request(msgspec.Struct):
    method: str
    id: int = -1
    params: _Params = msgspec.field(default_factory=_Params)


class CryptocomSession(Session):
    """One connection to stream.crypto.com/exchange/v1/market."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._instruments: set[str] = set()
        self._first_ids: dict[str, int] = {}
        first_ns = round(rng.uniform(*FIRST_HEARTBEAT_SECONDS) * NS_PER_SECOND)
        self._beat_due_ns = now.monotonic_ns + first_ns
        self._beat_id = 0
        self._unanswered = 0
        self._ping_at_ns = now.monotonic_ns
        self._second = now.wall_ns // NS_PER_SECOND
        # The limit holds for a calendar second, so the one of the connection leaves only its rest.
        self._requests_left = REQUESTS_PER_SECOND * (NS_PER_SECOND - now.wall_ns % NS_PER_SECOND) // NS_PER_SECOND

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"id":1,"method":"subscribe","params":{"channels":["ticker.BTC_USD"]},"nonce":1587523073344}"""
        try:
            request = msgspec.json.decode(text, type=_Request)
        except msgspec.ValidationError:
            return [to_json({"id": -1, "code": BAD_REQUEST, "message": "Bad request"})]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []  # text that is not JSON gets no reply
        if not self._may_request(now):
            too_many = {"id": request.id, "method": request.method[:40], "code": TOO_MANY_REQUESTS}
            return [to_json(too_many | {"message": "Too many requests"})]
        if request.method == "public/respond-heartbeat":
            if request.id == self._beat_id:
                self._unanswered = 0
            return []
        if request.method == "unsubscribe":
            self._instruments -= {channel.removeprefix("ticker.") for channel in request.params.channels}
            return [to_json({"id": request.id, "method": "unsubscribe", "code": 0})]
        if request.method != "subscribe":
            return [_error(request.id, request.method[:40], UNKNOWN_SYMBOL, "No such method")]
        return [out for channel in request.params.channels for out in self._subscribe(channel, request.id, now)]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        symbol = quote.row.symbol
        if symbol not in self._instruments:
            return []
        return [self._data_frame(quote, frames)]

    def on_timer(self, now: Instant) -> list[Out]:
        out: list[Out] = []
        if seconds_since(self._ping_at_ns, now) >= PING_SECONDS:
            self._ping_at_ns = now.monotonic_ns
            out.append(SendPing())
        if now.monotonic_ns >= self._beat_due_ns:
            self._beat_due_ns = now.monotonic_ns + round(HEARTBEAT_SECONDS * NS_PER_SECOND)
            self._beat_id = now.wall_ns // 1_000_000
            self._unanswered += 1
            out.append(f'{{"id":{self._beat_id},"method":"public/heartbeat","code":0}}')
            if self._unanswered >= UNANSWERED_MAX:
                out.append(CloseSocket(1000, "heartbeat not handled"))
        return out

    def _may_request(self, now: Instant) -> bool:
        second = now.wall_ns // NS_PER_SECOND
        if second != self._second:
            self._second, self._requests_left = second, REQUESTS_PER_SECOND
        self._requests_left -= 1
        return self._requests_left >= 0

    def _subscribe(self, channel: str, request_id: int, now: Instant) -> list[Out]:
        kind, _, instrument = channel.partition(".")
        if kind != "ticker":
            return [_error(request_id, "subscribe", UNKNOWN_SYMBOL, "Unrecognized channel", channel)]
        if self.board.subscribe(instrument) is None:
            return [_error(request_id, "subscribe", UNKNOWN_SYMBOL, "Unknown symbol", channel)]
        if len(self._instruments | {instrument}) > SUBSCRIPTIONS_MAX:
            return [_error(request_id, "subscribe", SUBSCRIPTIONS_EXCEEDED, "Maximum subscriptions exceeded")]
        self._instruments.add(instrument)
        self._first_ids[instrument] = request_id
        quote = self.board.streamed(instrument, now)
        return [] if quote is None else [self._data_frame(quote, {})]

    def _data_frame(self, quote: SimulatedQuote, frames: dict[str, str]) -> str:
        """{"id":-1,"method":"subscribe","code":0,"result":{...}}; the first one has the id of its request"""
        request_id = self._first_ids.pop(quote.row.symbol, -1) if self._first_ids else -1
        return f'{{"id":{request_id},{self.frame("ticker", quote, frames, _ticker)}'


def _ticker(quote: SimulatedQuote) -> str:
    """A data frame behind its id."""
    symbol = quote.row.symbol
    return (
        f'"method":"subscribe","code":0,"result":{{"instrument_name":"{symbol}","subscription":"ticker.{symbol}",'
        f'"channel":"ticker","data":[{_ticker_object(quote, sizes=True)}]}}}}'
    )


def _ticker_object(quote: SimulatedQuote, sizes: bool) -> str:
    row = quote.row
    bid_size, ask_size = ('"bs":"0.27217",', '"ks":"0.23532",') if sizes else ("", "")
    stamp = "" if quote.time_ns is None else f',"t":{quote.time_ns // 1_000_000}'
    return (
        f'{{"h":"{row.text(quote.last * 1.02)}","l":"{row.text(quote.last * 0.98)}","a":"{row.text(quote.last)}",'
        f'"c":"0.0092","b":"{row.text(quote.bid)}",{bid_size}"k":"{row.text(quote.ask)}",{ask_size}'
        f'"i":"{row.symbol}","v":"2657.5053","vv":"169819487.92","oi":"0"{stamp}}}'
    )


def _error(request_id: int, method: str, code: int, message: str, channel: str | None = None) -> str:
    fields: dict[str, Any] = {"id": request_id, "method": method, "code": code}
    if channel is not None:
        fields["channel"] = channel[:80]
    return to_json(fields | {"message": message})


def _tickers(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /exchange/v1/public/get-tickers?instrument_name=BTC_USD, all without the parameter"""
    asked = call.first("instrument_name")
    row = board.find(asked) if asked is not None else None
    if asked is not None and row is None:
        return RestReply(400, _error(-1, "public/get-tickers", UNKNOWN_SYMBOL, "Unknown symbol"))
    quotes = [board.answered(one, call.now) for one in (board.listed() if row is None else [row])]
    listed = ",".join(_ticker_object(quote, sizes=False) for quote in quotes)
    text = f'{{"id":-1,"method":"public/get-tickers","code":0,"result":{{"data":[{listed}]}}}}'
    return rest_ticker(text, quotes, PRICE_FIELDS)


def _instruments(board: ExchangeBoard, _: RestCall) -> RestReply:
    """GET /exchange/v1/public/get-instruments"""
    listed = [_instrument(row) for row in board.listed()]
    return RestReply(200, to_json({"id": 1, "method": "public/get-instruments", "code": 0, "result": {"data": listed}}))


def _instrument(row: MarketRow) -> dict[str, Any]:
    base, _, quote = row.symbol.partition("_")
    return {
        "symbol": row.symbol,
        "inst_type": "CCY_PAIR",
        "display_name": f"{base}/{quote}",
        "base_ccy": base,
        "quote_ccy": quote,
        "quote_decimals": row.decimals,
        "quantity_decimals": 8,
        "price_tick_size": row.text(10.0**-row.decimals),
        "qty_tick_size": "0.00000001",
        "max_leverage": "1",
        "tradable": True,
        "expiry_timestamp_ms": 0,
        "beta_product": False,
        "margin_buy_enabled": False,
        "margin_sell_enabled": False,
    }


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}_{market.quote}"


VENUE = Venue(
    name="cryptocom",
    sockets={"/cryptocom/exchange/v1/market": CryptocomSession},
    routes=(
        Route("/exchange/v1/public/get-tickers", _tickers, Limit("get-tickers", 100, 1.0)),
        Route("/exchange/v1/public/get-instruments", _instruments, Limit("get-instruments", 100, 1.0)),
    ),
    symbol_of=_symbol_of,
    # None is published; this is what a fair client never reaches.
    connect_limit=Limit("connect", 300, 60.0),
    too_many=RestReply(429, '{"id":-1,"code":42901,"message":"Too many requests"}'),
    broken=RestReply(500, '{"id":-1,"code":50001,"message":"Internal error"}'),
)
