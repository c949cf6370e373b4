"""The arrays of the compiled consensus in the words of Python: quotes, sources, what is carried, what came out.

For those who are not in a hurry: the coins' indexes, recordings, an asset that is decided in decimals, the log.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from feeds.consensus.decimals.inputs import Listing, listings_of
from feeds.consensus.decimals.render import LastGood, last_good_of
from feeds.consensus.decimals.rules import ConsensusState, Source
from feeds.consensus.decimals.venue import VenuePrice, judge_quote
from feeds.consensus.integers.arrays import (
    DECIDED,
    DECIDED_AT,
    EXACT,
    EXACT_AT,
    NEVER,
    READ,
    READ_AT,
    REVIEWED,
    REVIEWED_AT,
    ROWS,
    UNTOLD,
    UNTOLD_AT,
    Arrays,
    bits_of,
    carried_of,
)
from trinity.markets import Asset, Catalog
from trinity.memory.answer_table import VERDICT_REJECTED, AnswerState, AnswerTable
from trinity.memory.price_table import RowState, StoredQuote, unpack_quote
from trinity.vocabulary import REJECT_REASONS


class ReviewOutcome(NamedTuple):
    """What one review came to; `price` and `confidence` are set when `state` is GOOD."""

    state: AnswerState
    price: Decimal | None
    confidence: Decimal | None
    used: tuple[int, ...]
    rejected: dict[int, str]
    valid_until_ns: int


class MarketState:
    """All assets of the node, by their indexes in the catalog."""

    def __init__(self, arrays: Arrays, answers: AnswerTable, catalog: Catalog) -> None:
        self.arrays = arrays
        self.answers = answers
        self.catalog = catalog
        self.listings = [listings_of(catalog, index) for index in range(len(catalog.assets))]
        self._judged: dict[tuple[int, int], tuple[int, VenuePrice | None]] = {}

    @property
    def assets(self) -> tuple[Asset, ...]:
        return self.catalog.assets

    def read(self) -> list[tuple[int, int]]:
        """The rows that the last turn read, as (asset, exchange)."""
        return [divmod(row, ROWS) for row in self._list(READ, READ_AT)]

    def reviewed(self) -> list[int]:
        """The assets that the last turn reviewed, in their order."""
        return self._list(REVIEWED, REVIEWED_AT)

    def decided(self) -> list[int]:
        """Those of them that were published."""
        return self._list(DECIDED, DECIDED_AT)

    def untold(self) -> list[int]:
        """Those of them whose state is another than people were told."""
        return self._list(UNTOLD, UNTOLD_AT)

    def exact(self) -> list[int]:
        """Those of them that are left to be decided in decimals."""
        return self._list(EXACT, EXACT_AT)

    def quote(self, asset: int, exchange: int) -> StoredQuote | None:
        """The quote that was read last; None before the first."""
        number = asset * ROWS + exchange
        if not self.arrays.state["rows"][number]["has_quote"]:
            return None
        return unpack_quote(self.arrays.state["quotes"][number].tobytes())

    def row_state(self, asset: int, exchange: int) -> RowState:
        return RowState(int(self.arrays.state["rows"][asset * ROWS + exchange]["state"]))

    def source(self, asset: int, listing: Listing) -> Source:
        """What a row says, as the decimal rules want it; a quote is judged once."""
        key = (asset, listing.exchange)
        version = int(self.arrays.state["rows"][asset * ROWS + listing.exchange]["version"])
        if self._judged.get(key, (-1, None))[0] != version:
            quote = self.quote(*key)
            venue = judge_quote(quote, self.assets[asset].rules) if quote is not None else None
            self._judged[key] = (version, venue)
        return Source(listing.exchange, listing.currency, self.row_state(*key), self._judged[key][1])

    def sources(self, asset: int) -> list[Source]:
        return [self.source(asset, listing) for listing in self.listings[asset]]

    def record(self, asset: int) -> np.void:
        """The asset's ASSET_DTYPE record."""
        found: np.void = self.arrays.state["assets"][asset]
        return found

    def carried(self, asset: int) -> ConsensusState:
        return carried_of(self.record(asset))

    def last_good(self, asset: int) -> LastGood | None:
        """The last price that was published."""
        return last_good_of(self.answers.read(self.answers.row_of(asset)))

    def state_of(self, asset: int) -> AnswerState:
        """As it was decided last; EMPTY before the first time."""
        state = int(self.record(asset)["state"])
        return AnswerState.EMPTY if state == NEVER else AnswerState(state)

    def outcome(self, asset: int) -> ReviewOutcome:
        """What the last review came to."""
        record, state = self.record(asset), self.state_of(asset)
        verdicts = record["verdicts"].tolist()
        price = confidence = None
        if state is AnswerState.GOOD:
            places = int(record["places"])
            price, confidence = (Decimal(int(record[field])).scaleb(-places) for field in ("price", "confidence"))
        return ReviewOutcome(
            state,
            price,
            confidence,
            bits_of(int(record["used"])),
            {
                listing.exchange: REJECT_REASONS[verdicts[listing.exchange] - VERDICT_REJECTED]
                for listing in self.listings[asset]
                if verdicts[listing.exchange] >= VERDICT_REJECTED
            },
            int(record["valid_until_ns"]),
        )

    def _list(self, count: int, at: int) -> list[int]:
        changes = self.arrays.state["changes"]
        found: list[int] = changes[at : at + int(changes[count])].tolist()
        return found
