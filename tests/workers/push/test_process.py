"""workers/push/process.py: the real process on a real PostgreSQL, with a receiver over real TLS."""

import datetime

import msgspec
import standardwebhooks

from tests.support.receiver import Receiver
from tests.workers.push.conftest import CATALOG, MakeNode, Subscribe, wait_until, write_price
from trinity.vocabulary import DELIVERY_OUTCOMES


def test_a_subscription_is_posted_signed_and_logged(
    make_node: MakeNode, subscribe: Subscribe, receiver: Receiver
) -> None:
    """A row in PostgreSQL becomes a POST that a foreign verifier accepts, and a record in the ring."""
    number, secret = subscribe(receiver.url("/a"), interval_s=3)
    node = make_node("one")
    node.start()
    wait_until(lambda: len(receiver.of("/a")) >= 2, "two messages")
    assert node.drain() == 0
    first, second = receiver.of("/a")[:2]
    for one in (first, second):
        standardwebhooks.Webhook(secret).verify(one.body, one.headers)
        assert one.headers["webhook-id"] == f"msg_{number}_{one.sequence}"
        assert one.headers["content-type"] == "application/json"
        assert one.data["reason"] == "interval"
        assert [price["asset"] for price in one.data["prices"]] == [asset.name for asset in CATALOG.assets[:3]]
        assert one.data["prices"][1]["price"] == "100.01"
    assert second.sequence == first.sequence + 1
    made, expires = (
        datetime.datetime.fromisoformat(text) for text in (_timestamp(first.body), first.data["expires_at"])
    )
    assert datetime.timedelta(0) < expires - made <= datetime.timedelta(seconds=3)
    records = node.records
    assert [DELIVERY_OUTCOMES[outcome] for outcome in records["outcome"][:2]] == ["delivered", "delivered"]
    assert records["sequence"][:2].tolist() == [first.sequence, second.sequence]


def test_a_price_that_moves_is_told_at_once(make_node: MakeNode, subscribe: Subscribe, receiver: Receiver) -> None:
    """A deviation has its reason, and one below it says nothing."""
    subscribe(receiver.url("/moves"), deviation_bps=100, heartbeat_s=3)
    node = make_node("one")
    node.start()
    wait_until(lambda: receiver.of("/moves"), "the first message, to compare with")
    write_price(node.context.answers, 0, 10_050)
    heartbeats = len(receiver.of("/moves"))
    wait_until(lambda: len(receiver.of("/moves")) > heartbeats, "a heartbeat")
    assert {one.data["reason"] for one in receiver.of("/moves")} == {"heartbeat"}
    write_price(node.context.answers, 0, 10_250)
    wait_until(lambda: any(one.data["reason"] == "deviation" for one in receiver.of("/moves")), "the move")
    moved = next(one for one in receiver.of("/moves") if one.data["reason"] == "deviation")
    assert moved.data["prices"][0]["price"] == "102.50"


def _timestamp(body: bytes) -> str:
    return str(msgspec.json.decode(body)["timestamp"])
