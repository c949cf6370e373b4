"""Simulated Coinbase Exchange feed (ws-feed.exchange.coinbase.com): the older, flat dialect of the same market.

Sources: docs.cdp.coinbase.com "Exchange WebSocket", recordings of 2021 and 2022. Implemented: channels `ticker` and
`heartbeat`, channels named alone or with products of their own, `sequence` per product, the acknowledgement of the
whole state, a bad product reported alone. A ticker is sent for each trade, not for each change of the book.
"""

import random

import msgspec

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.market import Instant, SimulatedQuote
from feeds.simulator.venue import CloseSocket, Out, Session, rfc3339, seconds_since, to_json

SUBSCRIBE_DEADLINE_SECONDS = 5.0
CHANNELS = ("ticker", "heartbeat")


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] = []


class _Request(msgspec.Struct):
    type: str
    channels: list[str | _Channel] = []
    product_ids: list[str] = []


class ExchangeSession(Session):
    """One connection to ws-feed.exchange."""

    price_fields = ("price", "best_bid", "best_ask")

    def __init__(self, board: ExchangeBoard, now: Instant, rng: random.Random) -> None:
        super().__init__(board, now, rng)
        self._products: dict[str, dict[str, None]] = {channel: {} for channel in CHANNELS}
        self._beat_at_ns = now.monotonic_ns

    def on_text(self, text: str, now: Instant) -> list[Out]:
        """{"type":"subscribe","product_ids":["BTC-USD"],"channels":["ticker","heartbeat"]}"""
        try:
            request = msgspec.json.decode(text, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_error("Malformed JSON", "")]
        if request.type not in ("subscribe", "unsubscribe"):
            return [_error("Failed to subscribe", f"{request.type[:40]} is not a valid type")]
        if not request.channels:
            return [_error("Failed to subscribe", "No channels provided")]
        out: list[Out] = []
        snapshots: list[Out] = []
        for channel in request.channels:
            name = channel if isinstance(channel, str) else channel.name
            products = request.product_ids if isinstance(channel, str) else channel.product_ids or request.product_ids
            if name not in CHANNELS:
                out.append(_error("Failed to subscribe", f"{name[:40]} is not a valid channel"))
            elif request.type == "unsubscribe":
                for product in products or list(self._products[name]):
                    self._products[name].pop(product, None)
            else:
                out += self._subscribe(name, products, snapshots, now)
        return [*dict.fromkeys(out), self._acknowledge(), *snapshots]

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> list[Out]:
        if not quote.traded or quote.row.symbol not in self._products["ticker"]:
            return []
        return [self.frame("exchange ticker", quote, frames, _ticker)]

    def on_timer(self, now: Instant) -> list[Out]:
        if not any(self._products.values()):
            deadline = seconds_since(self.opened_at_ns, now) >= SUBSCRIBE_DEADLINE_SECONDS
            return [CloseSocket(1008, "no subscription")] if deadline else []
        if seconds_since(self._beat_at_ns, now) < 1.0:
            return []
        self._beat_at_ns = now.monotonic_ns
        sequence = now.wall_ns // 1_000_000
        stamp = rfc3339(now.wall_ns)
        return [
            f'{{"type":"heartbeat","sequence":{sequence},"last_trade_id":20,"product_id":"{product}","time":"{stamp}"}}'
            for product in self._products["heartbeat"]
        ]

    def _subscribe(self, channel: str, products: list[str], snapshots: list[Out], now: Instant) -> list[Out]:
        errors: list[Out] = []
        for product in products:
            if self.board.subscribe(product) is None:
                errors.append(_error("Failed to subscribe", f"{product[:40]} is not a valid product"))
                continue
            self._products[channel][product] = None
            quote = self.board.streamed(product, now) if channel == "ticker" else None
            if quote is not None:
                snapshots.append(self.frame("exchange ticker", quote, {}, _ticker))
        return errors

    def _acknowledge(self) -> str:
        channels = [{"name": name, "product_ids": list(held)} for name, held in self._products.items() if held]
        return to_json({"type": "subscriptions", "channels": channels})


def _error(message: str, reason: str) -> str:
    return to_json({"type": "error", "message": message, "reason": reason})


def _ticker(quote: SimulatedQuote) -> str:
    row = quote.row
    stamp = "" if quote.time_ns is None else f'"time":"{rfc3339(quote.time_ns)}",'
    return (
        f'{{"type":"ticker","sequence":{50_978_628_538 + quote.number},"product_id":"{row.symbol}",'
        f'"price":"{row.text(quote.last)}","open_24h":"{row.text(quote.last * 0.99)}","volume_24h":"42492.05081975",'
        f'"low_24h":"{row.text(quote.last * 0.98)}","high_24h":"{row.text(quote.last * 1.02)}",'
        f'"volume_30d":"1093827.95195495","best_bid":"{row.text(quote.bid)}","best_bid_size":"0.61540890",'
        f'"best_ask":"{row.text(quote.ask)}","best_ask_size":"0.18528568",'
        f'"side":"{"sell" if quote.last <= quote.bid else "buy"}",{stamp}'
        f'"trade_id":{463_751_434 + quote.number},"last_size":"0.05"}}'
    )
