"""How the receivers fare: since when one fails, when it is given up, and what PostgreSQL is told of it.

    a first message        told in the next batch
    fails, arrives again   the same, with an event once it has failed for TELL_AFTER_NS
    arrives as before      told at most each WELL_GAP_NS: 1,000 deliveries a second are no 1,000 rows a second
    given up               after GIVEN_UP_NS of failing without a break, and GIVEN_UP_FAILURES failures at least, so
                           that a node that was off for a week gives nobody up at its second try

Rules: pure; times are arguments. How long a receiver fails is counted on the monotonic clock: a wall clock that jumps
gives nobody up. Wall times are for people alone.
"""

import datetime
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND

TELL_AFTER_NS = 60 * NS_PER_SECOND
WELL_GAP_NS = 30 * NS_PER_SECOND
GIVEN_UP_NS = 5 * 86_400 * NS_PER_SECOND
# As many as lie 12 h apart in that time; with back-offs of 15 min there are 480.
GIVEN_UP_FAILURES = 10

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class StateRow(NamedTuple):
    """A row of push_states."""

    id: int
    failing_since: datetime.datetime | None
    failures: int
    last_attempt_at: datetime.datetime
    last_success_at: datetime.datetime | None
    last_status: int | None
    last_error: str | None
    last_sequence: int
    next_at: datetime.datetime | None


class HealthTurn(NamedTuple):
    """A receiver began to fail, or its messages arrive again; for its owner."""

    id: int
    event_type: str
    since: datetime.datetime
    error: str | None


class _State:
    __slots__ = (
        "error", "failing_since_ns", "failing_since_wall_ns", "failures", "is_told", "last_attempt_ns",
        "last_success_ns", "next_ns", "sequence", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.failing_since_ns: int | None = None  # monotonic
        self.failing_since_wall_ns = 0
        self.failures = 0
        self.is_told = False  # its owner, that it fails
        self.last_attempt_ns = self.last_success_ns = self.next_ns = 0  # wall; 0: never
        self.sequence = 0
        self.status = 0
        self.error: str | None = None


class States:
    """Of the subscriptions that this process serves."""

    def __init__(self) -> None:
        self._states: dict[int, _State] = {}
        self._urgent: dict[int, None] = {}
        self._well: dict[int, int] = {}  # since when there is news, in that order
        self._last: list[StateRow] = []  # of those that are served no more
        self._turns: list[HealthTurn] = []

    def restore(self, number: int, failing_ns: int, failures: int, now_ns: int, wall_ns: int) -> None:
        """What was known of a receiver that fails, when it is served from now on; it has been told."""
        state = self._states.setdefault(number, _State())
        if state.failing_since_ns is None:
            state.failing_since_ns, state.failing_since_wall_ns = now_ns - failing_ns, wall_ns - failing_ns
            state.failures, state.is_told = failures, failing_ns >= TELL_AFTER_NS

    def forget(self, number: int) -> None:
        """It is served no more; what is urgent is still written."""
        if number in self._urgent:
            del self._urgent[number]
            self._row(number, self._last)
        self._well.pop(number, None)
        self._states.pop(number, None)

    def arrived(self, number: int, now_ns: int, wall_ns: int, sequence: int, status: int) -> None:
        state = self._states.setdefault(number, _State())
        if not state.last_attempt_ns:
            self._urgent[number] = None  # its first message: somebody waits for it
        state.last_attempt_ns = state.last_success_ns = wall_ns
        state.sequence, state.status, state.next_ns = sequence, status, 0
        if state.failing_since_ns is None:
            if number not in self._urgent:
                self._well.setdefault(number, now_ns)
            return
        if state.is_told:
            self._turns.append(
                HealthTurn(number, "subscription.recovered", _time(state.failing_since_wall_ns), state.error)
            )
        state.failing_since_ns, state.failures, state.is_told = None, 0, False
        self._urgent[number] = None

    def sent(self, number: int, wall_ns: int, sequence: int) -> None:
        """Datagrams went to it, the last one then; lane.py says so as seldom as it is to be written."""
        state = self._states.setdefault(number, _State())
        state.last_attempt_ns, state.last_success_ns = max(wall_ns, state.last_attempt_ns), wall_ns
        state.sequence = max(sequence, state.sequence)
        if state.failing_since_ns is None:
            state.status = state.next_ns = 0
        self._urgent[number] = None

    def failed(
        self, number: int, now_ns: int, wall_ns: int, sequence: int, status: int, error: str, wait_ns: int
    ) -> bool:
        """It did not arrive and is tried again after `wait_ns`; whether to give the receiver up now."""
        state = self._states.setdefault(number, _State())
        if state.failing_since_ns is None:
            state.failing_since_ns, state.failing_since_wall_ns = now_ns, wall_ns
        state.failures += 1
        state.last_attempt_ns, state.next_ns = wall_ns, wall_ns + wait_ns
        state.sequence, state.status, state.error = max(sequence, state.sequence), status, error
        self._urgent[number] = None
        failing_ns = now_ns - state.failing_since_ns
        if failing_ns >= TELL_AFTER_NS and not state.is_told:
            state.is_told = True
            self._turns.append(HealthTurn(number, "subscription.failing", _time(state.failing_since_wall_ns), error))
        return failing_ns >= GIVEN_UP_NS and state.failures >= GIVEN_UP_FAILURES

    def take_rows(self, now_ns: int, most: int) -> list[StateRow]:
        """Up to so many rows to be written, the urgent ones first."""
        rows, self._last = self._last[:most], self._last[most:]
        while self._urgent and len(rows) < most:
            number = next(iter(self._urgent))
            del self._urgent[number]
            self._well.pop(number, None)
            self._row(number, rows)
        while self._well and len(rows) < most:
            number, since_ns = next(iter(self._well.items()))
            if now_ns - since_ns < WELL_GAP_NS:
                break
            del self._well[number]
            self._row(number, rows)
        return rows

    def take_turns(self) -> list[HealthTurn]:
        """What owners are to be told."""
        turns, self._turns = self._turns, []
        return turns

    def _row(self, number: int, rows: list[StateRow]) -> None:
        state = self._states.get(number)
        if state is None:
            return
        fails = state.failing_since_ns is not None
        rows.append(
            StateRow(
                number,
                _time(state.failing_since_wall_ns) if fails else None,
                state.failures,
                _time(state.last_attempt_ns),
                _time(state.last_success_ns) if state.last_success_ns else None,
                state.status or None,
                state.error,
                state.sequence,
                _time(state.next_ns) if fails and state.next_ns else None,
            )
        )


def _time(wall_ns: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=wall_ns // 1000)
