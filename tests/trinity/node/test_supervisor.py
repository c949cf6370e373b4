"""The supervisor's decisions, replayed from scripts of (time, events): no process is started here."""

import logging
import signal
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.limits import (
    BOOT_MAX_NS,
    CRASH_LOOP_DEATHS,
    DRAIN_MAX_NS,
    HEARTBEAT_AGE_MAX_NS,
    RESTART_DELAYS_NS,
    SHORT_RUN_NS,
    START_STAGE_MAX_NS,
)
from trinity.memory.control import Command
from trinity.node.exits import Exited
from trinity.node.notify import Phase
from trinity.node.supervisor import (
    Action,
    Announce,
    Event,
    Fork,
    Heartbeats,
    Kill,
    ProcessSpec,
    Ready,
    Report,
    SetCommand,
    SetFailing,
    SignalReceived,
    Stop,
    Supervisor,
)
from trinity.process import EXIT_BOOT_FAILURE

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_000 * SECOND
SPECS = (ProcessSpec("feed", 1, vital=False), ProcessSpec("worker", 0), ProcessSpec("health", 2))


class Replay:
    """A supervisor and the beats of processes that all go on well, unless told otherwise."""

    def __init__(self, specs: Sequence[ProcessSpec] = SPECS, notice_ns: int = 0) -> None:
        self.supervisor = Supervisor(specs, notice_ns)
        self.now_ns = T0
        self.alive: set[str] = set()
        self.silent: set[str] = set()
        self.beats: dict[str, int] = {}
        self.killed: set[str] = set()
        self.reports: list[Report] = []

    def step(self, *events: Event, after_ns: int = 100 * MS) -> list[Action]:
        """One turn later: the living beat, then `events` happen."""
        self.now_ns += after_ns
        self.beats |= dict.fromkeys(self.alive - self.silent, self.now_ns)
        self.alive -= {event.name for event in events if isinstance(event, Exited)}
        actions = self.supervisor.step(self.now_ns, [Heartbeats(dict(self.beats)), *events])
        self.reports += [action for action in actions if isinstance(action, Report)]
        forked = {action.name for action in actions if isinstance(action, Fork)}
        self.alive |= forked
        self.killed -= forked
        self.killed |= {a.name for a in actions if isinstance(a, Kill) and a.signal == signal.SIGKILL}
        return [action for action in actions if not isinstance(action, Report)]

    def started(self) -> "Replay":
        """All processes are forked and have beaten."""
        for _ in range(6):
            self.step()
        assert self.alive == {spec.name for spec in SPECS}
        return self

    def die(self, name: str, code: int = 1, words: str = "") -> list[Action]:
        """The process ends; the actions until it is forked again, or the turn of its end if the node ends with it."""
        actions = self.step(Exited(name, code, words))
        while not any(isinstance(a, Fork) and a.name == name for a in actions) and not any(
            isinstance(a, Kill | Stop) for a in actions
        ):
            actions += self.step()
        return actions

    def run_for(self, ns: int) -> list[Action]:
        """Turns without events; the actions of all of them."""
        return [action for _ in range(ns // (100 * MS)) for action in self.step()]


def test_a_start_goes_stage_by_stage_from_the_highest() -> None:
    """Health first, then feeds, then workers, each when the stage before has beaten."""
    replay = Replay()
    assert replay.step() == [Fork("health")]
    assert replay.step() == [Fork("feed")]
    assert replay.step() == [Fork("worker")]
    assert replay.step() == []


def test_a_stage_that_hangs_does_not_hold_up_the_others_for_long() -> None:
    """After a bounded wait the next stage starts without the first one's heartbeat."""
    replay = Replay()
    replay.silent = {"health"}
    replay.step()
    forks = [action for action in replay.run_for(START_STAGE_MAX_NS - SECOND) if isinstance(action, Fork)]
    assert forks == []
    assert Fork("feed") in replay.run_for(2 * SECOND)


def test_a_killed_process_is_forked_again_in_the_same_turn() -> None:
    """The first death costs no waiting: kill -9 is repaired at once."""
    replay = Replay().started()
    replay.run_for(SHORT_RUN_NS + SECOND)
    assert replay.step(Exited("worker", -signal.SIGKILL)) == [Fork("worker")]


def test_later_deaths_wait_longer_but_never_more_than_two_seconds() -> None:
    """The delays grow up to a bound, and stay there however often it dies."""
    replay = Replay().started()
    replay.step(Ready())
    waits_ns = []
    for _ in range(3 * CRASH_LOOP_DEATHS):
        died_at_ns = replay.now_ns + 100 * MS
        replay.die("worker", -signal.SIGKILL)
        waits_ns.append(replay.now_ns - died_at_ns)
    assert waits_ns == sorted(waits_ns)
    assert waits_ns[0] == 0
    assert waits_ns[-1] <= RESTART_DELAYS_NS[-1] + 100 * MS < 3 * SECOND


@pytest.mark.parametrize("code", [0, 1, 2, 70, -signal.SIGSEGV, -signal.SIGTERM])
def test_every_other_end_is_a_reason_to_restart(code: int) -> None:
    """Also an orderly exit that nobody asked for: a node needs all its processes."""
    replay = Replay().started()
    assert replay.step(Exited("feed", code)) == [Fork("feed")]


def test_a_boot_failure_ends_the_start_with_its_cause() -> None:
    """Exit code 3: the others are drained and the message is the process's own account."""
    replay = Replay()
    replay.step()
    replay.step()
    assert replay.step() == [Fork("worker")]
    assert Kill("feed", signal.SIGTERM) in replay.supervisor.step(
        replay.now_ns, [Exited("worker", EXIT_BOOT_FAILURE, "TCP_PORT_LPO=8080 is taken")]
    )
    replay.alive -= {"worker"}
    replay.step(Exited("feed", 0))
    actions = replay.step(Exited("health", 0))
    assert actions == [Stop(3, "worker could not start: TCP_PORT_LPO=8080 is taken")]


def test_a_boot_failure_ends_a_node_whose_other_stages_were_never_started() -> None:
    """What was not forked is not waited for."""
    replay = Replay()
    replay.silent = {"health"}
    replay.step()
    stopped = [Announce(Phase.STOPPING), Stop(3, "health could not start: no")]
    assert replay.step(Exited("health", EXIT_BOOT_FAILURE, "no")) == stopped


@pytest.mark.parametrize("name", ["feed", "worker", "health"])
def test_exit_code_3_ends_no_node_that_was_ready(name: str) -> None:
    """A port that was taken meanwhile, or any program that ends with 3: it is tried again as after any other death."""
    replay = Replay().started()
    replay.step(Ready())
    replay.run_for(SHORT_RUN_NS + SECOND)
    assert replay.step(Exited(name, EXIT_BOOT_FAILURE, "taken")) == [Fork(name)]
    replay.silent = {name}
    for _ in range(3 * CRASH_LOOP_DEATHS):
        assert not any(isinstance(action, Stop | SetCommand) for action in replay.die(name, EXIT_BOOT_FAILURE, "taken"))


def test_exit_code_3_of_a_process_that_is_not_vital_ends_no_start() -> None:
    """One exchange that cannot start is not the node."""
    replay = Replay().started()
    replay.silent = {"feed"}
    assert replay.step(Exited("feed", EXIT_BOOT_FAILURE)) == [Fork("feed")]
    assert replay.step(Exited("feed", EXIT_BOOT_FAILURE)) == []


def test_exit_code_3_of_a_process_that_has_worked_is_no_boot_failure() -> None:
    """Also before the node was ready: it had beaten, so it had started."""
    replay = Replay().started()
    assert replay.step(Exited("worker", EXIT_BOOT_FAILURE)) == [Fork("worker")]


def test_a_crash_loop_ends_a_start_with_the_last_cause() -> None:
    """Five short runs in a row of what a node cannot be without, before it was ever ready: exit code 4."""
    replay = Replay().started()
    for _ in range(CRASH_LOOP_DEATHS):
        replay.die("worker", 1, "ZeroDivisionError: division by zero")
    replay.step(Exited("feed", 0))
    (stop,) = replay.step(Exited("health", 0))
    assert isinstance(stop, Stop)
    assert stop.exit_code == 4
    assert stop.message.startswith("worker died 5 times in a row")
    assert stop.message.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(("name", "is_ready"), [("feed", False), ("feed", True), ("worker", True), ("health", True)])
def test_a_crash_loop_is_an_alarm_and_tried_again_for_ever(name: str, is_ready: bool) -> None:
    """One CRITICAL line, the alarm, and no more lines until the cause changes or it works: the node lives on."""
    replay = Replay().started()
    replay.step(*[Ready()] * is_ready)
    actions: list[Action] = []
    for _ in range(4 * CRASH_LOOP_DEATHS):
        actions += replay.die(name, -signal.SIGKILL)
    assert not any(isinstance(action, Stop | SetCommand) for action in actions)
    assert [action for action in actions if isinstance(action, SetFailing)] == [SetFailing(name, True)]
    assert [report.level for report in replay.reports] == [logging.WARNING] * (CRASH_LOOP_DEATHS - 1) + [
        logging.CRITICAL
    ]
    assert actions[-1] == Fork(name, is_failing=True)
    replay.reports.clear()
    replay.die(name, 1, "another")
    assert [report.event for report in replay.reports] == ["process dies of another cause"]
    assert SetFailing(name, False) in replay.run_for(SHORT_RUN_NS + SECOND)
    assert replay.reports[-1].event == "process works again"
    assert replay.step(Exited(name, 1)) == [Fork(name)]


def test_a_process_that_hangs_soon_after_each_start_is_a_crash_loop_as_well() -> None:
    """What counts is how long it worked, not how long it was there."""
    replay = Replay().started()
    replay.step(Ready())
    for _ in range(CRASH_LOOP_DEATHS):
        replay.silent = {"feed"}
        killed = replay.run_for(HEARTBEAT_AGE_MAX_NS + SECOND)
        assert Kill("feed", signal.SIGKILL) in killed
        replay.die("feed", -signal.SIGKILL)
        replay.silent = set()
        replay.run_for(SECOND)
    assert replay.reports[-1].event == "process dies again and again"


def test_deaths_after_good_runs_are_no_crash_loop() -> None:
    """A process that works for a while between its deaths is restarted forever, and at once."""
    replay = Replay().started()
    for _ in range(3 * CRASH_LOOP_DEATHS):
        replay.run_for(SHORT_RUN_NS + SECOND)
        assert replay.step(Exited("feed", -signal.SIGKILL)) == [Fork("feed")]


def test_a_stuck_process_is_killed_once_and_replaced() -> None:
    """No heartbeat for longer than the limit: SIGKILL, and a fork when it is gone."""
    replay = Replay().started()
    replay.silent = {"feed"}
    assert replay.run_for(HEARTBEAT_AGE_MAX_NS - SECOND) == []
    assert replay.run_for(2 * SECOND) == [Kill("feed", signal.SIGKILL)]
    assert replay.step(Exited("feed", -signal.SIGKILL)) == [Fork("feed")]


def test_a_process_that_never_beats_gets_the_longer_grace_of_a_boot() -> None:
    """The heartbeat word still holds its predecessor's beat, which counts for nothing."""
    replay = Replay().started()
    replay.silent = {"feed"}
    replay.step(Exited("feed", 1))
    assert replay.run_for(HEARTBEAT_AGE_MAX_NS + 2 * SECOND) == []
    assert replay.run_for(BOOT_MAX_NS) == [Kill("feed", signal.SIGKILL)]


def test_a_machine_that_was_paused_does_not_cost_anybody_their_life() -> None:
    """After a gap in its own turns the supervisor waits for new heartbeats before it judges."""
    replay = Replay().started()
    replay.silent = set(replay.alive)
    assert replay.step(after_ns=3600 * SECOND) == []
    replay.silent = set()
    assert replay.run_for(2 * HEARTBEAT_AGE_MAX_NS) == []


def test_a_drain_goes_stage_by_stage_from_the_lowest_and_ends_with_code_0() -> None:
    """Workers stop first, while prices still come in; health is the last to go."""
    replay = Replay().started()
    assert replay.step(SignalReceived(signal.SIGTERM)) == [
        Announce(Phase.STOPPING),
        SetCommand("worker", Command.DRAIN),
        Kill("worker", signal.SIGTERM),
    ]
    assert replay.step() == []
    assert replay.step(Exited("worker", 0)) == [SetCommand("feed", Command.DRAIN), Kill("feed", signal.SIGTERM)]
    assert replay.step(Exited("feed", 0)) == [SetCommand("health", Command.DRAIN), Kill("health", signal.SIGTERM)]
    assert replay.step(Exited("health", 0)) == [Stop(0, "")]


def test_whoever_does_not_drain_is_killed_in_time() -> None:
    """All stages are told, then SIGKILL once for each, in under 5 s."""
    replay = Replay().started()
    replay.step(SignalReceived(signal.SIGINT))
    started_ns = replay.now_ns
    actions: list[Action] = []
    while not actions or actions[-1] != Kill("health", signal.SIGKILL):
        actions += replay.step()
    assert replay.now_ns - started_ns <= DRAIN_MAX_NS + 100 * MS < 5 * SECOND
    told = [action.name for action in actions if isinstance(action, SetCommand)]
    assert told == ["feed", "health"]
    assert [a.name for a in actions if isinstance(a, Kill) and a.signal == signal.SIGKILL] == [
        "feed",
        "worker",
        "health",
    ]
    assert replay.run_for(SECOND) == []


def test_a_second_signal_kills_at_once() -> None:
    """The operator who asks twice does not want to wait."""
    replay = Replay().started()
    replay.step(SignalReceived(signal.SIGTERM))
    killed = replay.step(SignalReceived(signal.SIGTERM))
    assert {action for action in killed if isinstance(action, Kill) and action.signal == signal.SIGKILL} == {
        Kill(spec.name, signal.SIGKILL) for spec in SPECS
    }


def test_nobody_is_restarted_during_a_drain() -> None:
    """Also a process whose restart was due when the drain began stays down."""
    replay = Replay().started()
    replay.step(Exited("feed", 1))
    replay.step(Exited("feed", 1))
    replay.step(SignalReceived(signal.SIGTERM))
    actions = replay.run_for(SECOND) + replay.step(Exited("worker", 1)) + replay.step(Exited("health", 1))
    assert not any(isinstance(action, Fork) for action in actions)
    assert actions[-1] == Stop(0, "")


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "exit", "silence", "signal"]),
        st.sampled_from([spec.name for spec in SPECS]),
        st.sampled_from([0, 1, 3, -9, -11]),
        st.sampled_from([100 * MS, 700 * MS, 3 * SECOND]),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(HAPPENINGS)
def test_whatever_happens_the_rules_hold(happenings: list[tuple[str, str, int, int]]) -> None:
    """Never two runs of one process, no kill of the dead, and after a signal everything is down in 5 s."""
    replay = Replay()
    stopped = False
    for what, name, code, after_ns in happenings:
        before = set(replay.alive)
        events: list[Event] = []
        if what == "exit" and name in before:
            events = [Exited(name, code)]
            before -= {name}
        elif what == "silence":
            replay.silent ^= {name}
        elif what == "signal":
            events = [SignalReceived(signal.SIGTERM)]
        for action in replay.step(*events, after_ns=after_ns):
            assert not stopped, "nothing is done after the stop"
            if isinstance(action, Fork):
                assert action.name not in before
            elif isinstance(action, Kill):
                assert action.name in before
            stopped = isinstance(action, Stop)
            assert not (stopped and replay.alive)
        if stopped:
            return
    replay.step(SignalReceived(signal.SIGTERM))
    replay.run_for(DRAIN_MAX_NS)
    assert replay.alive <= replay.killed, "whoever is left was killed"


def test_a_ready_node_says_that_it_leaves_and_works_on_before_it_drains() -> None:
    """A process that dies meanwhile is started again: everything is served until the notice is over."""
    replay = Replay(notice_ns=3 * SECOND).started()
    replay.step(Ready())
    assert replay.step(SignalReceived(signal.SIGTERM)) == [Announce(Phase.STOPPING)]
    replay.run_for(SECOND)
    assert Fork("worker") in replay.die("worker", -signal.SIGKILL)
    assert not any(isinstance(action, Kill) for action in replay.run_for(SECOND + 500 * MS))
    drained = replay.run_for(SECOND)
    assert SetCommand("worker", Command.DRAIN) in drained
    assert Announce(Phase.STOPPING) not in drained


def test_a_second_signal_ends_the_notice_and_a_third_one_the_drain() -> None:
    """Who is in a hurry says so."""
    replay = Replay(notice_ns=60 * SECOND).started()
    replay.step(Ready())
    replay.step(SignalReceived(signal.SIGTERM))
    assert SetCommand("worker", Command.DRAIN) in replay.step(SignalReceived(signal.SIGTERM))
    assert {a.name for a in replay.step(SignalReceived(signal.SIGTERM)) if isinstance(a, Kill)} == replay.killed


def test_a_node_that_was_never_ready_gives_no_notice() -> None:
    """Nobody was sent to it."""
    replay = Replay(notice_ns=60 * SECOND).started()
    assert SetCommand("worker", Command.DRAIN) in replay.step(SignalReceived(signal.SIGTERM))
