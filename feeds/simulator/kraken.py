"""Simulated Kraken: WebSocket v2 and the public REST service.

Sources: docs.kraken.com "WebSocket v2", recordings of 2026-07 to 2026-10. Implemented: status on connecting, channel
`ticker` with both event triggers, one acknowledgement per symbol and then its snapshot, heartbeat 1/s when idle, ping,
closing after 60 s without activity. Prices are JSON numbers whose text matters.
"""

import random
from datetime import UTC, datetime
from typing import Any, Literal

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
    rfc3339,
    seconds_since,
    to_json,
)
from trinity.markets import Market

HEARTBEAT_SECONDS = 1.0
IDLE_SECONDS_MAX = 60.0
# About one request a second is safe; a client that loads the lists of assets and pairs at start is not refused.
REST_LIMIT = Limit("rest", 15, 15.0)
PRICE_FIELDS = ("bid", "ask", "last", "a", "b", "c")
# REST: the oldest assets carry an X, national currencies a Z; Bitcoin and Dogecoin have names of their own.
OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
X_ASSETS = frozenset({"XBT", "ETH", "XRP", "LTC", "XLM", "XMR", "ZEC", "ETC"})


class _Params(msgspec.Struct):
    channel: str = ""
    symbol: list[str] = []
    event_trigger: Literal["trades", "bbo"] = "trades"
    snapshot: bool = True


class _Request(msgspec.Struct):
    method: str
    params: _Params = msgspec.field(default_factory=_Params)
    req_id: int | None = None


class KrakenSession(Session):
    """One connection to ws.kraken.com/v2."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._triggers: dict[str, str] = {}

    def on_open(self, now: Instant) -> list[Out]:
        connection_id = self.rng.randrange(2**63, 2**64)
        status = (
            '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
            f'"connection_id":{connection_id},"upcoming_maintenance":[],"emergency":[]}}]}}'
        )
        return [status]

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]},"req_id":1}"""
        self.received_at_ns = now.monotonic_ns
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_stamped({"error": "Malformed request", "success": False}, None, now)]
        if request.method == "ping":
            return [_stamped({"method": "pong"}, request.req_id, now)]
        if request.method not in ("subscribe", "unsubscribe"):
            refused = {"error": "Unsupported method", "method": request.method[:40], "success": False}
            return [_stamped(refused, request.req_id, now)]
        if request.params.channel != "ticker":
            message = f"Channel not supported {request.params.channel[:40]}"
            refused = {"error": message, "method": request.method, "success": False}
            return [_stamped(refused, request.req_id, now)]
        self.sent_at_ns = now.monotonic_ns
        return [out for symbol in request.params.symbol for out in self._change(symbol, request, now)]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        trigger = self._triggers.get(quote.row.symbol)
        if trigger is None or (trigger == "trades" and not quote.traded):
            return []
        self.sent_at_ns = now.monotonic_ns
        return [self.frame("ticker", quote, frames, _update)]

    def on_timer(self, now: Instant) -> list[Out]:
        if self._triggers:
            if seconds_since(self.sent_at_ns, now) < HEARTBEAT_SECONDS:
                return []
            self.sent_at_ns = now.monotonic_ns
            return ['{"channel":"heartbeat"}']
        idle = seconds_since(self.received_at_ns, now) >= IDLE_SECONDS_MAX
        return [CloseSocket(1000, "inactivity")] if idle else []

    def _change(self, symbol: str, request: _Request, now: Instant) -> list[Out]:
        params = request.params
        if self.board.subscribe(symbol) is None:
            message = f"Currency pair not supported {symbol[:40]}"
            refused = {"error": message, "method": request.method, "success": False, "symbol": symbol[:40]}
            return [_stamped(refused, request.req_id, now)]
        result: dict[str, Any] = {"channel": "ticker", "event_trigger": params.event_trigger, "symbol": symbol}
        if request.method == "unsubscribe":
            self._triggers.pop(symbol, None)
            return [_stamped({"method": "unsubscribe", "result": result, "success": True}, request.req_id, now)]
        self._triggers[symbol] = params.event_trigger
        result["snapshot"] = params.snapshot
        out: list[Out] = [_stamped({"method": "subscribe", "result": result, "success": True}, request.req_id, now)]
        quote = self.board.streamed(symbol, now) if params.snapshot else None
        if quote is not None:
            out.append(self.frame("ticker", quote, {}, _snapshot))
        return out


def _stamped(fields: dict[str, Any], request_id: int | None, now: Instant) -> str:
    if request_id is not None:
        fields["req_id"] = request_id
    # What a real answer takes between the two times is some 50 us.
    return to_json(fields | {"time_in": rfc3339(now.wall_ns), "time_out": rfc3339(now.wall_ns + 50_000)})


def _snapshot(quote: SimulatedQuote) -> str:
    return _ticker("snapshot", quote)


def _update(quote: SimulatedQuote) -> str:
    return _ticker("update", quote)


def _ticker(kind: str, quote: SimulatedQuote) -> str:
    row = quote.row
    last = row.text(quote.last)
    stamp = "" if quote.time_ns is None else f',"timestamp":"{rfc3339(quote.time_ns)}"'
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{row.symbol}","bid":{row.text(quote.bid)},'
        f'"bid_qty":0.56251979,"ask":{row.text(quote.ask)},"ask_qty":0.00044780,"last":{last},'
        f'"volume":3156.84782110,"vwap":{row.text(quote.last * 1.001)},"low":{row.text(quote.last * 0.98)},'
        f'"high":{row.text(quote.last * 1.02)},"change":-{row.text(quote.last * 0.005)},"change_pct":-0.50,'
        f'"trades":135262{stamp}}}]}}'
    )


def rest_key(row: MarketRow) -> str:
    """The name under which REST answers: XXBTZUSD, XDGUSD, SOLUSD, USDTZUSD."""
    base, _, quote = row.symbol.partition("/")
    old = OLD_NAMES.get(base, base)
    if old in X_ASSETS and quote == "USD":
        return f"X{old}ZUSD"
    return f"{old}{'ZUSD' if base == 'USDT' and quote == 'USD' else quote}"


def _names(row: MarketRow) -> tuple[str, ...]:
    """Every name by which REST knows a pair: key, alternative name, WebSocket v1 name, v2 name."""
    base, _, quote = row.symbol.partition("/")
    old = OLD_NAMES.get(base, base)
    return rest_key(row), f"{old}{quote}", f"{old}/{quote}", row.symbol


def _pair(board: ExchangeBoard, name: str) -> MarketRow | None:
    return next((row for row in board.listed() if name in _names(row)), None)


def _rest_tickers(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /0/public/Ticker?pair=XBTUSD,ETHUSD; without `pair` all"""
    asked = call.first("pair")
    rows = {rest_key(row): row for row in board.listed()} if asked is None else {}
    for name in asked.split(",") if asked is not None else ():
        row = _pair(board, name)
        if row is None:
            return _error("EQuery:Unknown asset pair")
        rows[name if "/" in name else rest_key(row)] = row
    quotes = [board.answered(row, call.now) for row in rows.values()]
    parts = [f'"{key}":{_rest_ticker(quote)}' for key, quote in zip(rows, quotes, strict=True)]
    return rest_ticker(f'{{"error":[],"result":{{{",".join(parts)}}}}}', quotes, PRICE_FIELDS)


def _rest_ticker(quote: SimulatedQuote) -> str:
    row = quote.row
    last = row.text(quote.last)
    low, high = row.text(quote.last * 0.98), row.text(quote.last * 1.02)
    return (
        f'{{"a":["{row.text(quote.ask)}","1","1.000"],"b":["{row.text(quote.bid)}","1","1.000"],'
        f'"c":["{last}","0.00048760"],"v":["895.28398075","1686.88628419"],"p":["{last}","{last}"],'
        f'"t":[55819,109023],"l":["{low}","{low}"],"h":["{high}","{high}"],"o":"{row.text(quote.last * 1.005)}"}}'
    )


def _asset_pairs(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /0/public/AssetPairs"""
    asked = call.first("pair")
    rows = board.listed()
    if asked is not None:
        found = [_pair(board, name) for name in asked.split(",")]
        rows = [row for row in found if row is not None]
        if len(rows) < len(found):
            return _error("EQuery:Unknown asset pair")
    return RestReply(200, to_json({"error": [], "result": {rest_key(row): _asset_pair(row) for row in rows}}))


def _asset_pair(row: MarketRow) -> dict[str, Any]:
    base, _, quote = row.symbol.partition("/")
    _, alternative, old_slash_name, _ = _names(row)
    return {
        "altname": alternative,
        "wsname": old_slash_name,
        "aclass_base": "currency",
        "base": _rest_asset(base),
        "aclass_quote": "currency",
        "quote": _rest_asset(quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": row.decimals,
        "lot_decimals": 8,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": row.text(10.0**-row.decimals),
        "status": "online",
        "execution_venue": "international",
    }


def _assets(board: ExchangeBoard, _: RestCall) -> RestReply:
    """GET /0/public/Assets"""
    names = dict.fromkeys(name for row in board.rows.values() for name in row.symbol.split("/"))
    assets = {
        _rest_asset(name): {
            "aclass": "currency",
            "altname": OLD_NAMES.get(name, name),
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for name in names
    }
    return RestReply(200, to_json({"error": [], "result": assets}))


def _rest_asset(name: str) -> str:
    old = OLD_NAMES.get(name, name)
    if old in X_ASSETS or old == "XDG":
        return f"X{old}"
    return "ZUSD" if name == "USD" else name


def _system_status(_: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /0/public/SystemStatus"""
    stamp = rfc3339(call.now.wall_ns)[:19] + "Z"
    return RestReply(200, f'{{"error":[],"result":{{"status":"online","timestamp":"{stamp}"}}}}')


def _time(_: ExchangeBoard, call: RestCall) -> RestReply:
    """GET /0/public/Time"""
    seconds = call.now.wall_ns // NS_PER_SECOND
    words = datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %y %H:%M:%S +0000")
    return RestReply(200, f'{{"error":[],"result":{{"unixtime":{seconds},"rfc1123":"{words}"}}}}')


def _error(text: str, status: int = 200) -> RestReply:
    return RestReply(status, to_json({"error": [text]}))


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}/{market.quote}"


VENUE = Venue(
    name="kraken",
    sockets={"/kraken/v2": KrakenSession},
    routes=(
        Route("/0/public/Ticker", _rest_tickers, REST_LIMIT),
        Route("/0/public/AssetPairs", _asset_pairs, REST_LIMIT),
        Route("/0/public/Assets", _assets, REST_LIMIT),
        Route("/0/public/SystemStatus", _system_status, REST_LIMIT),
        Route("/0/public/Time", _time, REST_LIMIT),
    ),
    symbol_of=_symbol_of,
    connect_limit=Limit("connect", 150, 600.0),
    too_many=_error("EGeneral:Too many requests", 429),
    broken=_error("EGeneral:Internal error", 500),
)
