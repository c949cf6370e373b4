"""How processes are replaced while the node runs, one after the other: pure, a part of the supervisor's `step`.

A process of a pool has a seat: a place at the node's ports, whose sockets outlive who serves them (net/seat.py). Each
pool has one process more than seats, the spare, which rests.

    of a pool    the spare begins at the same seat, on the same sockets; once it beats the old one retires: it takes in
                 nothing new, answers what it has, ends, and is the spare of the next seat
    any other    retires, and begins anew as soon as it has ended

Rules: one step at a time, so that at most one process of the node is away. The first successor that does not come to
its first beat ends the replacement: of a pool the old one was never told and goes on. Who does not end in time is
killed. Deaths meanwhile are the supervisor's, as ever: a seat whose old holder died belongs to the spare at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trinity.limits import RETIRE_MAX_NS


class Replace(NamedTuple):
    """Replace these processes, and all of these pools; one replacement at a time."""

    processes: tuple[str, ...]
    pools: tuple[str, ...] = ()


class Replaced(NamedTuple):
    """The end of it: who ended and was replaced, and why it went no further; an empty text when all were."""

    names: tuple[str, ...]
    failed: str = ""


class Begin(NamedTuple):
    """The spare is to begin, at the seat that it has now."""

    name: str


class Retire(NamedTuple):
    name: str


class Overdue(NamedTuple):
    """It did not end in time: kill it."""

    name: str


@dataclass
class Seating:
    """Of one process, what a replacement looks at."""

    pool: str  # empty: of none
    seat: int | None
    running: bool = False
    forked_at_ns: int = 0
    first_beat_ns: int = 0
    retiring: bool = False  # was told to, and has not ended yet
    standing_by: bool = False  # begins at a seat that another one still has

    @property
    def is_resting(self) -> bool:
        """A spare that nobody waits for."""
        return self.pool != "" and self.seat is None and not self.running


@dataclass
class _Step:
    """One process that is to go: `successor` is itself, or the spare of its pool once that began."""

    name: str
    seat: int | None
    successor: str = ""
    told_at_ns: int | None = None
    overdue: bool = False


class Replacement:
    """One replacement of some processes."""

    def __init__(self, wanted: Replace, processes: Mapping[str, Seating]) -> None:
        self._processes = processes
        of_pools = [
            _Step(name, of.seat)
            for name, of in processes.items()
            if of.pool in wanted.pools and of.pool and of.seat is not None
        ]
        self._steps = [*(_Step(name, None) for name in wanted.processes), *of_pools]
        self._done: list[str] = []
        self._failed = ""

    def go_on(self, now_ns: int) -> Iterable[Begin | Retire | Overdue | Replaced]:
        """What to do now; `Replaced` is the last word."""
        while self._steps and not self._failed:
            step = self._steps[0]
            orders = list(self._of_pool(step, now_ns) if step.seat is not None else self._alone(step, now_ns))
            yield from orders
            if self._steps and self._steps[0] is step:
                break
        if not self._steps or self._failed:
            yield Replaced(tuple(self._done), self._failed)

    def ended(self, name: str, cause: str) -> bool:
        """A process ended; True when that was wanted: it is no death, and of a pool it rests from now on."""
        process = self._processes[name]
        step = self._steps[0] if self._steps else None
        if process.standing_by:  # the old one goes on
            process.standing_by, process.seat = False, None
            if step is not None:
                step.successor = ""
            self._failed = f"{name} could not begin: {cause}"
            return True
        if step is None:
            return False
        if step.seat is not None and name == step.name and step.successor:
            self._take_over(step)
            process.seat = None
            return True
        is_successor = step.told_at_ns is not None and name == step.name and not process.retiring
        if is_successor and not process.first_beat_ns:
            self._failed = f"{name} could not begin anew: {cause}"
            return False
        return process.retiring

    def _alone(self, step: _Step, now_ns: int) -> Iterable[Retire | Overdue]:
        process = self._processes[step.name]
        if step.told_at_ns is None:
            if not process.running:  # it is away, and begins anew by itself
                self._next(step)
                return
            step.told_at_ns, process.retiring = now_ns, True
            yield Retire(step.name)
        elif process.retiring:
            yield from self._late(step, now_ns)
        elif process.running and process.first_beat_ns:
            self._next(step)

    def _of_pool(self, step: _Step, now_ns: int) -> Iterable[Begin | Retire | Overdue]:
        process = self._processes[step.name]
        if not step.successor:
            spare = next(
                (name for name, of in self._processes.items() if of.pool == process.pool and of.is_resting), ""
            )
            if not process.running or process.seat != step.seat or not spare:
                self._next(step)
                return
            step.successor = spare
            self._processes[spare].seat, self._processes[spare].standing_by = step.seat, True
            yield Begin(spare)
        elif not process.running:
            self._next(step)
        elif step.told_at_ns is not None:
            yield from self._late(step, now_ns)
        elif self._processes[step.successor].first_beat_ns:
            self._take_over(step)
            step.told_at_ns, process.retiring, process.seat = now_ns, True, None
            yield Retire(step.name)

    def _take_over(self, step: _Step) -> None:
        self._processes[step.successor].standing_by = False

    def _late(self, step: _Step, now_ns: int) -> Iterable[Overdue]:
        if step.told_at_ns is not None and now_ns - step.told_at_ns > RETIRE_MAX_NS and not step.overdue:
            step.overdue = True
            yield Overdue(step.name)

    def _next(self, step: _Step) -> None:
        self._steps.remove(step)
        self._done.append(step.name)
