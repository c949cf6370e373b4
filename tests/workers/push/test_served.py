"""workers/push/served.py: a sequence goes on over pauses and changes, and is given out once."""

import datetime
import logging
from random import Random
from typing import Any

import msgspec
import pytest

from tests.support.clocks import ManualClock
from trinity.push.secret import make_secret
from trinity.push.subscription import Subscription
from workers.push.moves import MoveWatch
from workers.push.schedule import Scheduler
from workers.push.served import Roster, Served
from workers.push.shares.leases import LeaseNews, shard_of
from workers.push.state import States

MOMENT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SUBSCRIPTION = Subscription(
    id=12, account_id=1, key_id=None, name="", target="https://x.example/", assets=("BTC", "ETH"), interval_s=10,
    deviation_bps=0, heartbeat_s=0, max_age_ms=0, min_sources=0, state="active", disabled_reason=None, disabled_at=None,
    secret=make_secret(lambda count: b"k" * count), old_secret=None, old_secret_until=None, revision=1,
    created_at=MOMENT, changed_at=MOMENT, deleted_at=None,
)  # fmt: skip
SHARD = shard_of(SUBSCRIPTION.id)
EPOCH = 5


class Node:
    """A roster that has the subscription's shard."""

    def __init__(self, epoch: int = EPOCH) -> None:
        self.roster = Roster(
            Scheduler(Random(1)), MoveWatch(), States(), {"BTC": 0, "ETH": 1}.get, ManualClock(10**18, 0),
            logging.getLogger("tests.served"), is_simulated=True,
        )  # fmt: skip
        self.revision = 1
        self.lease(epoch)
        self.tell(SUBSCRIPTION)

    def lease(self, epoch: int | None) -> None:
        lost = (SHARD,) if epoch is None else ()
        self.roster.on_leases(
            LeaseNews(taken={} if epoch is None else {SHARD: epoch}, lost=lost, leaving=(), others=0)
        )
        self.roster.turn(0)

    def tell(self, one: Subscription, **changes: Any) -> None:
        self.revision += 1
        self.roster.on_subscriptions([msgspec.structs.replace(one, revision=self.revision, **changes)], False)
        self.roster.turn(0)

    @property
    def served(self) -> Served | None:
        return self.roster.served.get(SUBSCRIPTION.id)

    def next(self) -> int:
        """Of what is asked for: active, or paused."""
        found = self.roster.find(SUBSCRIPTION.id)
        assert found is not None
        return found.next_sequence()


@pytest.mark.parametrize(
    "change",
    [{"state": "paused"}, {"state": "disabled", "disabled_at": MOMENT}, {"target": "https://y.example/"}],
)
def test_a_sequence_goes_on_over_a_pause_and_another_target(change: dict[str, Any]) -> None:
    """No number of an epoch is given out twice."""
    node = Node()
    assert [node.next() for _ in range(3)] == [(EPOCH << 32) + number for number in (1, 2, 3)]
    node.tell(SUBSCRIPTION, **change)
    assert (node.served is None) == ("state" in change)
    node.tell(SUBSCRIPTION)
    assert node.served is not None
    assert node.next() == (EPOCH << 32) + 4


def test_a_paused_one_can_be_asked_for_and_its_tests_count() -> None:
    """A receiver is tried before its subscription is resumed."""
    node = Node()
    node.next()
    node.tell(SUBSCRIPTION, state="paused")
    assert [node.next() for _ in range(2)] == [(EPOCH << 32) + 2, (EPOCH << 32) + 3]
    node.tell(SUBSCRIPTION)
    assert node.next() == (EPOCH << 32) + 4


def test_another_epoch_begins_at_one() -> None:
    """The shard was somebody else's meanwhile."""
    node = Node()
    node.next()
    node.lease(None)
    assert node.roster.find(SUBSCRIPTION.id) is None
    node.lease(EPOCH + 3)
    assert node.next() == (EPOCH + 3 << 32) + 1


def test_what_is_deleted_is_not_found() -> None:
    """Nor what never was."""
    node = Node()
    node.next()
    node.tell(SUBSCRIPTION, deleted_at=MOMENT)
    assert node.served is None
    assert node.roster.find(SUBSCRIPTION.id) is None
    assert node.roster.find(99) is None
