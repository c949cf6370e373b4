"""The whole route under everything that may go wrong, and that the simulation finds what is planted.

A seed that fails prints its shortest history as a test; such tests stand at the end of this file, for ever.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.simulation import runner
from tests.simulation.runner import replay, run
from tests.simulation.weather import Weather
from tests.simulation.world import Action, World
from trinity.clock import NS_PER_SECOND
from trinity.compiled import jit_enabled
from trinity.memory.limit_table import LimitTable
from trinity.seat import Seat

# `make test` runs a million events, a part a seed, so that each processor has its own. Uncompiled they are a sample.
STEPS = int(os.environ.get("SIMULATE_STEPS", "1000000" if jit_enabled() else "4000"))
SEEDS = (1, 2, 3, 4)


@pytest.mark.long
@pytest.mark.uncompiled
@pytest.mark.parametrize("seed", SEEDS)
def test_all_invariants_hold_over_a_million_events(seed: int) -> None:
    """Honest, fresh, counted once, within the limits and truthful, whatever is lost, late, killed, full or wrong."""
    failure = run(seed, STEPS // len(SEEDS))
    assert failure is None, str(failure)


def test_a_history_is_a_function_of_its_seed_and_a_world_of_its_history() -> None:
    """The same seed proposes the same events, and the same events leave the same node."""
    runs = []
    for _ in range(2):
        weather, history = Weather("5/1", Action), []
        with World() as world:
            for _ in range(300):
                history.append(weather.propose(world))
                world.apply(history[-1])
            runs.append((history, world.prices.words.tobytes(), world.answers.words.tobytes()))
    assert runs[0] == runs[1]


# --- planted faults: each invariant can fail --------------------------------------------------------------------


def found(monkeypatch: pytest.MonkeyPatch, plant: Callable[[], World], name: str, only: set[str]) -> runner.Failure:
    """The failure that a planted fault leads to, within some histories of the given troubles alone."""

    def make_sound() -> World:
        monkeypatch.undo()
        return World()

    failure = run(1, 8 * runner.EVENTS_A_HISTORY, plant, only)
    assert failure is not None, "the planted fault was not found"
    assert failure.name == name, str(failure)
    assert replay(failure.history, plant) is not None
    assert replay(failure.history, make_sound) is None, "it is the planted fault's alone"
    compile(str(failure).partition("\n\n")[2], "pasted", "exec")
    return failure


def test_a_consensus_that_takes_the_mean_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One liar moves a mean; the history needs no more than the lie, its quote and a turn."""
    from feeds import desk

    real = desk.evaluate

    def with_mean(*args: Any) -> Any:
        decision, memory = real(*args)
        if decision.price is not None:
            mean = sum((vote.price for vote in decision.votes), Decimal(0)) / len(decision.votes)
            decision = decision._replace(price=mean.quantize(Decimal(1).scaleb(-decision.digits)))
        return decision, memory

    def plant() -> World:
        monkeypatch.setattr(desk, "evaluate", with_mean)
        return World()

    shortest = found(monkeypatch, plant, "honest", {"lies"}).history
    assert len(shortest) <= 8


def test_answers_without_an_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that is served for an hour is older than its limit as soon as its exchanges are away."""
    from feeds import desk

    real = desk.evaluate

    def for_ever(*args: Any) -> Any:
        decision, memory = real(*args)
        return decision._replace(valid_until_ns=decision.valid_until_ns + 3600 * NS_PER_SECOND), memory

    def plant() -> World:
        monkeypatch.setattr(desk, "evaluate", for_ever)
        return World()

    found(monkeypatch, plant, "fresh", {"absences", "deaths"})


def test_a_loader_that_forgets_its_position_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are committed without it come twice when the commit's word is lost."""
    from workers.flusher.ledger import Ledger

    def plant() -> World:
        monkeypatch.setattr(Ledger, "_add_batch", lambda self, span, rows, lost: None)
        return World()

    found(monkeypatch, plant, "ledger", {"bad database", "deaths"})


def test_a_loader_that_removes_before_it_commits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is gone before its rows are there is lost with the connection."""
    from workers.flusher.loader import Loader

    real = Loader._load

    def too_early(self: Any, ledger: Any, unit: Any) -> None:
        copy = unit.path.read_bytes()
        try:
            real(self, ledger, unit)
        except BaseException:
            self._spool.remove(unit)
            raise
        assert copy

    def plant() -> World:
        monkeypatch.setattr(Loader, "_load", too_early)
        return World()

    found(monkeypatch, plant, "ledger", {"bad database"})


class ForgetfulWorld(World):
    """Each worker keeps limits of its own."""

    def seat(self, name: str) -> Seat:
        return replace(super().seat(name), limits=LimitTable.private(len(self.callers.granted)))


def test_a_gate_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers that do not share a limit grant it twice."""
    found(monkeypatch, ForgetfulWorld, "limits", set())


def test_a_report_that_calls_the_dead_alive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process has no progress, and health must say so within seconds."""
    from trinity import overview

    def plant() -> World:
        monkeypatch.setattr(overview, "HEARTBEAT_AGE_MAX_NS", 3600 * NS_PER_SECOND)
        return World()

    found(monkeypatch, plant, "health", {"deaths"})


# --- what seeds have found ----------------------------------------------------------------------------------------


def test_two_liars_among_six_do_not_move_a_stablecoin() -> None:
    """Half of the four exchanges that sell a coin for USD is no majority of it: refused, not served."""
    history = [
        Action(4, "lie", (4, 500)),
        Action(2, "lie", (1, 500)),
        Action(4, "quote", (3, 2, 77, 0)),
        Action(1, "quote", (1, 3, 28, 0)),
        Action(4, "skew", (2, -60000)),
        Action(0, "quote", (2, 2, -48, 0)),
        Action(2, "quote", (1, 2, 39, 0)),
        Action(0, "quote", (4, 2, 4, 0)),
        Action(2, "turn", ()),
        Action(4, "quote", (1, 3, -60, 0)),
        Action(2, "turn", ()),
    ]
    assert replay(history) is None
