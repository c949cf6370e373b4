"""Sessions that others recorded from the real exchanges, through the decoders that speak their dialect."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from feeds.exchanges.contract import Quote, Refusal
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.vocabulary import REFUSAL_REASONS

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded sessions are not on this machine")


class Price(NamedTuple):
    """What a frame says, read by the standard library's own JSON."""

    symbol: str
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None


def decimal_of(value: Any) -> Decimal | None:
    return None if value in (None, "") else Decimal(str(value))


def price(row: dict[str, Any], symbol: str, bid: str, ask: str, last: str) -> Price:
    return Price(row[symbol], *(decimal_of(row.get(name)) for name in (bid, ask, last)))


def coinbase_prices(frame: dict[str, Any]) -> Iterator[Price]:
    for event in frame["events"] if frame.get("channel") == "ticker" else []:
        for row in event["tickers"]:
            yield price(row, "product_id", "best_bid", "best_ask", "price")


def gemini_prices(frame: dict[str, Any]) -> Iterator[Price]:
    if "e" not in frame and "s" in frame:
        yield price(frame, "s", "b", "a", "p" if "p" in frame else "c")


def kraken_prices(frame: dict[str, Any]) -> Iterator[Price]:
    for row in frame["data"] if frame.get("channel") == "ticker" else []:
        if row["bid"]:  # zero: a pair without a book
            yield price(row, "symbol", "bid", "ask", "last")


def gateio_prices(frame: dict[str, Any]) -> Iterator[Price]:
    if frame.get("channel") == "spot.tickers" and frame["event"] == "update":
        yield price(frame["result"], "currency_pair", "highest_bid", "lowest_ask", "last")


def cryptocom_prices(frame: dict[str, Any]) -> Iterator[Price]:
    result = frame.get("result", {})
    for row in result.get("data", []) if result.get("channel") == "ticker" else []:
        yield price(row, "i", "b", "k", "a")


def okx_prices(frame: dict[str, Any]) -> Iterator[Price]:
    for row in frame.get("data", []) if frame.get("arg", {}).get("channel") == "tickers" else []:
        yield price(row, "instId", "bidPx", "askPx", "last")


# Other files are in other dialects: Coinbase Exchange, Kraken v1, Gemini v1 and v2. The older Crypto.com differs only
# in sending numbers.
SESSIONS: dict[str, tuple[Callable[[dict[str, Any]], Iterator[Price]], int]] = {
    "coinbase/advanced_trade_ws_2026-08-09.jsonl": (coinbase_prices, 160),
    "gemini/live_quotes_new_ws_2026.jsonl": (gemini_prices, 12),
    "kraken/live_v2_quotes_2026.jsonl": (kraken_prices, 5),
    "gateio/ws_v4_2021-04-22.jsonl": (gateio_prices, 22),
    "gateio/live_quotes_2026.jsonl": (gateio_prices, 2),
    "cryptocom/ws_v2api_2021-11-23.jsonl": (cryptocom_prices, 367),
    "cryptocom/live_quotes_v1_2026.jsonl": (cryptocom_prices, 1),
    "okx/ws_v5_2022-05-13.jsonl": (okx_prices, 28),
    "okx/live_quotes_2026-09-25.jsonl": (okx_prices, 1),
}


def received(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record.get("t") == "recv" or record.get("dir", "").startswith("recv"):
            yield record["data"]


@pytest.mark.parametrize("name", SESSIONS)
def test_every_recorded_price_frame_gives_its_quote(name: str) -> None:
    """Each price of a session comes out with the same digits, and nothing else does."""
    prices_of, count = SESSIONS[name]
    decoder = EXCHANGE_MODULES[name.partition("/")[0]].new_decoder()
    found = 0
    for text in received(RECORDED / name):
        expected = list(prices_of(json.loads(text, parse_float=Decimal)))
        events = decoder.on_frame(text.encode())
        quotes = [
            event for event in events if isinstance(event, Quote) and {event.bid, event.ask, event.last} != {None}
        ]
        assert [quote.symbol for quote in quotes] == [row.symbol for row in expected]
        for quote, row in zip(quotes, expected, strict=True):
            bid, ask, last = (price and price.decimal for price in (quote.bid, quote.ask, quote.last))
            assert (row.bid, row.ask) == (None, None) or (bid, ask) == (row.bid, row.ask)
            assert row.last is None or last == row.last
            for value in (bid, ask, last):
                assert value is None or value > 0
            assert quote.exchange_time_ns is None or quote.exchange_time_ns > 1_500_000_000 * 10**9
        found += len(quotes)
    assert found == count


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/*.json*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_frames_of_any_dialect_are_harmless(path: Path) -> None:
    """A frame of an older protocol, or a REST body on the socket, gives events and no exception."""
    for exchange in EXCHANGE_MODULES.values():
        decoder = exchange.new_decoder()
        for line in path.read_bytes().splitlines()[:300]:
            record = json.loads(line) if path.suffix == ".jsonl" else {}
            frame = record.get("data", "") if isinstance(record, dict) else ""
            for event in decoder.on_frame(frame.encode() if isinstance(frame, str) and frame else line):
                assert not isinstance(event, Refusal) or event.reason in REFUSAL_REASONS


REST_ANSWERS = {
    "coinbase/live_rest_and_errors.jsonl": ("coinbase", "products/BTC-USDT/ticker", "BTC-USDT"),
    "kraken/live_rest_2026.jsonl": ("kraken", "Ticker?pair=XBTUSD", "BTC/USD"),
    "gateio/live_quotes_2026.jsonl": ("gateio", "spot/tickers?currency_pair=BTC_USDT", "BTC_USDT"),
    "cryptocom/live_quotes_v1_2026.jsonl": ("cryptocom", "get-tickers?instrument_name=BTC_USDT", "BTC_USDT"),
}


@pytest.mark.parametrize("name", REST_ANSWERS)
def test_every_recorded_rest_ticker_gives_its_quote(name: str) -> None:
    """The request that the module would make is the recorded one, and its answer holds bid, ask and last."""
    exchange_name, path, symbol = REST_ANSWERS[name]
    exchange = EXCHANGE_MODULES[exchange_name]
    (request,) = exchange.rest_requests([symbol])
    assert request.path.endswith(path)
    records = [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]
    (body,) = [record["data"] for record in records if record["dir"].endswith(request.path)]
    (quote,) = exchange.on_rest(request, 200, body.encode())
    assert isinstance(quote, Quote)
    assert quote.symbol == symbol
    assert None not in (quote.bid, quote.ask, quote.last)
