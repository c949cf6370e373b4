"""What executes the supervisor's decisions: fork, kill, wait. The thin loop, and nothing else.

Rules: this process has one thread, no event loop and no connection, because it forks again at every restart; that is
checked before each fork. Signal handlers do nothing: their numbers arrive through a pipe, which also ends the wait.
Children that ended are collected in the loop, whoever's they are: as process 1 of a container it inherits orphans.

A child gets its own process group, so that Ctrl-C reaches the supervisor alone and the drain keeps its order, and
dies with its parent (PR_SET_PDEATHSIG, prctl(2)). It ends by `os._exit`: code 0 when its function returned, 3
(EXIT_BOOT_FAILURE) for a TrinityError before its first heartbeat, 1 for anything else. Why it died it writes into a
small piece of anonymous shared memory, its failure message, for the supervisor; into its log as well, unless it dies
again and again, which was told once.
"""

import contextlib
import ctypes
import gc
import logging
import mmap
import os
import random
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from trinity.clock import Clock
from trinity.errors import BugError, TrinityError
from trinity.limits import FAILURE_MESSAGE_BYTES_MAX, SUPERVISOR_TURN_MS
from trinity.linux import PR_SET_PDEATHSIG
from trinity.memory.control import (
    COMMAND,
    FAILING,
    HEARTBEAT_NS,
    PID,
    RESTARTS,
    RESTING,
    STARTED_NS,
    Command,
    ProcessBlock,
)
from trinity.net.seat import Seat
from trinity.node.exits import Exited
from trinity.node.notify import Phase
from trinity.node.replacement import Replace, Replaced
from trinity.node.supervisor import (
    Action,
    Announce,
    CloseSeat,
    Event,
    Fork,
    Heartbeats,
    Kill,
    LetRest,
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

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_STOP_SIGNALS, signal.SIGCHLD, signal.SIGHUP)
_EXIT_CRASHED = 1


@dataclass(frozen=True)
class Process:
    """A process to run: `run` is all that it does, called in the child; `spec` is what the supervisor knows of it.

    `on_rest`: called in the supervisor when it ended and nobody takes its name for a while.
    """

    spec: ProcessSpec
    run: Callable[[Seat | None], None]
    block: ProcessBlock
    control_fd: int
    on_rest: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self.spec.name


class ChangeSource(Protocol):
    """What is to be changed while the node runs (trinity/node/reload.py)."""

    def begin(self) -> Replace | None:
        """SIGHUP came: what is to be replaced; None when nothing is."""

    def end(self, replaced: Replaced) -> Replace | None:
        """That is done or has failed; what is to be replaced now, if anything."""


class Launcher:
    """Runs processes until the supervisor says stop."""

    def __init__(
        self,
        processes: Sequence[Process],
        clock: Clock,
        log: logging.Logger,
        on_turn: Callable[[], bool],
        announce: Callable[[Phase], None],
        notice_ns: int = 0,
        changes: ChangeSource | None = None,
    ) -> None:
        """`on_turn` is called at each turn and says whether the node is ready; `announce` is told what it is doing,
        `notice_ns` is for how long a node that is told to stop first says that it leaves."""
        self._changes = changes
        self._is_asked_to_change = self._is_changing = False
        specs = (process.spec for process in processes)
        self._seats = {(spec.pool, spec.seat): Seat(spec.seat) for spec in specs if spec.seat is not None}
        for process in processes:
            process.block.write(RESTING, int(process.spec.pool != "" and process.spec.seat is None))
        self._processes = {process.name: process for process in processes}
        self._supervisor = Supervisor([process.spec for process in processes], notice_ns)
        self._clock = clock
        self._log = log
        self._on_turn = on_turn
        self._announce = announce
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._failure_messages = {name: mmap.mmap(-1, FAILURE_MESSAGE_BYTES_MAX) for name in self._processes}
        self._pids: dict[str, int] = {}
        self._forks = dict.fromkeys(self._processes, 0)
        self._pending_events: list[Event] = []
        self._signal_read_fd, self._signal_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._signal_read_fd, select.POLLIN)

    def run(self) -> Stop:
        """Start everything and look after it; returns once all processes have ended."""
        self._catch_signals()
        gc.freeze()  # what exists now is shared with the children for good: do not touch its pages again
        events: list[Event] = []
        while True:
            events.insert(0, self._heartbeats())  # of who died as well: whether it ever worked counts
            for action in self._supervisor.step(self._clock.monotonic_ns(), events):
                if isinstance(action, Stop):
                    return action
                self._execute(action)
            is_ready = self._on_turn()
            events = self._wait()
            if is_ready:
                events.insert(0, Ready())
            events += self._changes_wanted()

    def _execute(self, action: Action) -> None:
        match action:
            case Fork(name, is_failing, seat):
                process = self._processes[name]
                self._fork(process, is_failing, None if seat is None else self._seats[process.spec.pool, seat])
            case Kill(name, number):
                if name in self._pids:
                    os.kill(self._pids[name], number)
            case SetCommand(name, command):
                process = self._processes[name]
                process.block.write(COMMAND, command)
                os.eventfd_write(process.control_fd, 1)
            case LetRest(name):
                self._processes[name].block.write(RESTING, 1)
                self._processes[name].block.write(COMMAND, Command.RUN)
                self._processes[name].on_rest()
            case CloseSeat(pool, seat):
                self._seats[pool, seat].close()
            case Replaced():
                self._end_changes(action)
            case SetFailing(name, is_failing):
                self._processes[name].block.write(FAILING, int(is_failing))
            case Report(event, fields, level):
                self._log.log(level, event, extra={"fields": fields})
            case Announce(phase):
                self._announce(phase)

    def _changes_wanted(self) -> list[Event]:
        """What a SIGHUP asks for; one that comes meanwhile waits for the end of what is being done."""
        if self._changes is None or not self._is_asked_to_change or self._is_changing:
            return []
        self._is_asked_to_change = False
        self._announce(Phase.RELOADING)
        wanted = self._changes.begin()
        if wanted is None:
            self._announce(Phase.READY)
            return []
        self._is_changing = True
        return [wanted]

    def _end_changes(self, replaced: Replaced) -> None:
        wanted = self._changes.end(replaced) if self._changes is not None else None
        if wanted is not None:
            self._pending_events.append(wanted)
            return
        self._is_changing = False
        self._announce(Phase.READY)

    def _fork(self, process: Process, is_failing: bool, seat: Seat | None) -> None:
        _check_single_threaded()
        if seat is not None:
            seat.collect()
        block = process.block
        block.write(RESTING, 0)
        block.write(COMMAND, Command.RUN)
        block.write(STARTED_NS, self._clock.monotonic_ns())
        block.write(RESTARTS, self._forks[process.name])
        self._forks[process.name] += 1
        self._failure_messages[process.name][:] = bytes(FAILURE_MESSAGE_BYTES_MAX)
        parent_pid = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back until the child has its own handlers: with ours it would write into our pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._live(process, parent_pid, is_failing, seat)
        except OSError as error:
            self._pending_events.append(Exited(process.name, _EXIT_CRASHED, f"fork: {error.strerror}"))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        block.write(PID, pid)
        self._pids[process.name] = pid

    def _live(self, process: Process, parent_pid: int, is_failing: bool, seat: Seat | None) -> NoReturn:
        """The child, from its first instruction to its last."""
        code = _EXIT_CRASHED
        try:
            self._become_child(parent_pid)
            for other in self._seats.values():
                if other is not seat:
                    other.forget()
            code = _run(process, seat, self._clock, self._failure_messages[process.name], is_failing)
            sys.stdout.flush()
            sys.stderr.flush()
            logging.shutdown()
        finally:
            os._exit(code)

    def _become_child(self, parent_pid: int) -> None:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a closed terminal: it is for the supervisor alone
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(self._signal_read_fd)
        os.close(self._signal_write_fd)
        os.setpgid(0, 0)
        if self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent_pid:
            os._exit(_EXIT_CRASHED)  # the parent died before prctl: nobody would tell us
        random.seed()

    def _heartbeats(self) -> Heartbeats:
        return Heartbeats({name: process.block.read(HEARTBEAT_NS) for name, process in self._processes.items()})

    def _catch_signals(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._signal_write_fd, warn_on_full_buffer=False)

    def _wait(self) -> list[Event]:
        """Sleep one turn or until a signal, then tell what happened; stop signals come before the deaths."""
        self._poll.poll(SUPERVISOR_TURN_MS)
        events: list[Event] = []
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._signal_read_fd, 4096)
            events += [SignalReceived(number) for number in numbers if number in _STOP_SIGNALS]
            self._is_asked_to_change |= signal.SIGHUP in numbers
        events += self._pending_events
        self._pending_events = []
        return events + self._collect_dead()

    def _collect_dead(self) -> list[Event]:
        names = {pid: name for name, pid in self._pids.items()}
        events: list[Event] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return events
            if pid == 0:
                return events
            name = names.get(pid)
            if name is not None:
                del self._pids[name]
                words = self._failure_messages[name][:].rstrip(b"\0").decode(errors="replace")
                events.append(Exited(name, os.waitstatus_to_exitcode(status), words))


def _run(process: Process, seat: Seat | None, clock: Clock, failure_message: mmap.mmap, is_failing: bool) -> int:
    """Call the process's function and turn its end into an exit code; a failure leaves its message."""
    started_ns = clock.monotonic_ns()
    try:
        process.run(seat)
    except BaseException as error:  # the border of the process: whatever it is, it is reported
        text = str(error) if isinstance(error, TrinityError) else f"{type(error).__name__}: {error}"
        _leave(failure_message, text)
        if not is_failing:
            logging.getLogger(f"trinity.{process.name}").error("process failed", exc_info=True)
        booted = process.block.read(HEARTBEAT_NS) >= started_ns
        return EXIT_BOOT_FAILURE if isinstance(error, TrinityError) and not booted else _EXIT_CRASHED
    return 0


def _leave(failure_message: mmap.mmap, text: str) -> None:
    line = " ".join(text.split()).encode()[:FAILURE_MESSAGE_BYTES_MAX]
    failure_message[: len(line)] = line


def _check_single_threaded() -> None:
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise BugError(f"the supervisor has {threads} threads and must not fork: a lock of theirs would stay locked")
