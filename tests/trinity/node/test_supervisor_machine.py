"""The supervisor under any order of deaths, hangs, pauses and signals: a state machine with a small world around it."""

import signal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trinity.limits import CRASH_LOOP_DEATHS, DRAIN_MAX_NS, RESTART_DELAYS_NS, SHORT_RUN_NS
from trinity.node.supervisor import (
    Event,
    Exited,
    Fork,
    Heartbeats,
    Kill,
    ProcessSpec,
    Ready,
    SetCommand,
    SetFailing,
    SignalReceived,
    Stop,
    Supervisor,
)
from trinity.process import EXIT_BOOT_FAILURE

MS = 1_000_000
TURN_NS = 100 * MS
SPECS = (
    ProcessSpec("health", 2),
    ProcessSpec("feed-a", 1, vital=False),
    ProcessSpec("feed-b", 1, vital=False),
    ProcessSpec("consensus", 1),
    ProcessSpec("flusher", 1, vital=False),
    ProcessSpec("worker-0", 0),
    ProcessSpec("worker-1", 0),
)
NAMES = [spec.name for spec in SPECS]
STAGES = {spec.name: spec.stage for spec in SPECS}
VITAL = {spec.name for spec in SPECS if spec.vital}
CODES = [0, 1, 2, EXIT_BOOT_FAILURE, 4, -signal.SIGKILL, -signal.SIGSEGV, -signal.SIGTERM]


class World(RuleBasedStateMachine):
    """Processes that live, hang and die as the rules say; what the supervisor orders is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor = Supervisor(SPECS)
        self.now_ns = 1_000_000 * MS
        self.alive: set[str] = set()
        self.silent: set[str] = set()
        self.beats: dict[str, int] = {}
        self.died_at_ns: dict[str, int] = {}  # of those that have not been forked again
        self.vital_deaths = 0
        self.was_ready = False
        self.drained_at_ns: int | None = None
        self.told: list[str] = []
        self.failing: set[str] = set()
        self.stop: Stop | None = None

    def turn(self, *events: Event, after_ns: int = TURN_NS) -> None:
        """One step of the supervisor, and what it orders."""
        if self.stop is not None:
            return
        self.now_ns += after_ns
        self.beats |= dict.fromkeys(self.alive - self.silent, self.now_ns)
        for event in events:
            if isinstance(event, Exited):
                self.alive.remove(event.name)
                self.silent.discard(event.name)
                self.died_at_ns[event.name] = self.now_ns
                self.vital_deaths += event.name in VITAL
        killed = []
        for action in self.supervisor.step(self.now_ns, [Heartbeats(dict(self.beats)), *events]):
            assert self.stop is None, "nothing comes behind the stop"
            match action:
                case Fork(name, is_failing):
                    assert name not in self.alive, "never two runs of one process"
                    assert self.drained_at_ns is None, "nobody is started in a drain"
                    assert is_failing == (name in self.failing)
                    self.alive.add(name)
                    self.died_at_ns.pop(name, None)
                case Kill(name, number):
                    assert name in self.alive, "nobody dead is killed"
                    killed += [name] * (number == signal.SIGKILL)
                case SetCommand(name, _):
                    if self.drained_at_ns is None:
                        self.drained_at_ns = self.now_ns  # it ends by itself
                    self.told.append(name)
                case SetFailing(name, is_failing):
                    assert is_failing == (name not in self.failing), "each change once"
                    self.failing ^= {name}
                case Stop():
                    assert not self.alive, "whoever lives is not left behind"
                    self.stop = action
                    self.drained_at_ns = self.drained_at_ns or self.now_ns
        if killed:
            self.turn(*(Exited(name, -signal.SIGKILL) for name in killed))

    @initialize(turns=st.integers(0, 8))
    def start(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    @rule(turns=st.integers(1, 80))
    def live(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from(CODES))
    def die(self, data: st.DataObject, code: int) -> None:
        self.turn(Exited(data.draw(st.sampled_from(sorted(self.alive))), code))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), code=st.sampled_from(CODES), times=st.integers(2, 4 * CRASH_LOOP_DEATHS))
    def die_again_and_again(self, data: st.DataObject, code: int, times: int) -> None:
        """What a poison request does to a worker, or a bug to a feed."""
        name = data.draw(st.sampled_from(sorted(self.alive)))
        for _ in range(times):
            for _ in range(RESTART_DELAYS_NS[-1] // TURN_NS + 1):
                if name not in self.alive:
                    self.turn()
            if name in self.alive:
                self.turn(Exited(name, code))

    @precondition(lambda self: self.alive)
    @rule()
    def all_die_at_once(self) -> None:
        self.turn(*(Exited(name, 1) for name in sorted(self.alive)))

    @rule(name=st.sampled_from(NAMES))
    def hang_or_go_on(self, name: str) -> None:
        if name in self.alive:
            self.silent ^= {name}

    @rule(seconds=st.integers(2, 4000))
    def pause(self, seconds: int) -> None:
        """The machine slept; nobody pays for it with their life in the same turn."""
        before = set(self.alive)
        self.turn(after_ns=seconds * 1000 * MS)
        assert self.drained_at_ns is not None or before <= self.alive

    @precondition(lambda self: self.alive == set(NAMES))
    @rule()
    def be_ready(self) -> None:
        self.was_ready = self.was_ready or self.drained_at_ns is None
        self.turn(Ready())

    @precondition(lambda self: self.was_ready)
    @rule(number=st.sampled_from([signal.SIGTERM, signal.SIGINT]))
    def ask_to_stop(self, number: int) -> None:
        """Everything is down in the promised time, stage by stage, whoever hangs."""
        if self.drained_at_ns is None:
            self.drained_at_ns = self.now_ns + TURN_NS
        self.turn(SignalReceived(number))
        for _ in range(DRAIN_MAX_NS // TURN_NS + 2):
            for name in [name for name in self.told if name in self.alive - self.silent]:
                self.turn(Exited(name, 0), after_ns=0)
            self.turn()
        assert self.stop is not None
        assert self.stop.exit_code == 0
        assert [STAGES[name] for name in self.told] == sorted(STAGES[name] for name in self.told)

    @invariant()
    def a_node_that_was_ready_never_stops_because_of_a_child(self) -> None:
        if self.was_ready and self.stop is not None:
            assert (self.stop.exit_code, self.stop.message) == (0, "")
        if self.drained_at_ns is not None and not self.was_ready:
            assert self.vital_deaths, "only what is vital ends a start"

    @invariant()
    def whoever_died_is_back_in_time(self) -> None:
        if self.drained_at_ns is None:
            waits_ns = [self.now_ns - died_at_ns for died_at_ns in self.died_at_ns.values()]
            assert max(waits_ns, default=0) < RESTART_DELAYS_NS[-1] + TURN_NS

    @invariant()
    def an_alarm_is_of_somebody_who_died(self) -> None:
        assert self.failing <= set(self.beats) | set(self.died_at_ns) | self.alive

    def teardown(self) -> None:
        """Left alone, everything that was started lives and no alarm is left."""
        self.silent = set()
        for _ in range((RESTART_DELAYS_NS[-1] + 2 * SHORT_RUN_NS) // TURN_NS):
            self.turn()
        if self.drained_at_ns is None:
            assert self.alive == set(NAMES)
            assert not self.failing


World.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class TestSupervisor(World.TestCase):  # type: ignore[misc] # hypothesis makes the class
    """A node that was ready never stops because of a child; waits are bounded; drains keep their order."""
