"""Simulated Gate.io: WebSocket v4 (spot) and the public REST service.

Sources: www.gate.io/docs/developers/apiv4 "Spot WebSocket v4", probes of 2026-09. Implemented: `spot.tickers` (at most
one frame a second for each pair, no snapshot), `spot.book_ticker`, `spot.trades`, `spot.ping`; idle sockets die
without a close frame; no ping from the server. One unknown pair fails its whole frame (the documentation is silent).
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
    Session,
    Venue,
    rest_ticker,
    seconds_since,
    to_json,
)
from trinity.markets import Market

TICKERS_GAP_NS = NS_PER_SECOND
# Measured: a socket without a subscription and without a client frame ends after 30.0 s, a silent one after 60.0 s.
UNSUBSCRIBED_SECONDS_MAX = 30.0
SILENT_SECONDS_MAX = 60.0
CHANNELS = ("spot.tickers", "spot.book_ticker", "spot.trades")
PRICE_FIELDS = ("last", "lowest_ask", "highest_bid", "b", "a", "price")
INVALID_BODY, INVALID_ARGUMENT = 1, 2


class _Request(msgspec.Struct):
    channel: str
    event: str = ""
    payload: list[str] = []
    time: int | None = None
    id: int | None = None


class GateSession(Session):
    """One connection to api.gateio.ws/ws/v4/."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._connection_id = f"{rng.randrange(2**64):016x}"
        self._pairs: dict[str, set[str]] = {channel: set() for channel in CHANNELS}

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"time":1611541000,"id":1,"channel":"spot.tickers","event":"subscribe","payload":["BTC_USDT"]}"""
        self.received_at_ns = now.monotonic_ns
        try:
            request = msgspec.json.decode(text, type=_Request)
        except msgspec.ValidationError:
            reply = {"channel": "", "event": ""} | _failure(INVALID_BODY, "request payload does not follow json schema")
            return [self._reply(reply, None, now)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []  # text that is not JSON gets no reply
        if request.channel == "spot.ping":
            return [self._reply({"channel": "spot.pong", "event": "", "result": None}, request.id, now)]
        shown: dict[str, Any] = {"channel": request.channel, "event": request.event, "payload": request.payload}
        failure = self._failure_of(request)
        if failure is not None:
            return [self._reply(shown | failure, request.id, now)]
        pairs = self._pairs[request.channel]
        if request.event == "subscribe":
            pairs.update(request.payload)
        else:
            pairs.difference_update(request.payload)
        return [self._reply(shown | {"result": {"status": "success"}}, request.id, now)]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        symbol = quote.row.symbol
        out: list[Out] = []
        if symbol in self._pairs["spot.tickers"] and self.is_due("spot.tickers", quote, frames, TICKERS_GAP_NS, now):
            out.append(self.frame("spot.tickers", quote, frames, _ticker))
        if symbol in self._pairs["spot.book_ticker"]:
            out.append(self.frame("spot.book_ticker", quote, frames, _book_ticker))
        if quote.traded and symbol in self._pairs["spot.trades"]:
            out.append(self.frame("spot.trades", quote, frames, _trade))
        if out:
            self.sent_at_ns = now.monotonic_ns
        return out

    def on_timer(self, now: Instant) -> list[Out]:
        subscribed = any(self._pairs.values())
        heard_ns = max(self.received_at_ns, self.sent_at_ns) if subscribed else self.received_at_ns
        if seconds_since(heard_ns, now) >= (SILENT_SECONDS_MAX if subscribed else UNSUBSCRIBED_SECONDS_MAX):
            return [CloseSocket(None)]
        return [
            self.frame("spot.tickers", quote, frames, _ticker)
            for quote, frames in self.released("spot.tickers", TICKERS_GAP_NS, now)
            if quote.row.symbol in self._pairs["spot.tickers"]
        ]

    def _failure_of(self, request: _Request) -> dict[str, Any] | None:
        if request.channel not in CHANNELS:
            return _failure(INVALID_ARGUMENT, f"Unknown channel {request.channel[:40]}")
        if request.event not in ("subscribe", "unsubscribe") or not request.payload:
            return _failure(INVALID_BODY, "request payload does not follow json schema")
        for pair in request.payload:
            if self.board.subscribe(pair) is None:
                return _failure(INVALID_ARGUMENT, f"unknown currency pair: {pair[:40]}")
        return None

    def _reply(self, fields: dict[str, Any], request_id: int | None, now: Instant) -> str:
        head: dict[str, Any] = {"time": now.wall_ns // NS_PER_SECOND, "time_ms": now.wall_ns // 1_000_000}
        if request_id is not None:
            head["id"] = request_id
        trace = f"{self.rng.randrange(2**128):032x}"
        return to_json(
            head | {"conn_id": self._connection_id, "trace_id": trace} | fields | {"requestId": trace}  # as recorded
        )


def _failure(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}, "result": {"status": "fail"}}


def _update(channel: str, quote: SimulatedQuote, result: str) -> str:
    stamp = ""
    if quote.time_ns is not None:
        stamp = f'"time":{quote.time_ns // NS_PER_SECOND},"time_ms":{quote.time_ns // 1_000_000},'
    return f'{{{stamp}"channel":"{channel}","event":"update","result":{result}}}'


def _ticker(quote: SimulatedQuote) -> str:
    return _update("spot.tickers", quote, _ticker_result(quote))


def _ticker_result(quote: SimulatedQuote, sizes: str = "") -> str:
    row = quote.row
    return (
        f'{{"currency_pair":"{row.symbol}","last":"{row.text(quote.last)}","lowest_ask":"{row.text(quote.ask)}",'
        f'"highest_bid":"{row.text(quote.bid)}",{sizes}"change_percentage":"0.2899","base_volume":"8059.288476",'
        f'"quote_volume":"942042493.4857494","high_24h":"{row.text(quote.last * 1.02)}",'
        f'"low_24h":"{row.text(quote.last * 0.98)}"}}'
    )


def _book_ticker(quote: SimulatedQuote) -> str:
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"t":{quote.time_ns // 1_000_000},'
    result = (
        f'{{{stamp}"u":{40_013_503_861 + quote.number},"s":"{row.symbol}","b":"{row.text(quote.bid)}","B":"0.497321",'
        f'"a":"{row.text(quote.ask)}","A":"0.055894"}}'
    )
    return _update("spot.book_ticker", quote, result)


def _trade(quote: SimulatedQuote) -> str:
    row = quote.row
    stamp = ""
    if quote.time_ns is not None:
        ms, rest_ns = divmod(quote.time_ns, 1_000_000)
        stamp = f'"create_time":{ms // 1_000},"create_time_ms":"{ms}.{rest_ns:06d}",'
    trade_id = 220_643_714 + quote.number
    result = (
        f'{{"id":{trade_id},"id_market":{trade_id},{stamp}"side":"{"sell" if quote.last <= quote.bid else "buy"}",'
        f'"currency_pair":"{row.symbol}","amount":"0.002984","price":"{row.text(quote.last)}",'
        f'"range":"{trade_id}-{trade_id}","trade_mode":0}}'
    )
    return _update("spot.trades", quote, result)


def _tickers(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v4/spot/tickers?currency_pair=BTC_USDT, all without the parameter; no comma lists"""
    asked = call.first("currency_pair")
    row = board.find(asked) if asked is not None else None
    if asked is not None and row is None:
        return _invalid_pair(asked)
    quotes = [board.answered(one, call.now) for one in (board.listed() if row is None else [row])]
    sizes = '"lowest_size":"3.175936","highest_size":"2.833187",'
    return rest_ticker(f"[{','.join(_ticker_result(quote, sizes) for quote in quotes)}]", quotes, PRICE_FIELDS)


def _currency_pairs(board: ExchangeBoard, _: RestCall) -> RestReply:
    """GET /api/v4/spot/currency_pairs"""
    return RestReply(200, to_json([_pair(row) for row in board.listed()]))


def _one_pair(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v4/spot/currency_pairs/BTC_USDT"""
    row = board.find(call.path["pair"])
    return _invalid_pair(call.path["pair"]) if row is None else RestReply(200, to_json(_pair(row)))


def _pair(row: MarketRow) -> dict[str, Any]:
    base, _, quote = row.symbol.partition("_")
    return {
        "id": row.symbol,
        "base": base,
        "base_name": base,
        "quote": quote,
        "quote_name": quote,
        "fee": "0.2",
        "min_base_amount": "0.000001",
        "min_quote_amount": "3",
        "amount_precision": 6,
        "precision": row.decimals,
        "trade_status": "tradable",
        "sell_start": 0,
        "buy_start": 0,
        "type": "normal",
    }


def _margin_pairs(_: ExchangeBoard, __: RestCall) -> RestReply:
    """GET /api/v4/margin/currency_pairs: no pair here can be traded on margin; common clients ask at start"""
    return RestReply(200, "[]")


def _time(_: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v4/spot/time"""
    return RestReply(200, f'{{"server_time":{call.now.wall_ns // 1_000_000}}}')


def _invalid_pair(name: str) -> RestReply:
    return RestReply(400, to_json({"label": "INVALID_CURRENCY_PAIR", "message": f"Invalid currency pair {name[:40]}"}))


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}_{market.quote}"


def _limit(endpoint: str) -> Limit:
    """200 requests in 10 s for each endpoint and address."""
    return Limit(endpoint, 200, 10.0)


VENUE = Venue(
    name="gateio",
    sockets={"/gateio/ws/v4/": GateSession, "/gateio/ws/v4": GateSession},
    routes=(
        Route("/api/v4/spot/tickers", _tickers, _limit("tickers")),
        Route("/api/v4/spot/currency_pairs", _currency_pairs, _limit("currency_pairs")),
        Route("/api/v4/spot/currency_pairs/{pair}", _one_pair, _limit("currency_pair")),
        Route("/api/v4/margin/currency_pairs", _margin_pairs, _limit("margin")),
        Route("/api/v4/spot/time", _time, _limit("time")),
    ),
    symbol_of=_symbol_of,
    # None is published; this is what a fair client never reaches.
    connect_limit=Limit("connect", 300, 60.0),
    too_many=RestReply(429, '{"label":"TOO_MANY_REQUESTS","message":"Request Rate limit Exceeded"}'),
    broken=RestReply(500, '{"label":"INTERNAL","message":"Internal server error"}'),
)
