"""The reconnect policy, on a clock that only the test moves."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND

HOUR_NS = 3600 * NS_PER_SECOND


def attempts_in_an_hour(backoff: Backoff) -> list[int]:
    """When the peer was tried, if it refuses every time."""
    now_ns, tries = 0, []
    while now_ns < HOUR_NS:
        assert backoff.is_due(now_ns)
        tries.append(now_ns)
        backoff.on_failure(now_ns)
        now_ns = backoff.due_ns
        if len(tries) > 10_000:
            break
    return tries


@given(seed=st.integers(0, 2**32))
def test_a_peer_that_refuses_for_an_hour_is_tried_seldom(seed: int) -> None:
    """The mean wait ends at 15 s: far fewer than 400 tries an hour, and never a pause beyond the cap."""
    tries = attempts_in_an_hour(Backoff(Random(seed), floor_seconds=0.1))
    assert 120 < len(tries) < 400
    assert max(later - earlier for earlier, later in pairwise(tries)) <= 30 * NS_PER_SECOND


@given(seed=st.integers(0, 2**32), floor=st.floats(0.1, 5))
def test_no_two_tries_begin_within_the_peers_gap(seed: int, floor: float) -> None:
    """The first retry is due at once, but for the gap since the try before; later ones keep it after the failure."""
    backoff, now_ns, floor_ns = Backoff(Random(seed), floor_seconds=floor), 0, int(floor * NS_PER_SECOND)
    tries = []
    for _ in range(6):
        assert backoff.is_due(now_ns)
        backoff.on_try(now_ns)
        tries.append(now_ns)
        assert not backoff.is_due(now_ns + floor_ns - 1)
        backoff.on_failure(now_ns + 1)
        now_ns = backoff.due_ns
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] == floor_ns
    assert min(gaps) >= floor_ns


def test_a_loss_long_after_the_try_is_retried_at_once() -> None:
    """A connection that lived for an hour has kept every gap."""
    backoff = Backoff(Random(3), floor_seconds=5)
    backoff.on_try(0)
    backoff.on_failure(HOUR_NS)
    assert backoff.due_ns == HOUR_NS


@given(
    floor=st.floats(0, 100),
    base=st.floats(0.01, 1000),
    above=st.floats(1, 10_000),
    failures=st.integers(1, 100),
    asked=st.one_of(st.just(0.0), st.floats(0.1, 1000)),
)
def test_the_spread_is_never_zero(floor: float, base: float, above: float, failures: int, asked: float) -> None:
    """Who lost a peer together does not return together: not at the floor, at the cap, nor when the peer says when."""
    waits = []
    for seed in range(40):
        backoff = Backoff(Random(seed), floor, base, floor + above)
        backoff.failures = failures
        backoff.on_failure(0, at_least_seconds=asked)
        waits.append(backoff.due_ns / NS_PER_SECOND)
    window = min(above, base * 2 ** min(failures - 1, 10))
    assert max(waits) - min(waits) > window / 3
    assert min(waits) >= max(floor, asked) - 1e-6
    assert max(waits) <= max(floor, asked) + above + 1e-6


def test_the_waits_are_jittered_over_the_whole_window() -> None:
    """Full jitter: among many feeds that lost their exchange together, waits spread from near 0 to the window's end."""
    waits = []
    for seed in range(500):
        backoff = Backoff(Random(seed), floor_seconds=0)
        for _ in range(5):
            backoff.on_failure(0)
        waits.append(backoff.due_ns / NS_PER_SECOND)
    window = 0.5 * 2**3
    assert min(waits) < 0.1 * window
    assert 0.9 * window < max(waits) <= window


def test_a_good_minute_resets_and_less_does_not() -> None:
    """A peer that delivers for 59 s and drops is not new; one that delivered for 60 s is retried at once."""
    for good_seconds, is_reset in ((59, False), (60, True)):
        backoff = Backoff(Random(3), floor_seconds=1)
        for _ in range(4):
            backoff.on_failure(0)
        for second in range(good_seconds + 1):
            backoff.on_good(second * NS_PER_SECOND)
        backoff.on_failure(good_seconds * NS_PER_SECOND)
        assert (backoff.due_ns == good_seconds * NS_PER_SECOND) is is_reset


def test_a_stall_starts_the_good_time_anew() -> None:
    """30 s of data, a stall and 30 s more are not a good minute."""
    backoff = Backoff(Random(3), floor_seconds=1)
    backoff.on_failure(0)
    backoff.on_good(0)
    backoff.on_stall()
    backoff.on_good(30 * NS_PER_SECOND)
    backoff.on_good(60 * NS_PER_SECOND)
    assert backoff.failures == 1
    backoff.on_good(90 * NS_PER_SECOND)
    assert backoff.failures == 0


def test_what_the_peer_asks_for_is_honoured() -> None:
    """Retry-After wins over an earlier own plan, also over the immediate first retry."""
    backoff = Backoff(Random(3), floor_seconds=1)
    backoff.on_failure(0, at_least_seconds=7)
    assert 7 * NS_PER_SECOND <= backoff.due_ns <= 7.5 * NS_PER_SECOND


def test_any_success_resets_a_backoff_without_a_good_time() -> None:
    """For REST one good answer is enough."""
    backoff = Backoff(Random(3), floor_seconds=1, reset_seconds=0)
    backoff.on_failure(0)
    backoff.on_good(1)
    assert backoff.failures == 0
