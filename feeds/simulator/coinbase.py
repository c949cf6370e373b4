"""Simulated Coinbase: Advanced Trade feed, and the REST services of Exchange, Advanced Trade and the spot price.

Sources: docs.cdp.coinbase.com "Advanced Trade WebSocket", recordings of 2026-08-09. Implemented: channels `ticker` and
`heartbeats`, sequence_num a connection over all messages, cumulative acknowledgement behind the first data frames, a
deadline of 5 s for the first subscription, 8 unauthenticated messages a second. The texts of error frames are not
documented and are ours.
"""

import random

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.coinbase_exchange import ExchangeSession
from feeds.simulator.market import NS_PER_SECOND, Instant, SimulatedQuote
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
    rfc3339,
    seconds_since,
    to_json,
)
from trinity.markets import Market

SUBSCRIBE_DEADLINE_SECONDS = 5.0
# The documentation says that a socket without updates closes after 60 to 90 s.
QUIET_SECONDS_MAX = 90.0
MESSAGE_LIMIT = Limit("messages", 8, 1.0)
# The advanced service answers 10 requests a second for each address; Exchange 10 with bursts to 15.
REST_LIMIT = Limit("rest", 10, 1.0)
EXCHANGE_REST_LIMIT = Limit("exchange rest", 15, 1.5)
PRICE_FIELDS = ("price", "best_bid", "best_ask", "bid", "ask", "amount")


class _Request(msgspec.Struct):
    type: str
    channel: str
    product_ids: list[str] = []


class AdvancedSession(Session):
    """One connection to advanced-trade-ws."""

    price_fields = PRICE_FIELDS

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._sequence = 0
        self._products: dict[str, None] = {}
        self._heartbeats = False
        self._beat_at_ns = now.monotonic_ns
        self._beats = rng.randrange(10_000, 100_000)
        self._buckets = Buckets()

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"type":"subscribe","product_ids":["BTC-USD"],"channel":"ticker"}"""
        if self._buckets.take(self, MESSAGE_LIMIT, now.monotonic_ns) is None:
            return [_error("rate limit exceeded")]
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_error("malformed message")]
        if request.type not in ("subscribe", "unsubscribe"):
            return [_error(f"{request.type} is not a valid type")]
        self.received_at_ns = now.monotonic_ns
        if request.channel == "heartbeats":
            self._heartbeats = request.type == "subscribe"
            return [self._acknowledge(now)]
        if request.channel != "ticker":
            return [_error(f"{request.channel} is not a valid channel")]
        if request.type == "unsubscribe":
            for product in request.product_ids or list(self._products):
                self._products.pop(product, None)
            return [self._acknowledge(now)]
        return self._subscribe(request.product_ids, now)

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        """{"channel":"ticker","timestamp":"2026-08-09T21:05:48.229198328Z","sequence_num":6,"events":[...]}"""
        if quote.row.symbol not in self._products:
            return []
        self._sequence += quote.sequence_gap
        return [self._envelope("ticker", quote.time_ns, self.frame("ticker", quote, frames, _update), now)]

    def on_timer(self, now: Instant) -> list[Out]:
        if not self._products and not self._heartbeats:
            return [CloseSocket(1008, "no subscription")] if self._age(now) >= SUBSCRIBE_DEADLINE_SECONDS else []
        if self._heartbeats and seconds_since(self._beat_at_ns, now) >= 1.0:
            self._beat_at_ns = now.monotonic_ns
            self._beats += 1
            stamp = rfc3339(now.wall_ns, 9).replace("T", " ").rstrip("Z")
            event = f'{{"current_time":"{stamp} +0000 UTC m=+{self._beats}.0","heartbeat_counter":{self._beats}}}'
            return [self._envelope("heartbeats", now.wall_ns, event, now)]
        if seconds_since(self.sent_at_ns, now) >= QUIET_SECONDS_MAX:
            return [CloseSocket(1000, "no updates")]
        return []

    def _age(self, now: Instant) -> float:
        return seconds_since(self.opened_at_ns, now)

    def _subscribe(self, products: list[str], now: Instant) -> list[Out]:
        """Snapshots first, then errors, then the acknowledgement of everything (as recorded)."""
        out: list[Out] = []
        errors: list[Out] = []
        for asked in products:
            # A -USDC product is another name of the -USD one and is answered under that.
            product = asked
            if self.board.find(asked) is None and asked.endswith("-USDC"):
                product = asked.removesuffix("C")
            if self.board.subscribe(product) is None:
                errors.append(_error(f"{asked[:40]} is not a valid product"))
                continue
            self._products[product] = None
            quote = self.board.streamed(product, now)
            if quote is not None:
                text = self.frame("ticker", quote, {}, _snapshot)
                out.append(self._envelope("ticker", quote.time_ns, text, now))
        return [*out, *errors, self._acknowledge(now)]

    def _acknowledge(self, now: Instant) -> str:
        subscriptions: dict[str, list[str]] = {}
        if self._heartbeats:
            subscriptions["heartbeats"] = ["heartbeats"]
        if self._products:
            subscriptions["ticker"] = list(self._products)
        return self._envelope("subscriptions", now.wall_ns, to_json({"subscriptions": subscriptions}), now)

    def _envelope(self, channel: str, time_ns: int | None, event: str, now: Instant) -> str:
        self.sent_at_ns = now.monotonic_ns
        stamp = "" if time_ns is None else f'"timestamp":"{rfc3339(time_ns, 9)}",'
        sequence = self._sequence
        self._sequence += 1
        return f'{{"channel":"{channel}",{stamp}"sequence_num":{sequence},"events":[{event}]}}'


def _error(message: str) -> str:
    return to_json({"type": "error", "message": message})


def _snapshot(quote: SimulatedQuote) -> str:
    return _event("snapshot", quote)


def _update(quote: SimulatedQuote) -> str:
    return _event("update", quote)


def _event(kind: str, quote: SimulatedQuote) -> str:
    row = quote.row
    last = row.text(quote.last)
    return (
        f'{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{row.symbol}","price":"{last}",'
        f'"volume_24_h":"2867.54532609","low_24_h":"{row.text(quote.last * 0.98)}",'
        f'"high_24_h":"{row.text(quote.last * 1.02)}","low_52_w":"{row.text(quote.last * 0.5)}",'
        f'"high_52_w":"{row.text(quote.last * 2.0)}","price_percent_chg_24_h":"0.09601107287722",'
        f'"best_bid":"{row.text(quote.bid)}","best_ask":"{row.text(quote.ask)}",'
        f'"best_bid_quantity":"0.20371215","best_ask_quantity":"0.24290402"}}]}}'
    )


def _exchange_ticker(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.exchange.coinbase.com/products/BTC-USD/ticker"""
    row = board.find(call.path["product"])
    if row is None:
        return RestReply(404, '{"message":"NotFound"}')
    quote = board.answered(row, call.now)
    stamp = "" if quote.time_ns is None else f'"time":"{rfc3339(quote.time_ns)}",'
    text = (
        f'{{"ask":"{row.text(quote.ask)}","bid":"{row.text(quote.bid)}","volume":"1207.50668151",'
        f'"trade_id":{18_502_105 + quote.number},"price":"{row.text(quote.last)}","size":"0.00730812",'
        f'{stamp}"rfq_volume":"7.669923"}}'
    )
    return rest_ticker(text, [quote], PRICE_FIELDS)


def _exchange_products(board: ExchangeBoard, _: RestCall) -> RestReply:
    """GET api.exchange.coinbase.com/products"""
    products = [
        {
            "id": row.symbol,
            "base_currency": row.symbol.split("-")[0],
            "quote_currency": row.currency,
            "quote_increment": row.text(10.0**-row.decimals),
            "base_increment": "0.00000001",
            "display_name": row.symbol.replace("-", "/"),
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online",
            "status_message": "",
            "trading_disabled": False,
            "fx_stablecoin": False,
            "auction_mode": False,
        }
        for row in board.listed()
    ]
    return RestReply(200, to_json(products))


def _products(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.coinbase.com/api/v3/brokerage/market/products, optionally with product_ids=..., repeated"""
    wanted = call.query.get("product_ids")
    quotes = [quote for quote in board.answered_all(call.now) if wanted is None or quote.row.symbol in wanted]
    text = f'{{"products":[{",".join(_product(quote) for quote in quotes)}],"num_products":{len(quotes)}}}'
    return rest_ticker(text, quotes, PRICE_FIELDS)


def _one_product(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.coinbase.com/api/v3/brokerage/market/products/BTC-USD"""
    row = board.find(call.path["product"])
    if row is None:
        return _UNKNOWN_PRODUCT
    quote = board.answered(row, call.now)
    return rest_ticker(_product(quote), [quote], PRICE_FIELDS)


def _product(quote: SimulatedQuote) -> str:
    row = quote.row
    base = row.symbol.split("-")[0]
    tick = row.text(10.0**-row.decimals)
    return (
        f'{{"product_id":"{row.symbol}","price":"{row.text(quote.last)}",'
        f'"price_percentage_change_24h":"0.09601107287722","volume_24h":"2867.54532609",'
        f'"volume_percentage_change_24h":"11.16524863692957","base_increment":"0.00000001",'
        f'"quote_increment":"{tick}","quote_min_size":"1","quote_max_size":"150000000",'
        f'"base_min_size":"0.00000001","base_max_size":"3400","base_name":"{base}","quote_name":"{row.currency}",'
        f'"watched":false,"is_disabled":false,"new":false,"status":"online","cancel_only":false,'
        f'"limit_only":false,"post_only":false,"trading_disabled":false,"auction_mode":false,'
        f'"product_type":"SPOT","quote_currency_id":"{row.currency}","base_currency_id":"{base}",'
        f'"fcm_trading_session_details":null,"mid_market_price":"","alias":"","alias_to":[],'
        f'"base_display_symbol":"{base}","quote_display_symbol":"{row.currency}","view_only":false,'
        f'"price_increment":"{tick}","display_name":"{row.symbol}","product_venue":"CBE",'
        f'"approximate_quote_24h_volume":"186637571.25","high_24h":"{row.text(quote.last * 1.02)}",'
        f'"low_24h":"{row.text(quote.last * 0.98)}"}}'
    )


def _advanced_ticker(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1"""
    row = board.find(call.path["product"])
    if row is None:
        return _UNKNOWN_PRODUCT
    quote = board.answered(row, call.now)
    stamp = "" if quote.time_ns is None else f'"time":"{rfc3339(quote.time_ns)}",'
    text = (
        f'{{"trades":[{{"trade_id":"{995_098_663 + quote.number}","product_id":"{row.symbol}",'
        f'"price":"{row.text(quote.last)}","size":"0.00064",{stamp}"side":"SELL","bid":"","ask":"",'
        f'"exchange":"coinbase"}}],"best_bid":"{row.text(quote.bid)}","best_ask":"{row.text(quote.ask)}"}}'
    )
    return rest_ticker(text, [quote], PRICE_FIELDS)


def _spot_price(board: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.coinbase.com/v2/prices/BTC-USD/spot: the middle of the book, not the last trade"""
    row = board.find(call.path["product"])
    if row is None:
        return RestReply(404, '{"errors":[{"id":"not_found","message":"Invalid base currency"}]}')
    quote = board.answered(row, call.now)
    amount = f"{(quote.bid + quote.ask) / 2.0:.{row.decimals + 1}f}"
    base = row.symbol.split("-")[0]
    text = f'{{"data":{{"amount":"{amount}","base":"{base}","currency":"{row.currency}"}}}}'
    return rest_ticker(text, [quote], PRICE_FIELDS)


def _time(_: ExchangeBoard, call: RestCall) -> RestReply:
    """GET api.coinbase.com/api/v3/brokerage/time"""
    seconds, ms = call.now.wall_ns // NS_PER_SECOND, call.now.wall_ns // 1_000_000
    stamp = rfc3339(call.now.wall_ns)
    return RestReply(200, f'{{"iso":"{stamp}","epochSeconds":"{seconds}","epochMillis":"{ms}"}}')


def _symbol_of(market: Market) -> str:
    return market.symbol or f"{market.asset}-{market.quote}"


_UNKNOWN_PRODUCT = RestReply(
    404,
    '{"error":"NOT_FOUND","error_details":"valid product_id is required","message":"valid product_id is required"}',
)
_ADVANCED = "/api/v3/brokerage/market/products"

VENUE = Venue(
    name="coinbase",
    sockets={
        "/coinbase": AdvancedSession,
        "/coinbase/": AdvancedSession,
        "/coinbase-exchange": ExchangeSession,
        "/coinbase-exchange/": ExchangeSession,
    },
    routes=(
        Route("/products", _exchange_products, EXCHANGE_REST_LIMIT),
        Route("/products/{product}/ticker", _exchange_ticker, EXCHANGE_REST_LIMIT),
        Route(_ADVANCED, _products, REST_LIMIT),
        Route(f"{_ADVANCED}/{{product}}", _one_product, REST_LIMIT),
        Route(f"{_ADVANCED}/{{product}}/ticker", _advanced_ticker, REST_LIMIT),
        Route("/v2/prices/{product}/spot", _spot_price, REST_LIMIT),
        Route("/api/v3/brokerage/time", _time, REST_LIMIT),
    ),
    symbol_of=_symbol_of,
    # 8 connections a second for each address, with bursts of 20.
    connect_limit=Limit("connect", 20, 2.5),
    too_many=RestReply(429, '{"message":"Public rate limit exceeded"}'),
    broken=RestReply(500, '{"message":"Internal server error"}'),
)
