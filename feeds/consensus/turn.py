"""What the consensus process did, for those who watch it.

Rules: the process knows no observer by name; whoever composes the node hands them in. An observer is told after
everything was published, so what it costs delays no price of this turn, and as a rule of some turns at once: one that
must see each says so. What the facts point at belongs to the process and changes with its next turn: an observer copies
what it keeps.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from feeds.consensus.stablecoins import Held
from feeds.consensus.state import MarketState
from trinity.memory.answer_table import AnswerState


class Published(NamedTuple):
    """A consensus answer that was published, decided for `now_ns` (monotonic) at `wall_ns`.

    Price and confidence are integers of 10**-places, 0 unless the state is GOOD; it may be served until
    `valid_until_ns` (monotonic).
    """

    asset: int
    state: AnswerState
    price: int
    confidence: int
    places: int
    sources: int
    valid_until_ns: int
    now_ns: int
    wall_ns: int


class TurnFacts(NamedTuple):
    """The turns since the last facts; the newest was decided for `now_ns` (monotonic) and done at `wall_ns`.

    `published` is of all these turns, what `market` says was read, reviewed and decided of the newest alone.
    `is_measured` says whether the coins were measured after it; `indexes` and `held` are theirs for the next turn.
    """

    now_ns: int
    wall_ns: int
    published: Sequence[Published]
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
