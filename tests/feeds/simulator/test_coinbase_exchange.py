"""Simulated Coinbase Exchange feed: the flat dialect."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feeds.simulator.market import Instant
from feeds.simulator.venue import CloseSocket

At = Callable[[float], Instant]
PATH = "/coinbase-exchange"
SUBSCRIBE = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker", "heartbeat"]}


async def test_a_ticker_comes_behind_the_acknowledgement(running: Any, find_frame: Any) -> None:
    """One acknowledgement lists the whole state, then tickers with increasing sequence and trade ids."""
    async with await running.connect(PATH) as socket:
        await socket.send(json.dumps(SUBSCRIBE))
        assert json.loads(await socket.recv()) == {
            "type": "subscriptions",
            "channels": [
                {"name": "ticker", "product_ids": ["BTC-USD"]},
                {"name": "heartbeat", "product_ids": ["BTC-USD"]},
            ],
        }
        first = await find_frame(socket, lambda one: one["type"] == "ticker")
        second = await find_frame(socket, lambda one: one["type"] == "ticker")
        beat = await find_frame(socket, lambda one: one["type"] == "heartbeat")
    assert float(first["best_bid"]) <= float(first["price"]) <= float(first["best_ask"])
    assert second["sequence"] > first["sequence"]
    assert beat["product_id"] == "BTC-USD"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (SUBSCRIBE | {"product_ids": ["NO-USD"]}, "NO-USD is not a valid product"),
        (SUBSCRIBE | {"channels": ["rumours"]}, "rumours is not a valid channel"),
        (SUBSCRIBE | {"channels": []}, "No channels provided"),
    ],
)
def test_errors_are_those_that_were_recorded(
    make_bench: Any, frames_of: Any, at: At, message: Any, reason: str
) -> None:
    """The reason names what is wrong; the connection stays open."""
    frames = frames_of(make_bench("coinbase").open(PATH).on_text(json.dumps(message), at(0)))
    assert frames[0] == {"type": "error", "message": "Failed to subscribe", "reason": reason}


def test_channels_may_have_products_of_their_own(make_bench: Any, frames_of: Any, at: At) -> None:
    """{"name":"ticker","product_ids":[...]} beside or instead of the message's product_ids."""
    message = {"type": "subscribe", "channels": [{"name": "ticker", "product_ids": ["ETH-USD"]}]}
    bench = make_bench("coinbase")
    session = bench.open(PATH)
    frames = frames_of(session.on_text(json.dumps(message), at(0)))
    assert frames[0]["channels"] == [{"name": "ticker", "product_ids": ["ETH-USD"]}]
    assert frames[1]["product_id"] == "ETH-USD"
    stop = {"type": "unsubscribe", "channels": ["ticker"]}
    assert frames_of(session.on_text(json.dumps(stop), at(0))) == [{"type": "subscriptions", "channels": []}]


def test_only_trades_make_a_ticker(make_bench: Any, at: At) -> None:
    """A change of the book without a trade sends nothing in this dialect."""
    bench = make_bench("coinbase")
    session = bench.open(PATH)
    session.on_text(json.dumps(SUBSCRIBE), at(0))
    assert session.on_quote(bench.quote("BTC-USD", traded=False), {}, at(1)) == []
    assert len(session.on_quote(bench.quote("BTC-USD", traded=True), {}, at(1))) == 1


def test_a_socket_without_a_subscription_is_closed_after_five_seconds(make_bench: Any, at: At) -> None:
    """The same deadline as on the other feed."""
    session = make_bench("coinbase").open(PATH)
    assert session.on_timer(at(4.9)) == []
    assert isinstance(session.on_timer(at(5.0))[0], CloseSocket)
