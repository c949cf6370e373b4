"""What the supervisor decides: `step(now, events) -> actions`. Pure: no process, signal, file or clock.

Rules:
    start           stage by stage in the reverse order of the drain; a stage waits for the first heartbeats, not long
    death           restart, at once after the first, later after each more of short runs, at most 2 s later
    boot failure    exit code 3 of a vital process that never beat ends a node that was never ready: trying again
                    would fail in the same way
    crash loop      five short runs in a row: of a vital process they end a node that was never ready; else it is
                    told once, shown as failing, and tried again forever, until a run was no short one
    ready once      from then on no death ends the node, whosever it is: without feeds others give the prices, without
                    one worker the others answer, without the consensus or all workers /ready says no until they are
                    back, and without the health process nobody says yes
    stuck           no heartbeat for 5 s (30 s before the first one): SIGKILL, then as any death
    SIGTERM, SIGINT notice: a node that was ready says that it leaves, and goes on for as long as it was told to; then
                    drain: stage by stage DRAIN command and SIGTERM, at the end SIGKILL for who is left
    one more        during the notice: the drain at once; during the drain: SIGKILL for all at once
    replacement     one process after the other, or of a pool one seat (trinity/node/replacement.py); a drain ends it

The launcher executes the actions in their order and reports what happened with the next step. A `Fork` is taken as
done; one that failed is reported as an exit. The last action of a node is `Stop`.
"""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND
from trinity.limits import (
    BOOT_MAX_NS,
    CRASH_LOOP_DEATHS,
    DRAIN_MAX_NS,
    DRAIN_STAGE_MAX_NS,
    HEARTBEAT_AGE_MAX_NS,
    RESTART_DELAYS_NS,
    SHORT_RUN_NS,
    START_STAGE_MAX_NS,
    SUPERVISOR_GAP_MAX_NS,
)
from trinity.memory.control import Command
from trinity.node.exits import EXIT_CRASH_LOOP, EXIT_DRAINED, EXIT_NODE_BOOT_FAILURE, Exited, cause_of
from trinity.node.notify import Phase
from trinity.node.replacement import Begin, Overdue, Replace, Replaced, Replacement, Retire, Seating
from trinity.process import EXIT_BOOT_FAILURE


class SignalReceived(NamedTuple):
    """The supervisor itself was sent SIGTERM or SIGINT."""

    number: int


class Ready(NamedTuple):
    """The node answers with a fresh price."""


class Heartbeats(NamedTuple):
    """The heartbeat words of all processes, monotonic ns; 0 where there was never one."""

    beats: Mapping[str, int]


Event = Exited | SignalReceived | Ready | Heartbeats | Replace


class Fork(NamedTuple):
    """`is_failing`: that it dies again and again was told; what it says at its next death is known. `seat`: of whom
    there is a pool."""

    name: str
    is_failing: bool = False
    seat: int | None = None


class Kill(NamedTuple):
    name: str
    signal: int


class SetCommand(NamedTuple):
    name: str
    command: Command


class LetRest(NamedTuple):
    """Nobody is meant to run here until the next replacement."""

    name: str


class CloseSeat(NamedTuple):
    """Nobody sits there for a while: whoever comes is another seat's."""

    pool: str
    seat: int


class SetFailing(NamedTuple):
    """Show or take back the alarm of a process that dies again and again."""

    name: str
    is_failing: bool


class Report(NamedTuple):
    """Something for the log."""

    event: str
    fields: Mapping[str, object]
    level: int = logging.WARNING


class Announce(NamedTuple):
    """Tell who started the node (systemd) what it is doing."""

    phase: Phase


class Stop(NamedTuple):
    """Everything is down: leave with this code; `message` is empty after an ordinary drain."""

    exit_code: int
    message: str


Action = Fork | Kill | SetCommand | LetRest | CloseSeat | SetFailing | Replaced | Report | Announce | Stop


class ProcessSpec(NamedTuple):
    """A process to look after. A start begins with the highest stage, a drain with the lowest.

    `vital`: a node that was never ready cannot become it without this process. `pool` and `seat`: of those that
    stand in for each other, and where this one begins; without a seat it rests.
    """

    name: str
    stage: int
    vital: bool = True
    pool: str = ""
    seat: int | None = None


@dataclass(kw_only=True)
class _ProcessState(Seating):
    """What is known of one process, over all its runs."""

    name: str
    stage: int
    vital: bool
    fork_at_ns: int | None = None  # None: not due
    beat_ns: int = 0  # newest heartbeat of this run, 0 before the first
    short_runs: int = 0
    killed_as_stuck: bool = False
    failing_cause: str | None = None  # told last; None while it does not die again and again

    @property
    def worked_ns(self) -> int:
        """For how long this run beat: what hung afterwards was no work."""
        return self.beat_ns - self.first_beat_ns


class Supervisor:
    """The state of the node; `step` is its only door."""

    def __init__(self, specs: Sequence[ProcessSpec], notice_ns: int = 0) -> None:
        self._notice_ns = notice_ns
        self._notice_since_ns: int | None = None
        self._processes = {spec.name: _ProcessState(**spec._asdict()) for spec in specs}
        self._replacement: Replacement | None = None
        self._actions: list[Action] = []
        self._stages_to_start = sorted({spec.stage for spec in specs})  # the last one is next
        self._stage_started_at_ns = 0
        self._was_ready = False
        self._last_step_ns: int | None = None
        self._judge_from_ns = 0  # nobody is stuck before this time
        self._exit_code = EXIT_DRAINED
        self._message = ""
        self._draining_since_ns: int | None = None
        self._stages_told: set[int] = set()
        self._killed_all = False

    def step(self, now_ns: int, events: Sequence[Event]) -> list[Action]:
        """Take in what happened and say what to do; `now_ns` is monotonic and never falls."""
        self._actions = []
        if self._last_step_ns is not None and now_ns - self._last_step_ns > SUPERVISOR_GAP_MAX_NS:
            self._judge_from_ns = now_ns + HEARTBEAT_AGE_MAX_NS
        self._last_step_ns = now_ns
        for event in events:
            _ON_EVENT[type(event)](self, now_ns, event)
        if self._notice_since_ns is not None and now_ns - self._notice_since_ns >= self._notice_ns:
            self._begin_drain(now_ns)
        if self._draining_since_ns is None:
            self._kill_stuck(now_ns)
            self._forgive()
            self._start_next_stage(now_ns)
            self._replace_on(now_ns)
            self._fork_due(now_ns)
        else:
            self._drain_on(now_ns, self._draining_since_ns)
        return self._actions

    def _on_exited(self, now_ns: int, event: Exited) -> None:
        process = self._processes[event.name]
        process.running = False
        cause = cause_of(event, process.killed_as_stuck)
        if self._draining_since_ns is not None:
            if process.seat is not None:
                self._actions.append(CloseSeat(process.pool, process.seat))
            return
        if self._replacement is not None and self._replacement.ended(event.name, cause):
            self._let_go(now_ns, process)
            return
        process.short_runs = process.short_runs + 1 if process.worked_ns < SHORT_RUN_NS else 1
        is_boot_failure = event.code == EXIT_BOOT_FAILURE and not process.first_beat_ns
        is_crash_loop = process.short_runs >= CRASH_LOOP_DEATHS
        self._tell_of_death(process, cause)
        if is_boot_failure and process.vital and not self._was_ready:
            self._halt(now_ns, EXIT_NODE_BOOT_FAILURE, f"{process.name} could not start: {cause}")
        elif is_crash_loop and process.vital and not self._was_ready:
            died = f"{process.name} died {process.short_runs} times in a row, each time within seconds"
            self._halt(now_ns, EXIT_CRASH_LOOP, f"{died}; the last time: {cause}")
        else:
            delay_ns = RESTART_DELAYS_NS[min(process.short_runs, len(RESTART_DELAYS_NS)) - 1]
            process.fork_at_ns = now_ns + delay_ns
            if delay_ns and process.seat is not None:
                self._actions.append(CloseSeat(process.pool, process.seat))

    def _let_go(self, now_ns: int, process: _ProcessState) -> None:
        """Of who ended because it was replaced: no death."""
        process.retiring = False
        process.short_runs = 0
        if process.failing_cause is not None:
            process.failing_cause = None
            self._actions.append(SetFailing(process.name, False))
        if process.pool:
            self._actions.append(LetRest(process.name))
        else:
            process.fork_at_ns = now_ns

    def _on_replace(self, _now_ns: int, event: Replace) -> None:
        if self._draining_since_ns is None:
            self._replacement = Replacement(event, self._processes)

    def _replace_on(self, now_ns: int) -> None:
        for order in () if self._replacement is None else self._replacement.go_on(now_ns):
            match order:
                case Begin(name):
                    self._processes[name].fork_at_ns = now_ns
                case Retire(name):
                    self._actions.append(SetCommand(name, Command.RETIRE))
                    self._actions.append(Kill(name, signal.SIGTERM))
                case Overdue(name):
                    self._report("process killed, it was to end", process=name)
                    self._actions.append(Kill(name, signal.SIGKILL))
                case Replaced():
                    self._replacement = None
                    self._actions.append(order)

    def _tell_of_death(self, process: _ProcessState, cause: str) -> None:
        """A line a death; of who dies again and again one alarm, and a line when the cause is a new one."""
        if process.short_runs < CRASH_LOOP_DEATHS:
            self._report("process died", process=process.name, cause=cause, short_runs=process.short_runs)
        elif process.failing_cause is None:
            self._actions.append(SetFailing(process.name, True))
            fields = {"process": process.name, "cause": cause, "short_runs": process.short_runs}
            self._actions.append(Report("process dies again and again", fields, logging.CRITICAL))
            process.failing_cause = cause
        elif cause != process.failing_cause:
            self._report("process dies of another cause", process=process.name, cause=cause)
            process.failing_cause = cause

    def _forgive(self) -> None:
        """Who has worked for longer than a short run is well again."""
        for process in self._processes.values():
            if process.running and process.short_runs and process.worked_ns >= SHORT_RUN_NS:
                process.short_runs = 0
                if process.failing_cause is not None:
                    process.failing_cause = None
                    self._actions.append(SetFailing(process.name, False))
                    self._report("process works again", process=process.name)

    def _on_ready(self, _now_ns: int, _event: Ready) -> None:
        self._was_ready = True

    def _on_signal(self, now_ns: int, event: SignalReceived) -> None:
        fields = {"signal": signal.Signals(event.number).name}
        if self._draining_since_ns is not None:
            self._kill_all()
        elif self._notice_since_ns is None and self._notice_ns and self._was_ready:
            self._notice_since_ns = now_ns
            fields["seconds"] = f"{self._notice_ns / NS_PER_SECOND:g}"
            self._actions += [Report("leaving", fields, logging.INFO), Announce(Phase.STOPPING)]
        else:
            self._actions.append(Report("draining", fields, logging.INFO))
            self._begin_drain(now_ns)

    def _on_heartbeats(self, _now_ns: int, event: Heartbeats) -> None:
        for process in self._processes.values():
            beat_ns = event.beats.get(process.name, 0)
            # The word still holds the beat of the run before until the new process writes its own.
            if process.running and beat_ns >= process.forked_at_ns:
                process.beat_ns = beat_ns
                process.first_beat_ns = process.first_beat_ns or beat_ns

    def _halt(self, now_ns: int, exit_code: int, message: str) -> None:
        self._exit_code, self._message = exit_code, message
        self._begin_drain(now_ns)

    def _begin_drain(self, now_ns: int) -> None:
        if self._draining_since_ns is not None:
            return
        if self._notice_since_ns is None:
            self._actions.append(Announce(Phase.STOPPING))
        self._draining_since_ns = now_ns

    def _kill_stuck(self, now_ns: int) -> None:
        for process in self._processes.values():
            since_ns, limit_ns = (
                (process.beat_ns, HEARTBEAT_AGE_MAX_NS) if process.beat_ns else (process.forked_at_ns, BOOT_MAX_NS)
            )
            stuck = process.running and now_ns >= self._judge_from_ns and now_ns - since_ns > limit_ns
            if stuck and not process.killed_as_stuck:
                process.killed_as_stuck = True
                self._report("process stuck", process=process.name, silent_ms=(now_ns - since_ns) // 1_000_000)
                self._actions.append(Kill(process.name, signal.SIGKILL))

    def _start_next_stage(self, now_ns: int) -> None:
        if not self._stages_to_start:
            return
        stage = self._stages_to_start[-1]
        booting = any(
            process.stage > stage and not process.first_beat_ns and not process.is_resting
            for process in self._processes.values()
        )
        if booting and now_ns - self._stage_started_at_ns < START_STAGE_MAX_NS:
            return
        self._stages_to_start.pop()
        self._stage_started_at_ns = now_ns
        for process in self._processes.values():
            if process.stage == stage and not process.is_resting:
                process.fork_at_ns = now_ns

    def _fork_due(self, now_ns: int) -> None:
        for process in self._processes.values():
            if not process.running and process.fork_at_ns is not None and process.fork_at_ns <= now_ns:
                process.running, process.fork_at_ns, process.forked_at_ns = True, None, now_ns
                process.beat_ns = process.first_beat_ns = 0
                process.killed_as_stuck = False
                self._actions.append(Fork(process.name, process.failing_cause is not None, process.seat))

    def _drain_on(self, now_ns: int, since_ns: int) -> None:
        for number, stage in enumerate(sorted({process.stage for process in self._processes.values()})):
            before = [process for process in self._processes.values() if process.stage < stage and process.running]
            if before and now_ns - since_ns < number * DRAIN_STAGE_MAX_NS:
                break
            self._tell_stage(stage)
        if now_ns - since_ns >= DRAIN_MAX_NS and not self._killed_all:
            self._kill_all()
        if not any(process.running for process in self._processes.values()):
            self._actions.append(Stop(self._exit_code, self._message))

    def _tell_stage(self, stage: int) -> None:
        if stage in self._stages_told:
            return
        self._stages_told.add(stage)
        for process in self._processes.values():
            if process.stage == stage and process.running:
                self._actions.append(SetCommand(process.name, Command.DRAIN))
                self._actions.append(Kill(process.name, signal.SIGTERM))

    def _kill_all(self) -> None:
        self._killed_all = True
        for process in self._processes.values():
            if process.running:
                self._report("process killed at the end of the drain", process=process.name)
                self._actions.append(Kill(process.name, signal.SIGKILL))

    def _report(self, event: str, **fields: object) -> None:
        self._actions.append(Report(event, fields))


_ON_EVENT: Mapping[type, Callable[..., None]] = {
    Exited: Supervisor._on_exited,  # noqa: SLF001 - the table belongs to the class
    SignalReceived: Supervisor._on_signal,  # noqa: SLF001
    Ready: Supervisor._on_ready,  # noqa: SLF001
    Heartbeats: Supervisor._on_heartbeats,  # noqa: SLF001
    Replace: Supervisor._on_replace,  # noqa: SLF001
}
