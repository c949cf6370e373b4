"""Simulated OKX: WebSocket v5 (public) and the public REST service.

Sources: www.okx.com/docs-v5, recordings of 2022 and 2026-09. Implemented: channel `tickers` (at most one frame in
100 ms for each instrument, the first right behind its acknowledgement), `bbo-tbt` and `trades`, one acknowledgement an
argument, text `ping` and `pong`, errors 60012, 60014 and 60018, 480 subscriptions an hour, closing after 30 s without
data or ping.
"""

import random
from typing import Any

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.market import NS_PER_MS, Instant, MarketRow, SimulatedQuote
from feeds.simulator.rates import Buckets, Limit
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

TICKERS_GAP_NS = 100 * NS_PER_MS
IDLE_SECONDS_MAX = 30.0
ARGUMENTS_BYTES_MAX = 64 * 1024
SUBSCRIBE_LIMIT = Limit("subscribe", 480, 3600.0)
PRICE_FIELDS = ("last", "askPx", "bidPx", "asks", "bids", "px")
_UNKNOWN_INSTRUMENT = (
    '{"code":"51001","data":[],"msg":"Instrument ID, Instrument ID code, or Spread ID doesn\'t exist."}'
)


class _Argument(msgspec.Struct):
    channel: str
    instId: str = ""  # noqa: N815 -- the exchange's name


class _Request(msgspec.Struct):
    op: str
    args: list[_Argument]
    id: str | None = None


class OkxSession(Session):
    """One connection to ws.okx.com:8443/ws/v5/public."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._connection_id = f"{rng.randrange(2**32):08x}"
        self._subscribed: set[tuple[str, str]] = set()  # (channel, instrument)
        self._buckets = Buckets()

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"id":"1512","op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]}"""
        if text == "ping":
            self.sent_at_ns = now.monotonic_ns
            return ["pong"]
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [self._error("60012", f"Invalid request: {text[:200]}", None)]
        if request.op not in ("subscribe", "unsubscribe"):
            return [self._error("60012", f"Invalid request: {text[:200]}", request.id)]
        if len(text) > ARGUMENTS_BYTES_MAX:
            return [self._error("60013", "Invalid args", request.id)]
        if self._buckets.take(self, SUBSCRIBE_LIMIT, now.monotonic_ns) is None:
            return [self._error("60014", "Requests too frequent", request.id)]
        return [out for argument in request.args for out in self._change(argument, request, now)]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        symbol = quote.row.symbol
        wanted = [channel for channel in CHANNELS if (channel, symbol) in self._subscribed]
        if "trades" in wanted and not quote.traded:
            wanted.remove("trades")
        if "tickers" in wanted and not self.is_due("tickers", quote, frames, TICKERS_GAP_NS, now):
            wanted.remove("tickers")
        if wanted:
            self.sent_at_ns = now.monotonic_ns
        return [self.frame(channel, quote, frames, CHANNELS[channel]) for channel in wanted]

    def on_timer(self, now: Instant) -> list[Out]:
        if seconds_since(self.sent_at_ns, now) >= IDLE_SECONDS_MAX:
            return [CloseSocket(4004, "No data received in 30s.")]
        released = self.released("tickers", TICKERS_GAP_NS, now)
        return [
            self.frame("tickers", quote, frames, _ticker)
            for quote, frames in released
            if ("tickers", quote.row.symbol) in self._subscribed
        ]

    def _change(self, argument: _Argument, request: _Request, now: Instant) -> list[Out]:
        channel, instrument = argument.channel, argument.instId
        if channel not in CHANNELS or self.board.subscribe(instrument) is None:
            message = (
                f"Subscribe failed, wrong URL or channel:{channel[:40]},instId:{instrument[:40]} "
                "doesn't exist. Please use the correct URL, channel and parameters referring to API document."
            )
            return [self._error("60018", message, request.id)]
        acknowledgement: dict[str, Any] = {} if request.id is None else {"id": request.id}
        acknowledgement |= {"event": request.op, "arg": {"channel": channel, "instId": instrument}}
        out: list[Out] = [to_json(acknowledgement | {"connId": self._connection_id})]
        if request.op == "unsubscribe":
            self._subscribed.discard((channel, instrument))
            return out
        self._subscribed.add((channel, instrument))
        quote = self.board.streamed(instrument, now)
        if quote is not None:
            self.sent_at_ns = now.monotonic_ns
            out.append(self.frame(channel, quote, {}, CHANNELS[channel]))
        return out

    def _error(self, code: str, message: str, request_id: str | None) -> str:
        head = {} if request_id is None else {"id": request_id}
        return to_json(head | {"event": "error", "msg": message, "code": code, "connId": self._connection_id})


def _ticker(quote: SimulatedQuote) -> str:
    return f'{{"arg":{{"channel":"tickers","instId":"{quote.row.symbol}"}},"data":[{_ticker_object(quote)}]}}'


def _ticker_object(quote: SimulatedQuote) -> str:
    row = quote.row
    start = row.text(quote.last * 0.995)
    stamp = "" if quote.time_ns is None else f',"ts":"{quote.time_ns // NS_PER_MS}"'
    return (
        f'{{"instType":"SPOT","instId":"{row.symbol}","last":"{row.text(quote.last)}","lastSz":"0.0000102",'
        f'"askPx":"{row.text(quote.ask)}","askSz":"0.25697131","bidPx":"{row.text(quote.bid)}","bidSz":"0.65302934",'
        f'"open24h":"{start}","high24h":"{row.text(quote.last * 1.02)}","low24h":"{row.text(quote.last * 0.98)}",'
        f'"sodUtc0":"{start}","sodUtc8":"{start}","volCcy24h":"458903124.056360828","vol24h":"5449.95415651"{stamp}}}'
    )


def _best_offers(quote: SimulatedQuote) -> str:
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"ts":"{quote.time_ns // NS_PER_MS}",'
    return (
        f'{{"arg":{{"channel":"bbo-tbt","instId":"{row.symbol}"}},"data":[{{'
        f'"asks":[["{row.text(quote.ask)}","0.25697131","0","13"]],'
        f'"bids":[["{row.text(quote.bid)}","0.65302934","0","12"]],{stamp}"seqId":{81_625_379_835 + quote.number}}}]}}'
    )


def _trade(quote: SimulatedQuote) -> str:
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"ts":"{quote.time_ns // NS_PER_MS}",'
    return (
        f'{{"arg":{{"channel":"trades","instId":"{row.symbol}"}},"data":[{{"instId":"{row.symbol}",'
        f'"tradeId":"{1_062_992_715 + quote.number}","px":"{row.text(quote.last)}","sz":"0.0000178",'
        f'"side":"{"sell" if quote.last <= quote.bid else "buy"}",{stamp}"count":"1","source":"0",'
        f'"seqId":{81_625_379_835 + quote.number}}}]}}'
    )


# Channel -> how its frame is built; acknowledged and started alike.
CHANNELS = {"tickers": _ticker, "bbo-tbt": _best_offers, "trades": _trade}


def _rest_ticker(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v5/market/ticker?instId=BTC-USDT"""
    row = board.find(call.first("instId") or "")
    return RestReply(200, _UNKNOWN_INSTRUMENT) if row is None else _answer([board.answered(row, call.now)])


def _rest_tickers(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v5/market/tickers?instType=SPOT"""
    kind = call.first("instType")
    if kind is None:
        return RestReply(400, '{"code":"50014","data":[],"msg":"Parameter instType can not be empty."}')
    return _answer(list(board.answered_all(call.now)) if kind == "SPOT" else [])


def _answer(quotes: list[SimulatedQuote]) -> RestReply:
    listed = ",".join(_ticker_object(quote) for quote in quotes)
    return rest_ticker(f'{{"code":"0","msg":"","data":[{listed}]}}', quotes, PRICE_FIELDS)


def _instruments(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v5/public/instruments?instType=SPOT"""
    spot = call.first("instType") == "SPOT"
    asked = call.first("instId")
    rows = [row for row in board.listed() if spot and asked in (None, row.symbol)]
    return RestReply(200, to_json({"code": "0", "msg": "", "data": [_instrument(row) for row in rows]}))


def _instrument(row: MarketRow) -> dict[str, str]:
    base, _, quote = row.symbol.partition("-")
    return {
        "alias": "",
        "baseCcy": base,
        "category": "1",
        "ctMult": "",
        "ctType": "",
        "ctVal": "",
        "ctValCcy": "",
        "expTime": "",
        "instFamily": "",
        "instId": row.symbol,
        "instType": "SPOT",
        "lever": "",
        "listTime": "1548133413000",
        "lotSz": "0.00000001",
        "maxLmtSz": "9999999999",
        "maxMktSz": "1000000",
        "minSz": "0.00001",
        "optType": "",
        "quoteCcy": quote,
        "ruleType": "normal",
        "settleCcy": "",
        "state": "live",
        "stk": "",
        "tickSz": row.text(10.0**-row.decimals),
        "uly": "",
    }


def _time(_: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /api/v5/public/time"""
    return RestReply(200, f'{{"code":"0","msg":"","data":[{{"ts":"{call.now.wall_ns // NS_PER_MS}"}}]}}')


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}-{market.quote}"


def _limit(endpoint: str) -> Limit:
    """20 requests in 2 s for each endpoint and address."""
    return Limit(endpoint, 20, 2.0)


VENUE = Venue(
    name="okx",
    sockets={"/okx/ws/v5/public": OkxSession},
    routes=(
        Route("/api/v5/market/ticker", _rest_ticker, _limit("ticker")),
        Route("/api/v5/market/tickers", _rest_tickers, _limit("tickers")),
        Route("/api/v5/public/instruments", _instruments, _limit("instruments")),
        Route("/api/v5/public/time", _time, _limit("time")),
    ),
    symbol_of=_symbol_of,
    connect_limit=Limit("connect", 3, 1.0),
    too_many=RestReply(429, '{"code":"50011","data":[],"msg":"Too Many Requests"}'),
    broken=RestReply(500, '{"code":"50026","data":[],"msg":"System error"}'),
)
