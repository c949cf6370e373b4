"""Each invariant can fail: a planted fault is found, and its shortest history is the fault's alone."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from feeds.consensus.decimals.inputs import exchange_names
from feeds.consensus.decimals.render import render_consensus
from feeds.consensus.decimals.rules import Decision, evaluate
from feeds.consensus.integers.cycle import live_faulty
from feeds.consensus.process import Aggregator
from tests.simulation import runner
from tests.simulation.deciders import Consensus
from tests.simulation.runner import replay, run
from tests.simulation.world import World
from trinity.clock import NS_PER_SECOND
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS
from trinity.memory.cell import COUNTER_WORDS
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


class _PlantedAggregator(Aggregator):
    """Publishes what `change` makes of each decision.

    In the slot that the turn has just published, which nobody reads meanwhile. A second version of a row would be a
    fault of its own: a turn publishes each row once, and a death within it (faults.py) takes back one version.
    """

    def turn(self) -> None:
        super().turn()
        market, state = self.market, self.market.arrays.state
        now_ns = int(state["decided_at_ns"])
        names = exchange_names(market.catalog, simulated=True)
        for asset in market.decided():
            sources, rules = market.sources(asset), market.assets[asset].rules
            decision, _ = evaluate(
                sources, rules, self._indexes, market.carried(asset), now_ns, live_faulty(state, now_ns)
            )
            if decision.price is not None:
                changed = self.change(decision)
                rendered = render_consensus(market.assets[asset].name, changed, names, rules.min_sources, None)
                base = market.answers.row_of(asset) * ROW_WORDS
                slot = base + COUNTER_WORDS + (int(market.answers.words[base]) & 1) * SLOT_WORDS
                market.answers.words[slot : slot + SLOT_WORDS] = rendered.record.view(np.uint64)

    def change(self, decision: Decision) -> Decision:
        raise NotImplementedError


class _TakesTheMean(_PlantedAggregator):
    def change(self, decision: Decision) -> Decision:
        mean = sum((vote.price for vote in decision.votes), Decimal(0)) / len(decision.votes)
        return decision._replace(price=mean.quantize(Decimal(1).scaleb(-decision.digits)))


class _NeverEnds(_PlantedAggregator):
    def change(self, decision: Decision) -> Decision:
        return decision._replace(valid_until_ns=decision.valid_until_ns + 3600 * NS_PER_SECOND)


def planted(monkeypatch: pytest.MonkeyPatch, make: type[Aggregator]) -> Callable[[], World]:
    def plant() -> World:
        monkeypatch.setattr(Consensus, "make", make)
        return World()

    return plant


def test_a_consensus_that_takes_the_mean_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One liar moves a mean; the history needs no more than the lie, its quote and a turn."""
    shortest = found(monkeypatch, planted(monkeypatch, _TakesTheMean), "honest", {"lies"}).history
    assert len(shortest) <= 8


def test_answers_without_an_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that is served for an hour is older than its limit as soon as its exchanges are away."""
    found(monkeypatch, planted(monkeypatch, _NeverEnds), "fresh", {"absences", "deaths"})


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
