"""The parts of a pusher around what a test looks at: real ones, but for the pool."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.support.contexts import OpenContext
from tests.workers.push.conftest import CATALOG
from tests.workers.push.shares.test_snapshot import subscription
from trinity.clock import Clock, SystemClock
from trinity.errors import DeliveryError
from trinity.memory.delivery_ring import DeliveryRing
from trinity.push.subscription import Subscription
from trinity.push.targets import Target
from workers.push.delivering import Deliveries
from workers.push.moves import MoveWatch
from workers.push.prices import CurrentPrices
from workers.push.schedule import Due, Scheduler, dues_of
from workers.push.served import Roster, Served
from workers.push.shares.leases import SHARDS, LeaseNews
from workers.push.state import States

NAMES = [asset.name for asset in CATALOG.assets]
EVERYTHING = LeaseNews(dict.fromkeys(range(SHARDS), 1), (), (), 0)


def subscribed(number: int = 1, **changes: Any) -> Subscription:
    """A subscription with an interval of 10 s."""
    return msgspec.structs.replace(subscription(number), **({"interval_s": 10} | changes))


@dataclass
class Posted:
    """One attempt, as the pool was asked for it."""

    target: Target
    headers: dict[str, str]
    body: bytes
    timeout_s: float
    is_suspect: bool


@dataclass
class FakeReply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None


@dataclass
class FakePool:
    """Answers in the order of `answers`, the last one forever."""

    answers: list[FakeReply | DeliveryError] = field(default_factory=lambda: [FakeReply(200)])
    posted: list[Posted] = field(default_factory=list)

    async def post(
        self, target: Target, headers: Any, body: bytes, timeout_s: float, *, is_suspect: bool = False
    ) -> FakeReply:
        texts = {name.decode(): value.decode() for name, value in headers}
        self.posted.append(Posted(target, texts, body, timeout_s, is_suspect))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, DeliveryError):
            raise answer
        return answer


class Parts:
    """Scheduler, watch, states, roster and deliveries of one process."""

    def __init__(self, context: OpenContext, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.context, self.pool = context, FakePool()
        self.scheduler, self.watch, self.states = Scheduler(random.Random(1)), MoveWatch(), States()
        self.prices = CurrentPrices(context.answers, NAMES)
        places = {name: place for place, name in enumerate(NAMES)}
        self.roster = Roster(
            self.scheduler, self.watch, self.states, places.get, self.clock, context.log, is_simulated=False
        )
        self.ring = DeliveryRing(Path("nowhere"), DeliveryRing.private_words(0, 1 << 10))
        self.deliveries = Deliveries(
            self.pool, self.prices, self.scheduler, self.watch, self.states, self.roster, self.ring, context.block,
            self.clock, random.Random(2),
        )  # fmt: skip

    def serve(self, *subscriptions: Subscription) -> None:
        """All of them, ready."""
        self.roster.on_leases(EVERYTHING)
        self.roster.on_subscriptions(subscriptions, True)
        while self.roster.turn(self.clock.monotonic_ns()):
            pass

    def begin(self, number: int = 1) -> tuple[Due, Served]:
        """The next message of it, in flight from now on, and due now."""
        now_ns = self.clock.monotonic_ns()
        at_ns = now_ns
        while not (found := [due for due in dues_of(self.scheduler.due(at_ns, 1_000)) if due.id == number]):
            at_ns += 500_000_000
        return found[0]._replace(due_ns=now_ns), self.roster.served[number]

    @property
    def records(self) -> Any:
        return self.ring.read(self.ring.released, 1 << 10)
