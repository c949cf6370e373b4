"""The consensus process without its poll: one `turn` is one turn of its loop.

Rules: `make` builds the aggregator, so that a test can plant a wrong one.
"""

from typing import TYPE_CHECKING

from feeds.consensus.process import Aggregator

if TYPE_CHECKING:
    from tests.simulation.world import World


class Consensus:
    """The process that decides."""

    make: type[Aggregator] = Aggregator

    def __init__(self, world: "World") -> None:
        self._world = world
        self.is_alive = False
        self._aggregator: Aggregator | None = None

    def forget(self) -> None:
        self._aggregator = None

    def start(self) -> None:
        self._aggregator = type(self).make(self._world.context("consensus"), self._world.of_consensus())

    def turn(self) -> None:
        assert self._aggregator is not None, "it lives"
        self._world.stores.turn(self._world.answers, self._world.control.words, self._aggregator.turn)
        self._world.beaten("consensus")
