"""trinity/cache/breaker.py"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trinity.cache.breaker import (
    FAILURES_MAX,
    REST_CAP_SECONDS,
    REST_FLOOR_SECONDS,
    TRY_NS_MAX,
    BreakerState,
    CircuitBreaker,
)
from trinity.clock import NS_PER_SECOND

CAP_NS = int((REST_CAP_SECONDS + REST_FLOOR_SECONDS) * NS_PER_SECOND)


def opened(seed: int, failures: int = FAILURES_MAX) -> CircuitBreaker:
    breaker = CircuitBreaker(Random(seed))
    for _ in range(failures):
        breaker.on_failure(0)
    return breaker


def test_fewer_failures_than_three_in_a_row_change_nothing() -> None:
    """A good answer between them starts the count anew."""
    breaker = opened(1, FAILURES_MAX - 1)
    assert breaker.allows(0)
    breaker.on_good(0)
    breaker.on_failure(0)
    assert breaker.state is BreakerState.CLOSED


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_an_open_circuit_lets_one_try_in_time_and_none_before_the_floor(seed: int, outages: int) -> None:
    """However often the try failed, the next is at most the cap away, and nobody else asks meanwhile."""
    breaker, now_ns = opened(seed), 0
    for _ in range(outages):
        assert not breaker.allows(now_ns + int(REST_FLOOR_SECONDS * NS_PER_SECOND) - 1)
        now_ns += CAP_NS
        assert breaker.allows(now_ns)
        assert not breaker.allows(now_ns)
        breaker.on_failure(now_ns)
        assert breaker.state is BreakerState.OPEN


@given(st.integers(0, 2**32))
def test_rests_of_many_are_spread(seed: int) -> None:
    """So that nodes do not come back in step."""
    dues = {opened(seed + i)._backoff.due_ns for i in range(5)}
    assert len(dues) > 1


def test_a_lost_try_does_not_hold_the_circuit_half_open() -> None:
    """Its task was cancelled and told nobody."""
    breaker = opened(3)
    assert breaker.allows(CAP_NS)
    assert not breaker.allows(CAP_NS + TRY_NS_MAX - 1)
    assert breaker.allows(CAP_NS + TRY_NS_MAX)


def test_a_late_good_answer_closes_an_open_circuit() -> None:
    """It was asked before the circuit opened; the server lives."""
    breaker = opened(4)
    breaker.on_good(1)
    assert breaker.allows(1)


class BreakerLife(RuleBasedStateMachine):
    """Any order of questions, answers and failures."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now_ns, self.trying = CircuitBreaker(Random(7)), 0, False

    @rule(ns=st.integers(0, 3 * NS_PER_SECOND))
    def wait(self, ns: int) -> None:
        self.now_ns += ns

    @rule()
    def ask(self) -> None:
        before = self.breaker.state
        allowed = self.breaker.allows(self.now_ns)
        if before is BreakerState.CLOSED:
            assert allowed
        if allowed and before is not BreakerState.CLOSED:
            assert self.breaker.state is BreakerState.HALF_OPEN

    @rule()
    def good(self) -> None:
        self.breaker.on_good(self.now_ns)
        assert self.breaker.allows(self.now_ns)

    @rule()
    def bad(self) -> None:
        was_half_open = self.breaker.state is BreakerState.HALF_OPEN
        self.breaker.on_failure(self.now_ns)
        assert not (was_half_open and self.breaker.state is not BreakerState.OPEN)

    @invariant()
    def it_heals_by_time_alone(self) -> None:
        copy = CircuitBreaker(Random(7))
        copy.__dict__.update(self.breaker.__dict__)
        assert copy.allows(self.now_ns + max(CAP_NS, TRY_NS_MAX))


TestBreakerLife = BreakerLife.TestCase
