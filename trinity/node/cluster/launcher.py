"""What starts the parts of a cluster in their order, starts again what dies, and ends all in the reverse order.

    start     group after group, each when every part of the one before is ready; a part that dies thrice on its way,
              or is not ready in time, ends the start with a ClusterPartError that has its last words
    running   a part that died is started again: at once after the first death, later after more of them in a row
    stop      group after group from the last: told to stop, and killed when it takes longer than it may
    a second  signal kills what is left

Rules: one thread, no event loop; a signal is noticed within a turn. The page of addresses is somebody else's affair.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import ClusterPartError
from trinity.limits import CRASH_LOOP_DEATHS, RESTART_DELAYS_NS, SHORT_RUN_NS
from trinity.node.cluster.parts import ClusterPart
from trinity.node.exits import Exited, cause_of

TURN_NS = 100_000_000
# A first start makes the database and reads the machine code of all nodes; on two cores with work of others, minutes.
START_SECONDS_MAX = 400
DEATHS_AT_START_MAX = 3
# A node drains in 5 s (DRAIN_MAX_NS), PostgreSQL writes what it has in its memory.
STOP_SECONDS_MAX = 15


class StopAskedError(Exception):
    """SIGTERM or SIGINT came while the cluster was starting; no error of anybody."""


@dataclass
class _PartState:
    part: ClusterPart
    started_at_ns: int
    short_runs: int = 0
    start_at_ns: int | None = None  # None: it runs


class ClusterLauncher:
    """Runs groups of parts. `say` gets a line for the operator, `on_change` the parts' pids when one was started."""

    def __init__(
        self,
        groups: Sequence[Sequence[ClusterPart]],
        clock: Clock,
        say: Callable[[str], None],
        on_change: Callable[[Mapping[str, int]], None],
    ) -> None:
        self.groups = groups
        self._clock = clock
        self._say = say
        self._on_change = on_change
        self._states: dict[str, _PartState] = {}
        self._signals = 0

    def catch_signals(self) -> None:
        """From here on SIGTERM and SIGINT end the cluster in order; a closed terminal ends nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def start_group(self, group: Sequence[ClusterPart]) -> None:
        """Start these parts, and return when all are ready; StopAskedError, ClusterPartError."""
        for part in group:
            self._start(part)
        deadline_ns = self._clock.monotonic_ns() + START_SECONDS_MAX * NS_PER_SECOND
        waiting = list(group)
        while waiting:
            waiting = [part for part in waiting if part.exit_code() is not None or not part.is_ready()]
            if waiting:
                self.turn()
            for part in waiting:
                if self._states[part.name].short_runs >= DEATHS_AT_START_MAX:
                    raise ClusterPartError(part.name, f"it does not start: {part.last_words()}")
                if self._clock.monotonic_ns() > deadline_ns:
                    raise ClusterPartError(part.name, f"not ready after {START_SECONDS_MAX} s: {part.last_words()}")

    def run(self) -> None:
        """Look after all parts until a signal says stop."""
        while not self._signals:
            self._turn()

    def turn(self) -> None:
        """Wait a moment, and start again what died; StopAskedError after a signal."""
        self._turn()
        if self._signals:
            raise StopAskedError

    def stop(self) -> None:
        """End everything, the last group first."""
        for group in reversed(self.groups):
            started = [part for part in group if part.name in self._states]
            deadline_ns = self._clock.monotonic_ns() + STOP_SECONDS_MAX * NS_PER_SECOND
            for part in started:
                if self._states[part.name].start_at_ns is None:
                    part.tell_to_stop()
            signals = self._signals
            while any(part.exit_code() is None for part in started):
                if self._signals > max(signals, 1) or self._clock.monotonic_ns() > deadline_ns:
                    for part in started:
                        part.kill()
                self._clock.sleep_ns(TURN_NS // 2)

    def _turn(self) -> None:
        self._clock.sleep_ns(TURN_NS)
        now_ns = self._clock.monotonic_ns()
        for state in self._states.values():
            if state.start_at_ns is not None:
                if now_ns >= state.start_at_ns:
                    self._start(state.part)
            elif (code := state.part.exit_code()) is not None:
                self._on_death(state, code, now_ns)

    def _start(self, part: ClusterPart) -> None:
        state = self._states.setdefault(part.name, _PartState(part, 0))
        state.started_at_ns, state.start_at_ns = self._clock.monotonic_ns(), None
        try:
            part.start()
        except BaseException:
            del self._states[part.name]  # there is nothing of it to stop
            raise
        self._on_change({name: known.part.pid for name, known in self._states.items()})

    def _on_death(self, state: _PartState, code: int, now_ns: int) -> None:
        is_short = now_ns - state.started_at_ns < SHORT_RUN_NS
        state.short_runs = min(state.short_runs + 1, CRASH_LOOP_DEATHS) if is_short else 1
        state.start_at_ns = now_ns + RESTART_DELAYS_NS[state.short_runs - 1]
        self._say(f"{state.part.name}: {cause_of(Exited(state.part.name, code))}; it is started again")

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._signals += 1
