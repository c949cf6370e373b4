"""Simulated Coinbase: the Advanced Trade feed and REST, seen from outside and on a clock moved by hand."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket

At = Callable[[float], Instant]
TICKER = {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "ticker"}
HEARTBEATS = {"type": "subscribe", "channel": "heartbeats"}


async def test_snapshots_come_before_the_acknowledgement_and_updates_behind(running: Any) -> None:
    """As recorded: one snapshot a product, then the cumulative acknowledgement, numbered without a hole."""
    async with await running.connect("/coinbase") as socket:
        await socket.send(json.dumps(TICKER))
        frames = [json.loads(await socket.recv()) for _ in range(12)]
    kinds = [frame["events"][0].get("type", frame["channel"]) for frame in frames]
    assert kinds[:2] == ["snapshot", "snapshot"]
    acknowledgements = [frame for frame in frames if frame["channel"] == "subscriptions"]
    assert acknowledgements[0]["events"] == [{"subscriptions": {"ticker": ["BTC-USD", "ETH-USD"]}}]
    assert kinds[-1] == "update"
    assert [frame["sequence_num"] for frame in frames] == list(range(12))


async def test_a_ticker_has_the_documented_fields(running: Any, find_frame: Any) -> None:
    """Prices are strings, the time is the envelope's with nine digits."""
    async with await running.connect("/coinbase/") as socket:
        frame = await find_frame(socket, lambda one: one["channel"] == "ticker", TICKER)
    assert len(frame["timestamp"]) == len("2026-08-09T21:05:48.229198328Z")
    ticker = frame["events"][0]["tickers"][0]
    assert float(ticker["best_bid"]) <= float(ticker["price"]) <= float(ticker["best_ask"])
    assert ticker["type"] == "ticker"


def test_heartbeats_come_every_second_and_count(make_bench: Any, frames_of: Any, at: At) -> None:
    """The heartbeats channel sends one frame a second, its counter grows by one."""
    session = make_bench("coinbase").open()
    assert frames_of(session.on_text(json.dumps(HEARTBEATS), at(0)))[0]["events"] == [
        {"subscriptions": {"heartbeats": ["heartbeats"]}}
    ]
    beats = [frames_of(session.on_timer(at(tick / 10))) for tick in range(1, 36)]
    counters = [frame["events"][0]["heartbeat_counter"] for out in beats for frame in out]
    assert len(counters) == 3
    assert counters == list(range(counters[0], counters[0] + 3))


def test_a_socket_without_a_subscription_is_closed_after_five_seconds(make_bench: Any, at: At) -> None:
    """The deadline of the documentation; a subscription in time avoids it."""
    session = make_bench("coinbase").open()
    assert session.on_timer(at(4.9)) == []
    assert isinstance(session.on_timer(at(5.0))[0], CloseSocket)
    subscribed = make_bench("coinbase").open()
    subscribed.on_text(json.dumps(TICKER), at(4.9))
    assert subscribed.on_timer(at(6)) == []
    assert isinstance(subscribed.on_timer(at(95))[0], CloseSocket), "without updates and heartbeats it ends after 90 s"


def test_a_bad_product_is_reported_and_the_others_are_subscribed(make_bench: Any, frames_of: Any, at: At) -> None:
    """The error names the product; the acknowledgement lists the good one."""
    session = make_bench("coinbase").open()
    frames = frames_of(session.on_text(json.dumps(TICKER | {"product_ids": ["NO-USD", "BTC-USD"]}), at(0)))
    assert {"type": "error", "message": "NO-USD is not a valid product"} in frames
    assert frames[-1]["events"] == [{"subscriptions": {"ticker": ["BTC-USD"]}}]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"type": "subscribe", "channel": "level9"}, "level9 is not a valid channel"),
        ({"type": "shout", "channel": "ticker"}, "shout is not a valid type"),
    ],
)
def test_what_is_not_offered_is_an_error(make_bench: Any, frames_of: Any, at: At, message: Any, text: str) -> None:
    """Unknown channels and types are answered with an error frame."""
    assert frames_of(make_bench("coinbase").open().on_text(json.dumps(message), at(0))) == [
        {"type": "error", "message": text}
    ]


def test_a_usdc_product_is_answered_under_its_usd_name(make_bench: Any, frames_of: Any, at: At) -> None:
    """BTC-USDC is an alias of BTC-USD on the public channels."""
    frames = frames_of(make_bench("coinbase").open().on_text(json.dumps(TICKER | {"product_ids": ["BTC-USDC"]}), at(0)))
    assert frames[0]["events"][0]["tickers"][0]["product_id"] == "BTC-USD"


def test_unsubscribing_stops_the_ticker(make_bench: Any, frames_of: Any, at: At) -> None:
    """After unsubscribing from one product only the other one comes."""
    bench = make_bench("coinbase")
    session = bench.open()
    session.on_text(json.dumps(TICKER), at(0))
    session.on_text(json.dumps(TICKER | {"type": "unsubscribe", "product_ids": ["BTC-USD"]}), at(0))
    assert session.on_quote(bench.quote("BTC-USD"), {}, at(1)) == []
    assert len(session.on_quote(bench.quote("ETH-USD"), {}, at(1))) == 1


def test_the_ninth_message_of_a_second_is_refused(make_bench: Any, frames_of: Any, at: At) -> None:
    """Unauthenticated clients may send eight messages a second."""
    session = make_bench("coinbase").open()
    answers = [frames_of(session.on_text(json.dumps(HEARTBEATS), at(0)))[0] for _ in range(9)]
    assert [answer.get("type") for answer in answers] == [None] * 8 + ["error"]


async def test_rest_answers_have_the_documented_shape(running: Any) -> None:
    """Exchange ticker, Advanced products and ticker, and the spot price agree about one market."""
    status, exchange = await running.get("/coinbase/products/BTC-USD/ticker")
    assert status == 200
    assert set(exchange) == {"ask", "bid", "volume", "trade_id", "price", "size", "time", "rfq_volume"}
    _, products = await running.get("/coinbase/api/v3/brokerage/market/products")
    assert [one["product_id"] for one in products["products"]][:4] == ["BTC-USD", "ETH-USD", "PEPE-USD", "USDT-USD"]
    assert products["num_products"] == len(products["products"]) > 4
    _, some = await running.get("/coinbase/api/v3/brokerage/market/products?product_ids=ETH-USD&product_ids=NO-USD")
    assert [one["product_id"] for one in some["products"]] == ["ETH-USD"]
    _, one = await running.get("/coinbase/api/v3/brokerage/market/products/BTC-USD")
    _, ticker = await running.get("/coinbase/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1")
    _, spot = await running.get("/coinbase/v2/prices/BTC-USD/spot")
    prices = [exchange["price"], one["price"], ticker["trades"][0]["price"], ticker["best_bid"], spot["data"]["amount"]]
    assert max(map(float, prices)) / min(map(float, prices)) < 1.002
    _, listed = await running.get("/coinbase/products")
    assert listed[0]["base_currency"] == "BTC"
    _, now = await running.get("/coinbase/api/v3/brokerage/time")
    assert now["epochSeconds"] == now["epochMillis"][:-3]


@pytest.mark.parametrize(
    "path",
    ["/products/NO-USD/ticker", "/api/v3/brokerage/market/products/NO-USD", "/v2/prices/NO-USD/spot",
     "/api/v3/brokerage/market/products/NO-USD/ticker"],
)  # fmt: skip
async def test_an_unknown_product_is_404(running: Any, path: str) -> None:
    """Every REST route refuses a product that is not listed."""
    status, _ = await running.get(f"/coinbase{path}")
    assert status == 404
