"""Runs seeds: histories of some thousand events, each in a new world; a failing one is made as short as it gets.

    step(world, action, invariants)      one event, then all invariants
    run(seed, steps)                     None, or the first Failure with its shortest history
    shorten(history, name)               delta debugging: leave out what the violation does not need (Zeller, 2002)

Rules: pure but for the worlds. A failure prints itself as a test that can be pasted into test_simulation.py.
"""

import gc
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from tests.simulation.invariants import InvariantError, Invariants
from tests.simulation.ledger import LedgerError
from tests.simulation.weather import Weather
from tests.simulation.world import Action, World

EVENTS_A_HISTORY = 2_000
# Worlds that shortening may try: each takes less than a history's time.
TRIES_MAX = 200

History = Sequence[Action]
WorldMaker = Callable[[], World]


class Failure(NamedTuple):
    """What broke, where it was found, and the shortest history that breaks it."""

    seed: int
    episode: int
    name: str
    detail: str
    history: History

    def __str__(self) -> str:
        lines = "\n".join(f"        Action{tuple(action)!r}," for action in self.history)
        return (
            f"seed {self.seed}, history {self.episode}: {self.name}: {self.detail}\n"
            f"{len(self.history)} events; as a test:\n\n"
            f"def test_seed_{self.seed}_{self.episode}() -> None:\n"
            f'    """{self.name} holds: {self.detail}."""\n'
            f"    history = [\n{lines}\n    ]\n"
            "    assert replay(history) is None\n"
        )


def step(world: World, action: Action, invariants: Invariants) -> None:
    """One event and what must be true after it; raises InvariantError. Whatever else is raised is a bug."""
    try:
        world.apply(action)
        invariants.check(action.kind)
    except InvariantError:
        raise
    except LedgerError as error:
        raise InvariantError("ledger", str(error)) from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise InvariantError("bug", f"{error!r} in {where.name}, line {where.lineno}") from error


def run(
    seed: int, steps: int, make_world: WorldMaker = World, troubles: Collection[str] | None = None
) -> Failure | None:
    """So many events from this seed, in as many histories as that takes."""
    episode = 0
    while steps > 0:
        events = min(steps, EVENTS_A_HISTORY)
        failure = run_history(seed, episode, events, make_world, troubles)
        if failure is not None:
            return failure
        steps -= events
        episode += 1
    return None


def run_history(
    seed: int, episode: int, events: int, make_world: WorldMaker = World, troubles: Collection[str] | None = None
) -> Failure | None:
    """One history in its own weather, or in these troubles; it ends with a quiet period."""
    # A world is one cycle of 30 MB: collected once at its end, without looking at all that was imported (0.2 s).
    gc.disable()
    gc.freeze()
    try:
        return _run_history(seed, episode, events, make_world, troubles)
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()


def _run_history(
    seed: int, episode: int, events: int, make_world: WorldMaker, troubles: Collection[str] | None
) -> Failure | None:
    weather = Weather(f"{seed}/{episode}", Action, troubles)
    history: list[Action] = []
    with make_world() as world:
        invariants = Invariants(world)
        try:
            for _ in range(events - 1):
                history.append(weather.propose(world))
                step(world, history[-1], invariants)
            history.append(Action(0, "settle"))
            step(world, history[-1], invariants)
        except InvariantError as violation:
            found = violation
        else:
            return None
    shortest = shorten(history, found.name, make_world)
    last = replay(shortest, make_world) or found
    return Failure(seed, episode, last.name, last.detail, shortest)


def replay(history: History, make_world: WorldMaker = World) -> InvariantError | None:
    """The first violation of a history; None when all invariants hold."""
    with make_world() as world:
        invariants = Invariants(world)
        try:
            for action in history:
                step(world, action, invariants)
        except InvariantError as violation:
            return violation
    return None


def shorten(history: History, name: str, make_world: WorldMaker = World) -> list[Action]:
    """A history that breaks the same invariant and of which no tried part can be left out."""
    left, tries = list(history), 0

    def breaks(shorter: list[Action]) -> bool:
        nonlocal tries
        tries += 1
        violation = replay(shorter, make_world)
        return violation is not None and violation.name == name

    for kind in sorted({action.kind for action in left}):  # whole kinds first: most have nothing to do with it
        shorter = [action for action in left if action.kind != kind]
        if breaks(shorter):
            left = shorter
    parts = 2
    while len(left) > 1 and tries < TRIES_MAX:
        size = -(-len(left) // parts)
        pieces = (left[:start] + left[start + size :] for start in range(0, len(left), size))
        shorter = next((piece for piece in pieces if tries < TRIES_MAX and breaks(piece)), left)
        if len(shorter) < len(left):
            left, parts = shorter, max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(2 * parts, len(left))
    return left
