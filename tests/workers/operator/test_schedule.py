"""workers/operator/schedule.py: due times, back-offs and news, over every order of what jobs may do."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trinity.clock import NS_PER_SECOND
from workers.operator.schedule import RETRY_CAP_SECONDS, RETRY_FLOOR_SECONDS, Schedule

PERIODS = {"often": 1.0, "rare": 3600.0}
# Of a turn: seconds since the one before, and how a run of each job ends there: None is well, a word a kind of failure.
OUTCOMES = st.sampled_from((None, "Timeout", "Deadlock"))
TURNS = st.lists(st.tuples(st.floats(0.01, 4000), OUTCOMES, OUTCOMES), max_size=60)


@given(turns=TURNS, seed=st.integers())
def test_a_job_runs_at_its_period_and_after_a_failure_within_a_minute(
    turns: list[tuple[float, str | None, str | None]], seed: int
) -> None:
    """Never earlier than its period after a good run, between floor and cap after a failure; no other job matters."""
    schedule, now_ns = Schedule(PERIODS, Random(seed)), NS_PER_SECOND
    last: dict[str, tuple[int, str | None]] = {}
    for seconds, *outcomes in turns:
        now_ns += int(seconds * NS_PER_SECOND)
        for name, outcome in zip(PERIODS, outcomes, strict=True):
            is_due = schedule.is_due(name, now_ns)
            ran_ns, ended = last.get(name, (0, None))
            waited = (now_ns - ran_ns) / NS_PER_SECOND
            if name not in last:
                assert is_due, "at once when new"
            elif ended is None:
                assert is_due == (waited >= max(PERIODS[name], RETRY_FLOOR_SECONDS))
            else:
                assert not is_due or waited >= RETRY_FLOOR_SECONDS
                assert is_due or waited <= RETRY_CAP_SECONDS
            if is_due:
                schedule.begin(name, now_ns)
                (schedule.succeeded(name, now_ns) if outcome is None else schedule.failed(name, outcome, now_ns))
                last[name] = now_ns, outcome
            assert schedule.is_failing(name) == (last[name][1] is not None)


@given(outcomes=st.lists(OUTCOMES, max_size=60))
def test_each_change_of_state_is_one_line(outcomes: list[str | None]) -> None:
    """The first failure, another kind of failure, and the first good run; nothing while it stays as it is."""
    schedule, now_ns, state = Schedule(PERIODS, Random(1)), 0, None
    for outcome in outcomes:
        now_ns += 100 * NS_PER_SECOND
        schedule.begin("often", now_ns)
        told = schedule.succeeded("often", now_ns) if outcome is None else schedule.failed("often", outcome, now_ns)
        assert told == (outcome != state)
        state = outcome


def test_another_connection_makes_everything_due_but_what_failed_a_moment_ago() -> None:
    """The database may be another one; one that refuses a job is not hammered by reconnecting."""
    schedule = Schedule(PERIODS, Random(1))
    schedule.begin("rare", 0)
    schedule.succeeded("rare", 0)
    schedule.begin("often", 0)
    schedule.failed("often", "Timeout", 0)
    schedule.begin_anew()
    assert not schedule.is_due("often", int(RETRY_FLOOR_SECONDS * NS_PER_SECOND) - 1)
    assert not schedule.is_due("rare", int(RETRY_FLOOR_SECONDS * NS_PER_SECOND) - 1)
    assert schedule.is_due("rare", int(RETRY_FLOOR_SECONDS * NS_PER_SECOND))
    assert schedule.is_due("often", int(RETRY_FLOOR_SECONDS * NS_PER_SECOND))


def test_a_run_that_ended_without_a_word_is_tried_again() -> None:
    """As when the connection is lost in the middle of it."""
    schedule = Schedule(PERIODS, Random(1))
    schedule.begin("rare", 0)
    assert not schedule.is_due("rare", 0)
    assert schedule.is_due("rare", int(RETRY_FLOOR_SECONDS * NS_PER_SECOND))
