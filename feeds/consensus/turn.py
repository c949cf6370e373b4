"""What the consensus process did, for those who watch it.

Rules: the process knows no observer by name; whoever composes the node hands them in. An observer is told after
everything was published, so what it costs delays no price of this turn, and as a rule of some turns at once: one that
must see each says so. What the facts point at belongs to the process and changes with its next turn: an observer copies
what it keeps.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from feeds.consensus.decimals.stablecoins import Held
from feeds.consensus.state import MarketState


class TurnFacts(NamedTuple):
    """The turns since the last facts; the newest was decided for `now_ns` (monotonic) and done at `wall_ns`.

    `published` has a record of PUBLISHED_DTYPE for each consensus answer of all these turns, in their order; what
    `market` says was read, reviewed and decided is of the newest alone.
    `is_measured` says whether the coins were measured after it; `indexes` and `held` are theirs for the next turn.
    """

    now_ns: int
    wall_ns: int
    published: NDArray[np.void]
    market: MarketState
    is_measured: bool
    indexes: Mapping[str, Decimal]
    held: Mapping[str, Held]


class TurnObserver(Protocol):
    """Whoever is told."""

    @property
    def wants_each_turn(self) -> bool:
        """Whether it must see each turn by itself, from the next one on."""
        ...

    def on_turn(self, facts: TurnFacts) -> None:
        """One turn or more are done."""
        ...

    def close(self, now_ns: int) -> None:
        """The process ends: write what is still in memory."""
        ...
