"""Each invariant can fail: a planted fault is found, and its shortest history is the fault's alone."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.simulation import runner
from tests.simulation.runner import replay, run
from tests.simulation.world import World
from trinity.clock import NS_PER_SECOND
from trinity.memory.access import AccessMemory
from trinity.memory.limit_table import LimitTable

pytestmark = pytest.mark.long


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
    from feeds.consensus import asset as decider

    real = decider.evaluate

    def with_mean(*args: Any) -> Any:
        decision, memory = real(*args)
        if decision.price is not None:
            mean = sum((vote.price for vote in decision.votes), Decimal(0)) / len(decision.votes)
            decision = decision._replace(price=mean.quantize(Decimal(1).scaleb(-decision.digits)))
        return decision, memory

    def plant() -> World:
        monkeypatch.setattr(decider, "evaluate", with_mean)
        return World()

    shortest = found(monkeypatch, plant, "honest", {"lies"}).history
    assert len(shortest) <= 8


def test_answers_without_an_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that is served for an hour is older than its limit as soon as its exchanges are away."""
    from feeds.consensus import asset as decider

    real = decider.evaluate

    def forever(*args: Any) -> Any:
        decision, memory = real(*args)
        return decision._replace(valid_until_ns=decision.valid_until_ns + 3600 * NS_PER_SECOND), memory

    def plant() -> World:
        monkeypatch.setattr(decider, "evaluate", forever)
        return World()

    found(monkeypatch, plant, "fresh", {"absences", "deaths"})


def test_a_loader_that_forgets_its_position_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are committed without it come twice when the commit's word is lost."""
    from workers.ledger.ledger import Ledger

    def plant() -> World:
        monkeypatch.setattr(Ledger, "_add_batch", lambda *_: None)
        return World()

    found(monkeypatch, plant, "ledger", {"bad database", "deaths"})


def test_a_loader_that_removes_before_it_commits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is gone before its rows are there is lost with the connection."""
    from workers.ledger.loader import Loader

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

    def tables_of_worker(self) -> AccessMemory:
        return replace(self.access, limits=LimitTable.private(len(self.callers.granted)))


def test_a_gate_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers that do not share a limit grant it twice."""
    found(monkeypatch, ForgetfulWorld, "limits", set())


def test_a_report_that_calls_the_dead_alive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process has no progress, and health must say so within seconds."""
    from trinity.observe import readings as overview

    def plant() -> World:
        monkeypatch.setattr(overview, "HEARTBEAT_AGE_MAX_NS", 3600 * NS_PER_SECOND)
        return World()

    found(monkeypatch, plant, "health", {"deaths"})
