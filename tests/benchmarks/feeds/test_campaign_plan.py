"""The course of a campaign: liars are a minority, but for the episodes that are not judged."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.feeds.campaign_plan import (
    COINS,
    EPISODE_SECONDS,
    LIE_TAIL_SECONDS,
    MAJORITY_SECONDS,
    RETURN_SECONDS,
    SILENCE_SECONDS,
    Episode,
    Plan,
)
from feeds.simulator.faults import FaultTable
from trinity.markets import load_catalog

CATALOG = load_catalog()
LISTED = {name: frozenset(m.asset for m in CATALOG.markets_of(name)) for name in CATALOG.exchanges}


def course_of(seed: int, minutes: float) -> list[tuple[float, Episode, Plan]]:
    plan = Plan(Random(seed), LISTED)
    found = []
    for tenth in range(int(minutes * 600)):
        episode = plan.next(tenth / 10)
        if episode is not None:
            found.append((tenth / 10, episode, plan))
    return found


@given(seed=st.integers(0, 1_000_000))
def test_liars_are_a_minority_of_who_is_surely_live(seed: int) -> None:
    """At every beginning: with all tails, and with those away or broken or just back not counted."""
    plan = Plan(Random(seed), LISTED)
    for tenth in range(3_000):
        now = tenth / 10
        episode = plan.next(now)
        if episode is None or not plan.is_judged(now):
            continue
        live = len(LISTED) - len(plan.absent(now))
        assert len(plan.liars(now)) <= max(0, (live - 1) // 2)
        assert not plan.liars(now) & plan.absent(now)


def test_after_a_majority_lied_nothing_happens_until_it_is_judged_again() -> None:
    """From its start until 60 s after its end nothing is judged, and no other fault disturbs."""
    plan = Plan(Random(5), LISTED)
    now, majorities = 0.0, 0
    while majorities < 3:
        episode = plan.next(now)
        if episode is not None and episode.kind == "majority":
            majorities += 1
            ends = now + episode.seconds + SILENCE_SECONDS
            assert len(episode.exchanges) >= 3
            assert MAJORITY_SECONDS[0] <= episode.seconds <= MAJORITY_SECONDS[1]
            assert not plan.is_judged(now)
            assert plan.next(ends - 0.1) is None
            assert not plan.is_judged(ends - 0.1)
            assert plan.is_judged(ends + 0.1)
            now = ends
        now += 0.1


def test_lies_and_absences_last_longer_than_their_faults() -> None:
    """A lie may stay in the tables, and a connection needs time to come back."""
    for at, episode, _ in course_of(3, 1):
        plan = course_plan_at(3, at)
        longest = at + EPISODE_SECONDS[1] + max(LIE_TAIL_SECONDS, RETURN_SECONDS) + 1
        hit = plan.liars if episode.kind == "lie" else plan.absent
        if episode.kind != "majority":
            assert set(episode.exchanges) <= hit(at + episode.seconds + LIE_TAIL_SECONDS - 0.1)
            assert not set(episode.exchanges) & hit(longest)


def course_plan_at(seed: int, at: float) -> Plan:
    """The plan as it was right after what began at a moment."""
    plan = Plan(Random(seed), LISTED)
    for tenth in range(int(at * 10) + 1):
        plan.next(tenth / 10)
    return plan


def test_every_request_is_one_that_the_simulator_takes() -> None:
    """Names, values and assets are right, all kinds of episodes come, and the coins are lied about apart as well."""
    faults = FaultTable(LISTED)
    course = course_of(11, 30)
    for at, episode, _ in course:
        for request in episode.requests:
            faults.add(request, int(at * 1e9))

    assert {episode.kind for _, episode, _ in course} == {"lie", "away", "broken", "majority"}
    assert any(request.get("asset") in COINS for _, episode, _ in course for request in episode.requests)
