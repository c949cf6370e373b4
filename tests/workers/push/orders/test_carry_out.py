"""workers/push/orders/carry_out.py: what each order sends, and what its result tells."""

import datetime
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.clocks import ManualClock
from trinity.errors import DeliveryError
from trinity.push.orders import Taken
from trinity.push.subscription import Subscription
from trinity.push.targets import parse_target
from workers.push.message import make_recipe
from workers.push.orders import carry_out
from workers.push.orders.carry_out import OrderDesk
from workers.push.orders.minutes import MinuteCloses, make_parts
from workers.push.schedule import Cadence, Reason
from workers.push.served import Served
from workers.push.verdict import Verdict

GOOD = Verdict("delivered", 200)
AGAIN = Verdict("timeout", 0, may_retry=True, detail="no answer within 5 s")


class FixedPrices:
    """What the order desk needs of the prices."""

    pieces = (b'{"asset":"BTC","price":"71000.5"}',) * 2
    values = (71000.5, 71000.5)


class FakeSender:
    """Keeps what is sent; answers with `verdicts`, else 200."""

    def __init__(self) -> None:
        self.sent: list[tuple[Reason, int, Any]] = []
        self.verdicts: list[Verdict] = []
        self.targets: list[str] = []
        self.pauses_s: Sequence[float] = ()
        self.sequence: int | None = 100
        self.datagram: int | DeliveryError | None = 7

    async def post_now(
        self, served: Served, reason: Reason, sequence: int, body: bytes, timeout_s: float,
        pauses_s: Sequence[float] = (),
    ) -> tuple[Verdict, int]:  # fmt: skip
        assert 0 < timeout_s <= 5
        self.sent.append((reason, sequence, json.loads(body)))
        self.targets.append(served.target.host)
        self.pauses_s = pauses_s
        return self.verdicts.pop(0) if self.verdicts else GOOD, 1_500_000

    async def send_now(self, served: Served, reason: Reason) -> int | None:
        if isinstance(self.datagram, DeliveryError):
            raise self.datagram
        return self.datagram

    def next_sequence(self, number: int) -> int | None:
        if self.sequence is not None:
            self.sequence += 1
        return self.sequence


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> FakeSender:
    """Nobody waits in a test."""
    monkeypatch.setattr(carry_out, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(carry_out, "SERVED_SECONDS", 0.1)
    return FakeSender()


def desk_of(sender: FakeSender, target: str = "https://x.example/") -> OrderDesk:
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    one = Subscription(
        id=12, account_id=1, key_id=None, name="", target=target, assets=("BTC", "ETH"), interval_s=10, deviation_bps=0,
        heartbeat_s=0, max_age_ms=0, min_sources=0, state="active", disabled_reason=None, disabled_at=None, secret="s",
        old_secret=None, old_secret_until=None, revision=1, created_at=moment, changed_at=moment, deleted_at=None,
    )  # fmt: skip
    recipe = make_recipe(12, one.assets, ["BTC", "ETH"].index, 0, 0, is_simulated=True)
    served = Served(one, parse_target(target), b"k" * 32, None, 0, recipe, Cadence(10**10, 0, False), 1)
    find = {12: served}.get
    return OrderDesk(sender, FixedPrices(), find, ManualClock(1_767_225_600 * 10**9, 0), is_simulated=True)  # type: ignore[arg-type]


def order_of(kind: Any, number: int = 12, **argument: Any) -> Taken:
    return Taken(uuid.uuid4(), number, kind, argument)


def parts_of(count: int) -> Any:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = [MinuteCloses(start + datetime.timedelta(minutes=at), ["A" * 9] * 900, [1] * 900) for at in range(count)]
    return make_parts(rows)  # type: ignore[arg-type]


async def test_a_test_sends_the_prices_of_now_once(sender: FakeSender) -> None:
    """With a new sequence; its result names the message that the receiver saw."""
    sender.verdicts = [AGAIN]
    result = await desk_of(sender).carry_out(order_of("test"), None)
    ((reason, sequence, body),) = sender.sent
    assert (reason, sequence, body["data"]["reason"]) == ("test", 101, "test")
    assert (body["data"]["sequence"], body["data"]["simulated"]) == (101, True)
    assert [price["price"] for price in body["data"]["prices"]] == ["71000.5"] * 2
    assert result == (False, {
        "webhook_id": "msg_12_101", "sequence": 101, "outcome": "timeout", "status": None, "latency_ms": 1.5,
        "error": "no answer within 5 s",
    })  # fmt: skip


async def test_a_replay_sends_the_prices_of_now_and_says_what_it_stands_for(sender: FakeSender) -> None:
    """A price of then is worth nothing."""
    result = await desk_of(sender).carry_out(order_of("replay", sequence=42), None)
    ((reason, _, body),) = sender.sent
    assert (reason, body["data"]["reason"], body["data"]["replay_of"], body["type"]) == (
        "replay", "replay", 42, "price.update",
    )  # fmt: skip
    assert (result.is_done, result.told["outcome"], result.told["status"]) == (True, "delivered", 200)


async def test_the_parts_of_the_past_go_one_after_the_other_with_rising_sequences(sender: FakeSender) -> None:
    """Each is one message, tried again by whoever posts it."""
    parts = parts_of(6)
    result = await desk_of(sender).carry_out(order_of("replay_since"), parts)
    assert result.is_done
    assert result.told == {"minutes": 6, "parts": 6, "sent": 6, "last_sequence": 106}
    assert [sequence for _, sequence, _ in sender.sent] == [101, 102, 103, 104, 105, 106]
    assert sender.pauses_s == carry_out.RETRY_SECONDS
    assert {body["type"] for _, _, body in sender.sent} == {"price.replay"}


async def test_a_replay_ends_at_a_part_that_does_not_arrive(sender: FakeSender) -> None:
    """And tells how many did."""
    sender.verdicts = [GOOD, AGAIN]
    result = await desk_of(sender).carry_out(order_of("replay_since"), parts_of(4))
    assert not result.is_done
    assert (result.told["sent"], result.told["outcome"]) == (1, "timeout")
    sender.verdicts = [Verdict("refused_status", 400)]
    result = await desk_of(sender).carry_out(order_of("replay_since"), parts_of(4))
    assert (result.told["sent"], result.told["outcome"]) == (0, "refused_status")


async def test_each_part_goes_to_where_the_subscription_goes_by_then(sender: FakeSender) -> None:
    """Another target has the rest; one that was deleted gets no more."""
    served = desk_of(sender)._find(12)
    other = desk_of(sender, "https://y.example/")._find(12)
    found = iter((served, served, other, None))
    desk = desk_of(sender)
    desk._find = lambda _: next(found)
    result = await desk.carry_out(order_of("replay_since"), parts_of(4))
    assert sender.targets == ["x.example", "y.example"]
    assert (result.is_done, result.told["sent"]) == (False, 2)


async def test_over_udp_there_is_a_test_and_no_replay_of_the_past(sender: FakeSender) -> None:
    """What the kernel took counts as sent; an address that is refused is told."""
    desk = desk_of(sender, "udp://192.0.2.1:9000")
    assert await desk.carry_out(order_of("test"), None) == (True, {"outcome": "sent", "sequence": 7})
    assert not (await desk.carry_out(order_of("replay_since"), parts_of(1))).is_done
    sender.datagram = None
    assert (await desk.carry_out(order_of("test"), None)).told["outcome"] == "send_failed"
    sender.datagram = DeliveryError("refused_address", "it is private")
    assert (await desk.carry_out(order_of("test"), None)).told == {
        "outcome": "refused_address", "error": "it is private",
    }  # fmt: skip


async def test_what_this_node_does_not_serve_is_not_sent(sender: FakeSender) -> None:
    """It was never this node's, or has moved meanwhile."""
    assert "does not serve" in (await desk_of(sender).carry_out(order_of("test", 99), None)).told["error"]
    sender.sequence = None
    for kind, parts in (("test", None), ("replay_since", parts_of(1))):
        assert "another node" in (await desk_of(sender).carry_out(order_of(kind), parts)).told["error"]
    assert sender.sent == []
