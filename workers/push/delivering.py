"""Messages on their way: made when they are due, signed at each attempt, posted, tried again, logged once.

    due          a body from the newest prices, with the next sequence; its task ends with its fate
    attempt      signed with the time of now; time-out min(5 s, interval / 2)
    retry        QUICK_RETRY_SECONDS later, at most two, only of a receiver that was well, while nothing newer waits and
                 the message still has a use when it arrives
    fate         one record in the ring, one count by outcome, the schedule and the state of the receiver

Rules: in the process's loop alone; a task only for what is in flight, at most IN_FLIGHT_MAX. What waits for room is put
off, which says nothing of its receiver. A fault of ours in a task ends the process (`raise_failure`).
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from random import Random
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND, NS_PER_US, Clock
from trinity.errors import DeliveryError
from trinity.memory.control import ProcessBlock
from trinity.memory.delivery_ring import DeliveryRing
from trinity.observe.metrics import LATENESS_BOUNDS, PUSHER
from trinity.push.signature import webhook_headers
from trinity.push.targets import Target
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS, LATENESS_BOUNDS_NS
from workers.push.entries import Begun
from workers.push.message import message_id, render
from workers.push.moves import MoveWatch
from workers.push.prices import CurrentPrices, Values, time_text
from workers.push.schedule import Due, Reason, Scheduler
from workers.push.served import Roster, Served
from workers.push.shares.source import GivenUp
from workers.push.state import States
from workers.push.verdict import Verdict, of_error, of_reply

# 1,000 a second that take 5 s each, and as many again; a message is some 4 KB, so 40 MB.
IN_FLIGHT_MAX = 10_000
# Of receivers that fail: what they hold up must not fill the room of the others.
PROBES_IN_FLIGHT_MAX = 1_000
QUICK_RETRY_SECONDS = (0.2, 1.0)
# A try that would have less time than this is none.
_LEAST_TIMEOUT_SECONDS = 0.25

_OUTCOMES = {name: number for number, name in enumerate(DELIVERY_OUTCOMES)}
_REASONS = {name: number for number, name in enumerate(DELIVERY_REASONS)}
_OUTCOME_WORDS = {name: PUSHER.index("push_deliveries_total", name) for name in DELIVERY_OUTCOMES}
_ATTEMPTS = PUSHER.index("push_attempts_total")
_REFUSED = PUSHER.index("push_log_lost_total")
_LATE_WORDS = [PUSHER.index("push_lateness_seconds", bound) for bound in (*LATENESS_BOUNDS, "+Inf")]
_LATENESS_BOUNDS_NS = np.array(LATENESS_BOUNDS_NS)
_LATE_SUM = PUSHER.index("push_lateness_seconds", "sum")


class Answered(Protocol):
    """What a pool's post returns."""

    @property
    def status(self) -> int: ...
    @property
    def retry_after_s(self) -> float | None: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class PostingPool(Protocol):
    """workers/push/https/pool.py; raises DeliveryError."""

    async def post(
        self,
        target: Target,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        timeout_s: float,
        *,
        is_suspect: bool = False,
    ) -> Answered: ...


class Deliveries:
    """Of one process."""

    def __init__(
        self,
        pool: PostingPool,
        prices: CurrentPrices,
        scheduler: Scheduler,
        watch: MoveWatch,
        states: States,
        roster: Roster,
        ring: DeliveryRing,
        block: ProcessBlock,
        clock: Clock,
        random: Random,
    ) -> None:
        self._pool, self._prices, self._ring, self._block = pool, prices, ring, block
        self._scheduler, self._watch, self._states, self._roster = scheduler, watch, states, roster
        self._clock, self._random = clock, random
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[int, int] = {}  # subscriptions, with how many tasks
        self._probes = 0
        self._failure: BaseException | None = None
        self._given_up: list[GivenUp] = []
        self._counted: Counter[int] = Counter()  # words of the block; a count there costs 1 us

    @property
    def in_flight(self) -> set[int]:
        return set(self._in_flight)

    @property
    def room(self) -> int:
        """How many may begin now."""
        return IN_FLIGHT_MAX - len(self._tasks)

    def begin(self, begun: Sequence[tuple[Due, Served]]) -> None:
        """Send these over HTTPS."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        made_at = time_text(wall_ns)
        for due, served in begun:
            if due.is_probe and self._probes >= PROBES_IN_FLIGHT_MAX:
                self._scheduler.postponed(due, now_ns)
                continue
            sequence = served.next_sequence()
            expires_at = time_text(wall_ns - now_ns + due.due_ns + served.cadence.period_ns)
            body = render(served.recipe, self._prices, now_ns, sequence, due.reason, made_at, expires_at)
            values = self._prices.values[served.recipe.assets] if served.cadence.deviates else None
            self._probes += due.is_probe
            self._in_flight[due.id] = self._in_flight.get(due.id, 0) + 1
            self.spawn(self._deliver(due, served, sequence, body, values))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside; a fault in it is raised by `raise_failure`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def raise_failure(self) -> None:
        """In the process's loop: a fault of ours in a task ends the process."""
        if self._failure is not None:
            raise self._failure

    def take_given_up(self) -> list[GivenUp]:
        """Receivers that are disabled from now on."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def show_counts(self) -> None:
        """What was counted since the last time, in the block of the process."""
        for word, amount in self._counted.items():
            self._block.count(word, amount)
        self._counted.clear()

    async def finish(self, seconds: float) -> None:
        """What is in flight has so long to end."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def note_lateness(self, due: Due, began_ns: int) -> int:
        """Count it; in microseconds."""
        late_ns = max(began_ns - due.due_ns, 0)
        self._counted[_LATE_WORDS[bisect_left(LATENESS_BOUNDS_NS, late_ns)]] += 1
        self._counted[_LATE_SUM] += late_ns
        return late_ns // NS_PER_US

    def all_sent(self, begun: Begun, is_sent: NDArray[np.bool_], began_ns: int) -> None:
        """Datagrams that were handed to the kernel in one turn: those that it took have arrived."""
        late_ns = np.maximum(began_ns - begun["due_ns"], 0)
        for bucket, count in enumerate(np.bincount(np.searchsorted(_LATENESS_BOUNDS_NS, late_ns)).tolist()):
            self._counted[_LATE_WORDS[bucket]] += count
        self._counted[_LATE_SUM] += int(late_ns.sum())
        sent = begun[is_sent]
        self._counted[_OUTCOME_WORDS["sent"]] += len(sent)
        self._scheduler.all_delivered(sent, self._clock.monotonic_ns())
        self._watch.all_arrived(sent["id"][sent["deviates"] != 0].tolist(), self._prices.values)

    def settle(self, due: Due, verdict: Verdict, sequence: int, values: Values | None) -> None:
        """What the fate of a message means for the schedule and its receiver."""
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        self._counted[_OUTCOME_WORDS[verdict.outcome]] += 1
        number = due.id
        if not self._scheduler.is_flying(due):
            return  # it has another target by now, or is nobody's of ours: what became of this says nothing of that
        if verdict.is_delivered or verdict.outcome == "sent":
            self._scheduler.delivered(due, now_ns)
            self._states.arrived(number, now_ns, wall_ns, sequence, verdict.status)
            if values is not None:
                self._watch.arrived(number, values)
        elif verdict.is_ours:
            self._scheduler.postponed(due, now_ns)
        elif verdict.is_gone:
            self._states.failed(number, now_ns, wall_ns, sequence, verdict.status, verdict.outcome, 0)
            self._give_up(number, f"its receiver asked for no more (HTTP {verdict.status})")
        else:
            again_ns = self._scheduler.failed(due, now_ns, verdict.retry_after_s)
            wait_ns = max(again_ns - now_ns, 0)
            if self._states.failed(number, now_ns, wall_ns, sequence, verdict.status, verdict.outcome, wait_ns):
                self._give_up(number, "its receiver has failed for 5 days")

    def refuse(self, due: Due, verdict: Verdict) -> None:
        """A message that had no receiver to go to."""
        served = self._roster.served.get(due.id)
        if served is None:
            return
        late_us = self.note_lateness(due, self._clock.monotonic_ns())
        sequence = served.next_sequence()
        self._log(due, served, verdict, sequence, 0, late_us, 0)
        self.settle(due, verdict, sequence, None)

    async def post_now(
        self, served: Served, reason: Reason, sequence: int, body: bytes, timeout_s: float,
        pauses_s: Sequence[float] = (),
    ) -> tuple[Verdict, int]:  # fmt: skip
        """A message that somebody asked for, tried again after each pause, and the last try's ns.

        It is logged once, and nothing to the schedule.
        """
        number = served.subscription.id
        identity, is_suspect = message_id(number, sequence), self._scheduler.is_failing(number)
        attempts = 0
        for pause_s in (*pauses_s, None):
            attempts += 1
            began_ns = self._clock.monotonic_ns()
            verdict = await self._attempt(served, identity, body, timeout_s, is_suspect=is_suspect)
            latency_ns = self._clock.monotonic_ns() - began_ns
            if pause_s is None or not verdict.may_retry:
                break
            await asyncio.sleep(pause_s)
        self._log(Due(number, began_ns, reason, is_suspect), served, verdict, sequence, latency_ns, 0, attempts)
        self._counted[_OUTCOME_WORDS[verdict.outcome]] += 1
        return verdict, latency_ns

    async def _deliver(self, due: Due, served: Served, sequence: int, body: bytes, values: Values | None) -> None:
        """All attempts of one message."""
        identity = message_id(due.id, sequence)
        ends_ns = due.due_ns + served.cadence.period_ns
        timeout_s, late_us, attempts = served.timeout_s, 0, 0
        began_ns, verdict = due.due_ns, Verdict("timeout", 0)
        try:
            while True:
                began_ns = self._clock.monotonic_ns()
                late_us = late_us if attempts else self.note_lateness(due, began_ns)
                attempts += 1
                verdict = await self._attempt(served, identity, body, timeout_s, is_suspect=due.is_probe)
                ended_ns = self._clock.monotonic_ns()
                if not verdict.may_retry or attempts > len(QUICK_RETRY_SECONDS) or due.is_probe:
                    break
                pause_s = QUICK_RETRY_SECONDS[attempts - 1] * self._random.uniform(0.75, 1.25)
                timeout_s = min(served.timeout_s, (ends_ns - ended_ns) / NS_PER_SECOND - pause_s)
                if timeout_s < _LEAST_TIMEOUT_SECONDS or self._scheduler.is_superseded(due):
                    break
                await asyncio.sleep(pause_s)
                if self._scheduler.is_superseded(due):
                    break
        except asyncio.CancelledError:  # the drain's time is over: nobody hears the answer, and the log has its row
            self._counted[_OUTCOME_WORDS[verdict.outcome]] += 1
            self._log(due, served, verdict, sequence, self._clock.monotonic_ns() - began_ns, late_us, attempts)
            raise
        finally:
            self._probes -= due.is_probe
            self._land(due.id)
        self._log(due, served, verdict, sequence, ended_ns - began_ns, late_us, attempts)
        self.settle(due, verdict, sequence, values)

    async def _attempt(
        self, served: Served, identity: str, body: bytes, timeout_s: float, *, is_suspect: bool
    ) -> Verdict:
        wall_ns = self._clock.wall_ns()
        headers = webhook_headers(served.secrets(wall_ns), identity, wall_ns // NS_PER_SECOND, body)
        self._counted[_ATTEMPTS] += 1
        try:
            reply = await self._pool.post(served.target, headers, body, timeout_s, is_suspect=is_suspect)
        except DeliveryError as error:
            return of_error(error)
        return of_reply(reply.status, reply.headers, reply.retry_after_s)

    def _log(
        self, due: Due, served: Served, verdict: Verdict, sequence: int, latency_ns: int, late_us: int, attempts: int
    ) -> None:
        taken = self._ring.append(
            time_ns=self._clock.wall_ns(),
            subscription_id=due.id,
            sequence=sequence,
            account_id=served.subscription.account_id,
            latency_ns=latency_ns,
            late_us=late_us,
            status=verdict.status,
            assets=len(served.recipe.names),
            outcome=_OUTCOMES[verdict.outcome],
            attempts=attempts,
            reason=_REASONS[due.reason],
        )
        if taken is None:
            self._counted[_REFUSED] += 1

    def _give_up(self, number: int, reason: str) -> None:
        revision = self._roster.give_up(number)
        self._given_up.append(GivenUp(number, revision, reason))

    def _land(self, number: int) -> None:
        left = self._in_flight[number] - 1
        if left:
            self._in_flight[number] = left
        else:
            del self._in_flight[number]

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
