"""What this process serves: each subscription of its shards, made ready to send, with its sequence.

    known       all subscriptions of the database, whoever serves them
    epochs      the shards that are this node's now, each with the epoch of its sequences
    served      the active ones of these shards: target, secrets, recipe, cadence, counter
    aside       those that were served, or are paused and were asked for a test: their counters go on

Rules: in the process's loop alone. Subscriptions are made ready some at a turn, so that 100,000 of them do not hold up
what is due. One that cannot be read (a target or secret of another version) is told once and left alone. A sequence is
given out once: the counter begins at 1 with each epoch, and lives as long as the shard is this node's.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trinity.clock import NS_PER_SECOND, NS_PER_US, Clock
from trinity.errors import InputError
from trinity.push.secret import read_secret
from trinity.push.subscription import Subscription
from trinity.push.targets import Target, parse_target
from workers.push.message import Recipe, make_recipe
from workers.push.moves import MoveWatch
from workers.push.schedule import Cadence, Scheduler
from workers.push.shares.epochs import COUNTER_BITS
from workers.push.shares.leases import LeaseNews, shard_of
from workers.push.shares.snapshot import KnownFailing
from workers.push.state import States

# Of one turn: 30 us each.
READY_A_TURN = 200
TIMEOUT_SECONDS_MAX = 5.0


@dataclass(slots=True)
class Served:
    """One subscription, ready to send."""

    subscription: Subscription
    target: Target
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)
    old_secret_until_ns: int  # wall
    recipe: Recipe
    cadence: Cadence
    epoch: int
    counter: int = 0

    @property
    def timeout_s(self) -> float:
        return min(TIMEOUT_SECONDS_MAX, self.cadence.period_ns / NS_PER_SECOND / 2)

    def secrets(self, wall_ns: int) -> tuple[bytes, ...]:
        """Those that sign now."""
        if self.old_secret is not None and wall_ns < self.old_secret_until_ns:
            return self.secret, self.old_secret
        return (self.secret,)

    def next_sequence(self) -> int:
        self.counter += 1
        return self.epoch << COUNTER_BITS | self.counter


class Roster:
    """Of one process; `on_dropped` is told of each that is served no more, or is ready in another form."""

    def __init__(
        self,
        scheduler: Scheduler,
        watch: MoveWatch,
        states: States,
        index_of: Callable[[str], int | None],
        clock: Clock,
        log: logging.Logger,
        *,
        is_simulated: bool,
    ) -> None:
        self._scheduler, self._watch, self._states = scheduler, watch, states
        self._index_of, self._clock, self._log = index_of, clock, log
        self._is_simulated = is_simulated
        self._known: dict[int, Subscription] = {}
        self._epochs: dict[int, int] = {}
        self._failing: dict[int, tuple[KnownFailing, int]] = {}
        self._given_up: dict[int, int] = {}  # the revision that was given up
        self._waiting: deque[int] = deque()
        self._leaving: set[int] = set()
        self._aside: dict[int, Served] = {}  # of those that are not served now: their counters go on
        self.served: dict[int, Served] = {}
        self.on_dropped: Callable[[Served], None] = lambda _: None

    @property
    def shards(self) -> tuple[int, ...]:
        """Those that are this node's now."""
        return tuple(self._epochs)

    # --- what the source tells ---

    def on_subscriptions(self, changed: Sequence[Subscription], is_all: bool) -> None:
        """Made, changed, deleted; with `is_all` there are no others."""
        if is_all:
            for number in self._known.keys() - {one.id for one in changed}:
                self._known.pop(number)
                self.drop(number)
                self._aside.pop(number, None)
        for one in changed:
            before = self._known.get(one.id)
            if before == one:  # a database that was restored gives a revision out again
                continue
            if one.deleted_at is not None:
                self._known.pop(one.id, None)
                self.drop(one.id)
                self._aside.pop(one.id, None)
                continue
            self._known[one.id] = one
            if before is not None and (one.state != "active" or one.target != before.target):
                self._failing.pop(one.id, None)
                self.drop(one.id)  # a receiver that is another one, or is resumed, is well until it fails
            self._waiting.append(one.id)

    def on_failing(self, failing: Sequence[KnownFailing], wall_ns: int) -> None:
        """Receivers that failed when somebody else, or a former life, served them."""
        self._failing = {one.id: (one, wall_ns) for one in failing}

    def on_leases(self, news: LeaseNews) -> None:
        for shard in (*news.lost, *news.leaving):
            self._epochs.pop(shard, None)
        gone = {*news.lost, *news.leaving}
        if gone:
            for number in [number for number in self.served if shard_of(number) in gone]:
                self.drop(number)
            self._aside = {number: one for number, one in self._aside.items() if shard_of(number) not in gone}
        self._leaving |= set(news.leaving)
        self._leaving -= {*news.lost, *news.taken}
        self._epochs |= news.taken
        if news.taken:
            self._waiting.extend(number for number in self._known if shard_of(number) in news.taken)

    # --- what the loop does ---

    def turn(self, now_ns: int) -> bool:
        """Make some of those that wait ready; whether that was any."""
        count = min(READY_A_TURN, len(self._waiting))
        for _ in range(count):
            self._make_ready(self._waiting.popleft(), now_ns)
        return count > 0

    def take_left(self, in_flight: set[int]) -> list[int]:
        """Shards to let go, of which no message is in flight any more."""
        busy = {shard_of(number) for number in in_flight}
        left = [shard for shard in self._leaving if shard not in busy]
        self._leaving.difference_update(left)
        return left

    def give_up(self, number: int) -> int:
        """Send nothing more until its owner has changed or resumed it; the revision that is given up."""
        revision = self._given_up[number] = self._known[number].revision
        self.drop(number)
        return revision

    def find(self, number: int) -> Served | None:
        """For a message that somebody asked for: also of one that is paused or disabled, where its shard is ours."""
        served = self.served.get(number)
        one, epoch = self._known.get(number), self._epochs.get(shard_of(number))
        if served is not None or one is None or epoch is None:
            return served
        try:
            made = self._served_of(one, epoch)
        except InputError:
            return None  # it was told when it should have been served
        made.counter = self._counter_of(number, epoch)
        self._aside[number] = made
        return made

    def is_current(self, served: Served) -> bool:
        """Whether this is the newest form of its subscription; the counter of another one counts no more."""
        number = served.subscription.id
        return (self.served.get(number) or self._aside.get(number)) is served

    def drop(self, number: int) -> None:
        """Serve it no more."""
        served = self.served.pop(number, None)
        if served is not None:
            self._scheduler.remove(number)
            self._watch.remove(number)
            self._states.forget(number)
            self.on_dropped(served)
            self._aside[number] = served

    def _counter_of(self, number: int, epoch: int) -> int:
        """Where its sequence goes on: a pause, or another target, gives no number out again."""
        last = self.served.get(number) or self._aside.get(number)
        return last.counter if last is not None and last.epoch == epoch else 0

    def _make_ready(self, number: int, now_ns: int) -> None:
        one, epoch = self._known.get(number), self._epochs.get(shard_of(number))
        if one is None or epoch is None or one.state != "active" or self._given_up.get(number) == one.revision:
            self.drop(number)
            return
        self._given_up.pop(number, None)
        try:
            served = self._served_of(one, epoch)
        except InputError as error:
            fields = {"subscription": number, "reason": str(error)}
            self._log.error("a subscription cannot be served", extra={"fields": fields})
            self.drop(number)
            return
        before = self.served.get(number)
        if before is not None:
            self.on_dropped(before)
        served.counter = self._counter_of(number, epoch)
        self._aside.pop(number, None)
        self.served[number] = served
        if one.deviation_bps and (before is None or _watched(before) != _watched(served)):
            self._watch.put(number, served.recipe.assets, one.deviation_bps)
        elif not one.deviation_bps:
            self._watch.remove(number)
        self._schedule(served, now_ns)

    def _schedule(self, served: Served, now_ns: int) -> None:
        number = served.subscription.id
        failures = wait_ns = 0
        if number not in self._scheduler and number in self._failing:
            known, told_at_ns = self._failing.pop(number)
            failing_ns, wait_ns = (
                int((at.timestamp() * NS_PER_SECOND - told_at_ns) * sign)
                for at, sign in ((known.failing_since, -1), (known.next_at, 1))
            )
            failures = known.failures
            self._states.restore(number, max(failing_ns, 0), failures, now_ns, self._clock.wall_ns())
        self._scheduler.put(number, served.cadence, now_ns, failures, wait_ns)

    def _served_of(self, one: Subscription, epoch: int) -> Served:
        until = one.old_secret_until
        return Served(
            subscription=one,
            target=parse_target(one.target),
            secret=read_secret(one.secret),
            old_secret=read_secret(one.old_secret) if one.old_secret is not None else None,
            old_secret_until_ns=int(until.timestamp() * 1_000_000) * NS_PER_US if until is not None else 0,
            recipe=make_recipe(
                one.id, one.assets, self._index_of, one.max_age_ms, one.min_sources, is_simulated=self._is_simulated
            ),
            cadence=Cadence(
                one.interval_s * NS_PER_SECOND, one.heartbeat_s * NS_PER_SECOND, deviates=one.deviation_bps > 0
            ),
            epoch=epoch,
        )


def _watched(served: Served) -> tuple[tuple[str, ...], int]:
    return served.recipe.names, served.subscription.deviation_bps
