"""What one turn of the consensus process did, for those who watch it.

Rules: the process knows no observer by name; whoever composes the node hands them in. An observer is told after
everything of the turn was published, so what it costs delays no price of this turn. What the facts point at belongs to
the process and changes with its next turn: an observer copies what it keeps.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from feeds.consensus.asset import AssetConsensus, SourceRow
from feeds.consensus.stablecoins import Held


class TurnFacts(NamedTuple):
    """One turn, decided for `now_ns` (monotonic) and done at `wall_ns`.

    `read` are the rows read, each with its asset's index; `reviewed` the assets in the order of their review, `decided`
    those of them that published. `assets` are all; `indexes` and `held` are the coins' for the next turn.
    """

    now_ns: int
    wall_ns: int
    read: Sequence[tuple[int, SourceRow]]
    reviewed: Sequence[AssetConsensus]
    decided: Sequence[AssetConsensus]
    assets: Sequence[AssetConsensus]
    indexes: Mapping[str, Decimal]
    held: Mapping[str, Held]


class TurnObserver(Protocol):
    """Whoever is told each turn."""

    def on_turn(self, facts: TurnFacts) -> None:
        """A turn is done."""
        ...

    def close(self, now_ns: int) -> None:
        """The process ends: write what is still in memory."""
        ...
