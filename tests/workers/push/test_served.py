"""workers/push/served.py: what is served when subscriptions, leases and receivers change."""

import datetime
from collections.abc import Iterator

import pytest

from tests.support.clocks import ManualClock
from tests.support.contexts import open_context
from tests.workers.push.conftest import CATALOG
from tests.workers.push.parts import EVERYTHING, Parts, subscribed
from trinity.clock import NS_PER_SECOND
from workers.push.schedule import dues_of
from workers.push.served import READY_A_TURN
from workers.push.shares.leases import LeaseNews
from workers.push.shares.snapshot import KnownFailing

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def parts() -> Iterator[Parts]:
    with open_context("pusher", "pusher", CATALOG) as context:
        yield Parts(context, ManualClock())


def _ready(parts: Parts) -> list[int]:
    while parts.roster.turn(parts.clock.monotonic_ns()):
        pass
    assert len(parts.scheduler) == len(parts.roster.served)
    return sorted(parts.roster.served)


def test_only_active_ones_of_own_shards_are_served(parts: Parts) -> None:
    """The others are known, and served as soon as they are ours."""
    parts.roster.on_subscriptions([subscribed(1), subscribed(2, state="paused"), subscribed(3)], True)
    assert _ready(parts) == []
    parts.roster.on_leases(LeaseNews({1: 9, 2: 9}, (), (), 1))
    assert _ready(parts) == [1]
    assert parts.roster.served[1].next_sequence() == 9 << 32 | 1
    parts.roster.on_leases(LeaseNews({3: 70}, (), (), 0))
    assert _ready(parts) == [1, 3]
    assert parts.roster.served[3].next_sequence() == 70 << 32 | 1


def test_a_shard_that_is_lost_is_dropped_at_once(parts: Parts) -> None:
    """And one that is to be let go is told as left when its last message has landed."""
    parts.serve(subscribed(1), subscribed(2), subscribed(3))
    parts.roster.on_leases(LeaseNews({}, (2,), (1,), 1))
    assert _ready(parts) == [3]
    assert parts.roster.take_left({2}) == []
    assert parts.roster.take_left({66}) == []
    assert parts.roster.take_left({1, 3}) == [2]
    assert parts.roster.take_left(set()) == []


def test_a_change_keeps_the_sequence_and_takes_the_rest(parts: Parts) -> None:
    """Within an epoch the counter never begins anew."""
    parts.serve(subscribed(1))
    assert parts.roster.served[1].next_sequence() == 1 << 32 | 1
    parts.roster.on_subscriptions([subscribed(1, revision=2, assets=("ETH",), target="https://other.example/")], False)
    assert _ready(parts) == [1]
    served = parts.roster.served[1]
    assert served.target.host == "other.example"
    assert served.recipe.names == ("ETH",)
    assert served.next_sequence() == 1 << 32 | 2


def test_a_pause_keeps_the_sequence(parts: Parts) -> None:
    """And so does a receiver that was given up and is resumed."""
    parts.serve(subscribed(1))
    used = [parts.roster.served[1].next_sequence()]
    for revision, state in ((2, "paused"), (3, "active"), (4, "disabled"), (5, "active")):
        parts.roster.on_subscriptions([subscribed(1, revision=revision, state=state)], False)
        used += [parts.roster.served[number].next_sequence() for number in _ready(parts)]
    assert used == [1 << 32 | counter for counter in (1, 2, 3)]


def test_a_new_epoch_begins_at_one(parts: Parts) -> None:
    """A lease that was lost and came back."""
    parts.serve(subscribed(1))
    parts.roster.served[1].next_sequence()
    parts.roster.on_leases(LeaseNews({}, (), (1,), 1))
    parts.roster.on_leases(LeaseNews({1: 65}, (), (), 1))
    _ready(parts)
    assert parts.roster.served[1].next_sequence() == 65 << 32 | 1


@pytest.mark.parametrize(
    "changes", [{"state": "paused"}, {"state": "disabled"}, {"deleted_at": NOW}, {"target": "ftp://x"}]
)
def test_what_is_not_to_be_sent_is_served_no_more(parts: Parts, changes: dict[str, object]) -> None:
    """Paused, disabled, deleted, or not to be read by this version."""
    parts.serve(subscribed(1), subscribed(2))
    parts.roster.on_subscriptions([subscribed(1, revision=9, **changes)], False)
    assert _ready(parts) == [2]


def test_a_database_that_knows_less_takes_it_away(parts: Parts) -> None:
    """Each connection begins with all that there are."""
    parts.serve(subscribed(1), subscribed(2))
    parts.roster.on_subscriptions([subscribed(2)], True)
    assert _ready(parts) == [2]


def test_a_revision_that_was_given_out_again_is_another_form(parts: Parts) -> None:
    """A database that was restored from a backup counts on from there."""
    parts.serve(subscribed(1))
    parts.roster.on_subscriptions([subscribed(1, interval_s=60)], True)
    _ready(parts)
    assert parts.roster.served[1].subscription.interval_s == 60


def test_what_was_given_up_waits_for_its_owner(parts: Parts) -> None:
    """A reconnect brings the same revision, and changes nothing; a resume does."""
    parts.serve(subscribed(1))
    parts.roster.give_up(1)
    parts.roster.on_leases(EVERYTHING)
    assert _ready(parts) == []
    parts.roster.on_subscriptions([subscribed(1, revision=8)], False)
    assert _ready(parts) == [1]


def test_a_failing_receiver_is_known_before_its_first_message(parts: Parts) -> None:
    """From the node before: its back-off goes on, also its five days."""
    known = KnownFailing(
        id=1,
        failing_since=NOW - datetime.timedelta(days=5),
        failures=400,
        next_at=NOW + datetime.timedelta(seconds=500),
    )
    parts.roster.on_failing([known], parts.clock.wall_ns())
    parts.serve(subscribed(1))
    assert parts.scheduler.failing == 1
    now_ns = parts.clock.monotonic_ns()
    assert not len(parts.scheduler.due(now_ns + 499 * NS_PER_SECOND, 9))
    (probe,) = dues_of(parts.scheduler.due(now_ns + 501 * NS_PER_SECOND, 9))
    assert probe.is_probe
    assert parts.states.failed(1, now_ns, parts.clock.wall_ns(), 1, 500, "refused_status", 1)


def test_another_target_counts_as_well_until_it_fails(parts: Parts) -> None:
    """Its back-off was the other one's."""
    parts.serve(subscribed(1))
    due, _ = parts.begin()
    parts.scheduler.failed(due, parts.clock.monotonic_ns())
    assert parts.scheduler.failing == 1
    parts.roster.on_subscriptions([subscribed(1, revision=2, target="https://other.example/")], False)
    _ready(parts)
    assert parts.scheduler.failing == 0


def test_both_secrets_sign_until_the_old_one_ends(parts: Parts) -> None:
    """By the wall clock of each attempt."""
    old = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    parts.serve(subscribed(1, old_secret=old, old_secret_until=NOW + datetime.timedelta(seconds=5)))
    served, wall_ns = parts.roster.served[1], parts.clock.wall_ns()
    assert len(served.secrets(wall_ns)) == 2
    assert served.secrets(wall_ns + 5 * NS_PER_SECOND) == (served.secret,)


def test_a_time_out_is_half_the_interval_and_never_more_than_five_seconds(parts: Parts) -> None:
    """So that a message that hangs is over before the next one is due."""
    parts.serve(subscribed(1, interval_s=3), subscribed(2, interval_s=60), subscribed(3, interval_s=0, heartbeat_s=4))
    assert [parts.roster.served[number].timeout_s for number in (1, 2, 3)] == [1.5, 5.0, 2.0]


def test_many_are_made_ready_some_at_a_turn(parts: Parts) -> None:
    """What is due meanwhile does not wait for 100,000 of them."""
    parts.roster.on_leases(EVERYTHING)
    parts.roster.on_subscriptions([subscribed(number) for number in range(1, 3 * READY_A_TURN)], True)
    assert parts.roster.turn(parts.clock.monotonic_ns())
    assert len(parts.roster.served) == READY_A_TURN


def _sequence(parts: Parts, number: int) -> int:
    """The next one of what is asked for: active, or paused."""
    found = parts.roster.find(number)
    assert found is not None
    return found.next_sequence()


def test_a_paused_one_can_be_asked_for_and_its_tests_count(parts: Parts) -> None:
    """A receiver is tried before its subscription is resumed; no number comes twice."""
    parts.serve(subscribed(1))
    assert _sequence(parts, 1) == 1 << 32 | 1
    parts.roster.on_subscriptions([subscribed(1, revision=8, state="paused")], False)
    assert _ready(parts) == []
    assert [_sequence(parts, 1) for _ in range(2)] == [1 << 32 | 2, 1 << 32 | 3]
    parts.roster.on_subscriptions([subscribed(1, revision=9)], False)
    assert _ready(parts) == [1]
    assert _sequence(parts, 1) == 1 << 32 | 4


def test_what_is_deleted_or_another_node_s_is_not_found(parts: Parts) -> None:
    """Nor what never was; another epoch begins at one."""
    parts.serve(subscribed(1), subscribed(2))
    _sequence(parts, 1)
    parts.roster.on_subscriptions([subscribed(2, revision=9, deleted_at=NOW)], False)
    parts.roster.on_leases(LeaseNews({}, (), (1,), 0))
    _ready(parts)
    assert [parts.roster.find(number) for number in (1, 2, 99)] == [None] * 3
    parts.roster.on_leases(LeaseNews({1: 64}, (), (), 0))
    _ready(parts)
    assert _sequence(parts, 1) == 64 << 32 | 1
