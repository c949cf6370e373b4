"""workers/push/delivering.py: the fate of a message, with a pool that answers as the test says."""

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
import standardwebhooks

from tests.support.contexts import OpenContext, open_context
from tests.workers.push.conftest import CATALOG, write_price
from tests.workers.push.parts import FakeReply, Parts, subscribed
from trinity.clock import NS_PER_SECOND
from trinity.errors import DeliveryError
from trinity.observe.metrics import LATENESS_BOUNDS, PUSHER
from trinity.vocabulary import DELIVERY_OUTCOMES, LATENESS_BOUNDS_NS
from workers.push import delivering


@pytest.fixture(scope="module")
def context() -> Iterator[OpenContext]:
    with open_context("pusher", "pusher", CATALOG) as made:
        for asset in range(5):
            write_price(made.answers, asset, 10_000)
        yield made


@pytest.fixture
def parts(context: OpenContext, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(delivering, "QUICK_RETRY_SECONDS", (0.01, 0.01))
    made = Parts(context)
    made.prices.turn(made.clock.monotonic_ns())
    made.serve(subscribed(1))
    return made


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


async def _deliver(parts: Parts, number: int = 1) -> None:
    parts.deliveries.begin([parts.begin(number)])
    while parts.deliveries.in_flight:
        parts.deliveries.raise_failure()
        await asyncio.sleep(0.001)
    parts.deliveries.raise_failure()


def _outcomes(parts: Parts) -> list[tuple[str, int, int]]:
    return [
        (DELIVERY_OUTCOMES[record["outcome"]], int(record["status"]), int(record["attempts"]))
        for record in parts.records
    ]


def test_a_message_that_arrives_is_logged_once(parts: Parts) -> None:
    """One attempt, one record, and the receiver is well."""
    _run(lambda: _deliver(parts))
    assert _outcomes(parts) == [("delivered", 200, 1)]
    (posted,) = parts.pool.posted
    assert posted.timeout_s == 5.0
    assert not posted.is_suspect
    assert parts.scheduler.failing == 0


def test_a_hiccup_is_tried_again_with_the_same_message_and_a_signature_of_its_own(parts: Parts) -> None:
    """Id and body stay; two retries at most; the log has one record with the last status."""
    parts.pool.answers = [DeliveryError("reset", ""), FakeReply(503), FakeReply(204)]
    _run(lambda: _deliver(parts))
    assert _outcomes(parts) == [("delivered", 204, 3)]
    assert len({posted.headers["webhook-id"] for posted in parts.pool.posted}) == 1
    assert len({posted.body for posted in parts.pool.posted}) == 1
    for posted in parts.pool.posted:
        standardwebhooks.Webhook(subscribed(1).secret).verify(posted.body, posted.headers)


@pytest.mark.parametrize(
    ("answer", "outcome", "attempts"),
    [
        (FakeReply(500), ("refused_status", 500), 3),
        (FakeReply(404), ("refused_status", 404), 1),
        (FakeReply(302), ("redirect", 302), 1),
        (FakeReply(503, retry_after_s=7.0), ("refused_status", 503), 1),
        (DeliveryError("timeout", ""), ("timeout", 0), 3),
        (DeliveryError("tls", ""), ("tls", 0), 1),
        (DeliveryError("refused_address", ""), ("refused_address", 0), 1),
    ],
)
def test_a_failure_backs_its_receiver_off_alone(
    parts: Parts, answer: FakeReply | DeliveryError, outcome: tuple[str, int], attempts: int
) -> None:
    """Whatever it is, it is counted, logged and written down."""
    parts.pool.answers = [answer]
    _run(lambda: _deliver(parts))
    assert _outcomes(parts) == [(*outcome, attempts)]
    assert parts.scheduler.failing == 1
    (row,) = parts.states.take_rows(parts.clock.monotonic_ns(), 9)
    assert (row.failures, row.last_error, row.last_status) == (1, outcome[0], outcome[1] or None)


def test_a_probe_is_one_attempt_in_the_narrow_lane(parts: Parts) -> None:
    """With the newest prices, a new sequence and its own reason; then all is well again."""
    parts.pool.answers = [FakeReply(500)]
    _run(lambda: _deliver(parts))
    first = len(parts.pool.posted)
    _run(lambda: _deliver(parts))
    assert len(parts.pool.posted) == first + 1
    assert parts.pool.posted[-1].is_suspect
    assert b'"reason":"recovery"' in parts.pool.posted[-1].body
    assert parts.pool.posted[-1].headers["webhook-id"] != parts.pool.posted[0].headers["webhook-id"]
    parts.pool.answers = [FakeReply(200)]
    _run(lambda: _deliver(parts))
    assert parts.scheduler.failing == 0


def test_want_of_room_here_says_nothing_of_the_receiver(parts: Parts) -> None:
    """It is put off, and logged as such."""
    parts.pool.answers = [DeliveryError("busy", "")]
    _run(lambda: _deliver(parts))
    assert _outcomes(parts) == [("busy", 0, 1)]
    assert parts.scheduler.failing == 0
    assert parts.states.take_rows(parts.clock.monotonic_ns(), 9) == []


@pytest.mark.parametrize("answer", [FakeReply(410), FakeReply(200, {"webhook-delivery": "disable"})])
def test_a_receiver_that_wants_no_more_gets_no_more(parts: Parts, answer: FakeReply) -> None:
    """Nothing is due any more, and the source hears why."""
    parts.pool.answers = [answer]
    _run(lambda: _deliver(parts))
    (given_up,) = parts.deliveries.take_given_up()
    assert given_up.id == 1
    assert str(answer.status) in given_up.reason
    assert 1 not in parts.scheduler
    assert _outcomes(parts) == [("gone", answer.status, 1)]
    assert [row.last_error for row in parts.states.take_rows(parts.clock.monotonic_ns(), 9)] == ["gone"]


def test_a_retry_gives_way_to_a_newer_message(parts: Parts) -> None:
    """Latest value wins: what is due meanwhile ends the retries of the one before."""
    parts.pool.answers = [FakeReply(500)]

    async def work() -> None:
        due, served = parts.begin()
        assert not len(parts.scheduler.due(due.due_ns + 30 * NS_PER_SECOND, 9))  # pending from here on
        parts.deliveries.begin([(due, served)])
        while parts.deliveries.in_flight:
            await asyncio.sleep(0.001)

    _run(work)
    assert len(parts.pool.posted) == 1


def test_a_retry_that_would_come_too_late_is_none(parts: Parts) -> None:
    """What is left of the interval is its time-out; without a quarter of a second it is not tried."""
    parts.pool.answers = [FakeReply(500)]

    async def work(late_ns: int) -> None:
        due, served = parts.begin()
        parts.deliveries.begin([(due._replace(due_ns=due.due_ns - late_ns, is_probe=False), served)])
        while parts.deliveries.in_flight:
            await asyncio.sleep(0.001)

    _run(lambda: work(int(9.9 * NS_PER_SECOND)))
    assert len(parts.pool.posted) == 1
    _run(lambda: work(8 * NS_PER_SECOND))
    assert len(parts.pool.posted) == 4
    assert all(posted.timeout_s < 2.0 for posted in parts.pool.posted[2:])


def test_a_move_is_measured_against_what_has_arrived(context: OpenContext, parts: Parts) -> None:
    """A message that failed is no reference."""
    parts.serve(subscribed(1), subscribed(2, interval_s=0, heartbeat_s=3, deviation_bps=100, revision=5))
    parts.pool.answers = [FakeReply(404)]
    _run(lambda: _deliver(parts, 2))
    assert parts.watch.moved(parts.prices.values) == [2]
    parts.pool.answers = [FakeReply(200)]
    _run(lambda: _deliver(parts, 2))
    assert parts.watch.moved(parts.prices.values) == []


def test_outcomes_and_lateness_are_counted(context: OpenContext, parts: Parts) -> None:
    """In the block of the process, once they are shown."""
    word = PUSHER.index("push_deliveries_total", "delivered")
    before = context.block.read_counter(word)
    _run(lambda: _deliver(parts))
    _run(lambda: _deliver(parts))
    parts.deliveries.show_counts()
    parts.deliveries.show_counts()
    assert context.block.read_counter(word) == before + 2


def test_a_fault_of_ours_ends_the_process(parts: Parts) -> None:
    """It is raised in the loop, not swallowed in a task."""

    async def work() -> None:
        due, served = parts.begin()
        parts.deliveries.begin([(due, dataclasses.replace(served, secret=None))])  # type: ignore[arg-type]
        while parts.deliveries.in_flight:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        parts.deliveries.raise_failure()

    with pytest.raises(TypeError):
        _run(work)


def test_datagrams_of_one_turn_are_counted_as_if_they_went_one_by_one(parts: Parts) -> None:
    """Lateness by its bounds, outcomes, the schedule, and what has moved; what was not taken stays in flight."""
    parts.serve(*[subscribed(number, deviation_bps=100 * (number % 2)) for number in range(1, 41)])
    at_ns = parts.clock.monotonic_ns()
    begun = parts.scheduler.due(at_ns, 100)
    while len(begun) < 4:
        at_ns += NS_PER_SECOND // 2
        begun = np.concatenate([begun, parts.scheduler.due(at_ns, 100)])
    began_ns = int(begun["due_ns"].max()) + 3_000_000
    is_sent = np.arange(len(begun)) > 0
    before = {name: parts.context.block.read_counter(word) for name, word in _WORDS.items()}
    parts.deliveries.all_sent(begun, is_sent, began_ns)
    parts.deliveries.show_counts()
    added = {name: parts.context.block.read_counter(word) - before[name] for name, word in _WORDS.items()}
    late_ns = (began_ns - begun["due_ns"]).tolist()
    assert added.pop("sum") == sum(late_ns)
    assert added.pop("sent") == len(begun) - 1
    bounds = (*LATENESS_BOUNDS_NS, float("inf"))
    for lower, bound, name in zip((-1, *bounds), bounds, added, strict=False):
        assert added[name] == sum(lower < late <= bound for late in late_ns)
    assert parts.scheduler.flying == 1
    watched = {number for number in begun["id"][is_sent].tolist() if number % 2}
    assert not watched & set(parts.watch.moved(parts.prices.values))


_WORDS = {
    **{bound: PUSHER.index("push_lateness_seconds", bound) for bound in (*LATENESS_BOUNDS, "+Inf")},
    "sum": PUSHER.index("push_lateness_seconds", "sum"),
    "sent": PUSHER.index("push_deliveries_total", "sent"),
}


@pytest.mark.parametrize("status", [200, 410, 500])
def test_what_becomes_of_a_message_says_nothing_of_another_target(parts: Parts, status: int) -> None:
    """The answer of the receiver before comes after the change: it is logged, and the new one stays well."""
    parts.pool.answers = [FakeReply(status)]

    async def work() -> None:
        parts.deliveries.begin([parts.begin()])
        parts.serve(subscribed(1, revision=99, target="https://other.example/"))
        while parts.deliveries.in_flight:
            await asyncio.sleep(0.001)

    _run(work)
    assert len(_outcomes(parts)) == 1
    assert parts.deliveries.take_given_up() == []
    assert 1 in parts.roster.served
    assert parts.scheduler.failing == 0
    assert parts.states.take_rows(parts.clock.monotonic_ns(), 9) == []


def test_what_was_asked_for_is_one_row_however_often_it_was_tried(parts: Parts) -> None:
    """The last try's status; and nothing to the schedule."""
    parts.pool.answers = [DeliveryError("timeout", ""), FakeReply(503), FakeReply(200)]

    async def work() -> None:
        served = parts.roster.served[1]
        verdict, _ = await parts.deliveries.post_now(served, "replay", 9, b"{}", 5.0, (0.0, 0.0))
        assert verdict.is_delivered

    _run(work)
    assert _outcomes(parts) == [("delivered", 200, 3)]
    assert parts.scheduler.failing == 0


def test_a_message_whose_answer_nobody_waits_for_has_its_row(parts: Parts) -> None:
    """A drain ends before the receiver has answered."""

    async def hang(*_: Any, **__: Any) -> FakeReply:
        await asyncio.Event().wait()
        raise AssertionError

    parts.pool.post = hang  # type: ignore[method-assign]

    async def work() -> None:
        parts.deliveries.begin([parts.begin()])
        await parts.deliveries.finish(0.01)

    _run(work)
    assert _outcomes(parts) == [("timeout", 0, 1)]
