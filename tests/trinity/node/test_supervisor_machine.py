"""The supervisor under any order of deaths, hangs, pauses, replacements and signals: a state machine with a world."""

import signal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trinity.limits import BOOT_MAX_NS, CRASH_LOOP_DEATHS, DRAIN_MAX_NS, RESTART_DELAYS_NS, RETIRE_MAX_NS, SHORT_RUN_NS
from trinity.memory.control import Command
from trinity.node.exits import Exited
from trinity.node.replacement import Replace, Replaced
from trinity.node.supervisor import (
    CloseSeat,
    Event,
    Fork,
    Heartbeats,
    Kill,
    LetRest,
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
    ProcessSpec("worker-0", 0, pool="worker", seat=0),
    ProcessSpec("worker-1", 0, pool="worker", seat=1),
    ProcessSpec("worker-2", 0, pool="worker"),
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
        self.resting = {"worker-2"}
        self.seats: dict[str, int] = {}  # of the workers that live
        self.retiring: set[str] = set()  # told to end because they are replaced
        self.turns = 0
        self.replacing_since: int | None = None  # the turn
        self.kept_seats = False  # while nobody died since the replacement began
        self.forked_at_ns: dict[str, int] = {}
        self.boots_hang = False  # who is started now does not beat until it is said
        self.deaf: set[str] = set()  # beat, and do not end when they are told

    def turn(self, *events: Event, after_ns: int = TURN_NS) -> None:
        """One step of the supervisor, and what it orders."""
        if self.stop is not None:
            return
        self.now_ns += after_ns
        self.turns += 1
        gone = {event.name for event in events if isinstance(event, Exited)}
        obedient = sorted(self.retiring - self.silent - self.deaf - gone)
        events = (*(Exited(name, 0) for name in obedient), *events)
        self.kept_seats = self.kept_seats and not gone - self.retiring
        self.beats |= dict.fromkeys(self.alive - self.silent - gone, self.now_ns)
        for event in events:
            if isinstance(event, Exited):
                self.alive.remove(event.name)
                self.silent.discard(event.name)
                self.deaf.discard(event.name)
                self.seats.pop(event.name, None)
                self.died_at_ns[event.name] = self.now_ns
                self.vital_deaths += event.name in VITAL and event.name not in self.retiring
                self.retiring.discard(event.name)
        killed = []
        for action in self.supervisor.step(self.now_ns, [Heartbeats(dict(self.beats)), *events]):
            assert self.stop is None, "nothing comes behind the stop"
            match action:
                case Fork(name, is_failing, seat):
                    if name.startswith("worker"):
                        assert seat is not None, "nobody of a pool begins without a place"
                        self.seats[name] = seat
                    self.resting.discard(name)
                    self.forked_at_ns[name] = self.now_ns
                    self.silent |= {name} if self.boots_hang else set()
                    assert name not in self.alive, "never two runs of one process"
                    assert self.drained_at_ns is None, "nobody is started in a drain"
                    assert is_failing == (name in self.failing)
                    self.alive.add(name)
                    self.died_at_ns.pop(name, None)
                case Kill(name, number):
                    assert name in self.alive, "nobody dead is killed"
                    killed += [name] * (number == signal.SIGKILL)
                case SetCommand(name, Command.RETIRE):
                    if name in self.seats:
                        beating = [other for other in self.seats if self.beats.get(other, 0) > self.forked_at_ns[other]]
                        others = [self.seats[other] for other in beating if other not in (name, *self.retiring)]
                        assert self.seats[name] in others, "nobody leaves a seat before another one beats there"
                    self.retiring.add(name)
                case LetRest(name):
                    assert name not in self.alive
                    self.resting.add(name)
                    self.died_at_ns.pop(name, None)
                case CloseSeat(_, seat):
                    assert seat not in self.seats.values()
                case Replaced():
                    assert self.replacing_since is not None
                    self.replacing_since = None
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

    @rule()
    def let_boots_hang_or_not(self) -> None:
        self.boots_hang = not self.boots_hang

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def be_deaf(self, data: st.DataObject) -> None:
        self.deaf.add(data.draw(st.sampled_from(sorted(self.alive))))

    @rule(seconds=st.integers(2, 4000))
    def pause(self, seconds: int) -> None:
        """The machine slept; nobody pays for it with their life in the same turn."""
        before = self.alive - self.retiring
        self.turn(after_ns=seconds * 1000 * MS)
        assert self.drained_at_ns is not None or before <= self.alive

    @precondition(lambda self: self.replacing_since is None and self.drained_at_ns is None)
    @rule(
        names=st.sets(st.sampled_from(["feed-a", "feed-b", "flusher", "health"])),
        pools=st.sampled_from([(), ("worker",), ("worker",)]),
        boots_hang=st.booleans(),
        deaf=st.sets(st.sampled_from(NAMES), max_size=2),
        turns=st.integers(0, 40),
    )
    def replace(self, names: set[str], pools: tuple[str, ...], boots_hang: bool, deaf: set[str], turns: int) -> None:
        """As a reload asks; successors may hang, and those before them may not hear."""
        self.replacing_since = self.turns
        self.boots_hang, self.deaf = boots_hang, self.deaf | (deaf & self.alive)
        self.kept_seats = set(self.seats.values()) == {0, 1} and not self.silent
        self.turn(Replace(tuple(sorted(names)), pools))
        for _ in range(turns):
            self.turn()

    @precondition(lambda self: self.alive | self.resting == set(NAMES) and not self.retiring)
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
            for name in [name for name in self.told if name in self.alive - self.silent - self.deaf]:
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
    def each_seat_is_held_while_its_holder_is_replaced(self) -> None:
        if self.kept_seats and self.drained_at_ns is None and not self.silent:
            serving = {seat for name, seat in self.seats.items() if name not in self.retiring}
            assert serving == {0, 1}, (self.seats, self.retiring)

    @invariant()
    def a_replacement_ends_in_time(self) -> None:
        """At most a boot and an end for each process, also where each of them hangs."""
        if self.replacing_since is not None and self.drained_at_ns is None:
            turns = len(NAMES) * (BOOT_MAX_NS + RETIRE_MAX_NS) // TURN_NS
            assert self.turns - self.replacing_since < turns

    @invariant()
    def who_was_told_to_end_does_not_live_on(self) -> None:
        assert self.retiring <= self.alive

    @invariant()
    def no_more_live_than_have_a_place(self) -> None:
        """A pool has one process beside its seats, and only while one of them leaves."""
        assert len([name for name in self.seats if name not in self.retiring]) <= 3

    @invariant()
    def an_alarm_is_of_somebody_who_died(self) -> None:
        assert self.failing <= set(self.beats) | set(self.died_at_ns) | self.alive

    def teardown(self) -> None:
        """Left alone, everything that was started lives and no alarm is left."""
        self.silent, self.boots_hang = set(), False
        for _ in range((RESTART_DELAYS_NS[-1] + 2 * SHORT_RUN_NS + BOOT_MAX_NS + RETIRE_MAX_NS) // TURN_NS):
            self.turn()
        if self.drained_at_ns is None:
            assert self.alive | self.resting == set(NAMES)
            assert sorted(self.seats.values()) == [0, 1]
            assert self.replacing_since is None
            assert not self.failing


World.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class TestSupervisor(World.TestCase):  # type: ignore[misc] # hypothesis makes the class
    """A node that was ready never stops because of a child; waits are bounded; drains keep their order."""
