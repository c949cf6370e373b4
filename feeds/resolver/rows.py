"""The spare rows: who has one, what its records say, and who gives way. The only writer of the asset table.

Rules: a name gets a cell when there is something to say of it, never before: a flood of names that nobody lists costs
no row. Its records are written first, then the cell is answered, so a reader never meets another asset's. A record is
carried on (its last good price, who was held out) only while the asset keeps its cell. Some cells are kept free: those
that nobody asked for are taken first, and rest before another asset has them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from feeds.consensus.decimals.render import LastGood, last_good_of
from feeds.consensus.decimals.rules import ConsensusState
from feeds.resolver.deciding import Decided, DecisionInput, Offer, records
from trinity.clock import NS_PER_SECOND
from trinity.limits import COLD_SECONDS, REFUSED_ASSET_NS
from trinity.markets import Catalog
from trinity.memory.answer_table import AnswerTable
from trinity.memory.asset_table import AssetCell, AssetTable, SpareState

# Cells that are kept free for new names; more than are taken while one rests, at the budget's rate, would be 500.
_FREE_KEPT = 64


class SpareRow(NamedTuple):
    """An asset that has a cell: the offers its records were made of, what its consensus carries on, until when they
    are good."""

    cell: int
    offers: Mapping[int, Offer]
    carried: ConsensusState
    valid_until_ns: int
    is_good: bool


class SpareRows:
    """The assets beyond the catalog that have rows."""

    def __init__(self, assets: AssetTable, answers: AnswerTable, catalog: Catalog, *, simulated: bool) -> None:
        self._assets = assets
        self._answers = answers
        self._exchanges = catalog.exchanges
        self._first = len(catalog.assets)
        self._simulated = simulated
        self._held: dict[str, SpareRow] = {}

    def take_over(self, now_ns: int) -> None:
        """What a resolver before left: its answers stand until they end, with what they carry on."""
        self._assets.take_over(now_ns)
        for cell in self._assets.named():
            last = last_good_of(self._answers.read(self._answers.row_of(self._first + cell.cell)))
            carried = ConsensusState({}, last.price if last is not None else None)
            self._held[cell.name] = SpareRow(cell.cell, {}, carried, cell.valid_until_ns, is_good=False)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, name: str) -> SpareRow | None:
        return self._held.get(name)

    def asset_of(self, held: SpareRow) -> int:
        """Index of its rows in the answer and price tables."""
        return self._first + held.cell

    def write(self, case: DecisionInput, decided: Decided, refused_ns: int = REFUSED_ASSET_NS) -> bool:
        """Publish a decision, a refusal for so long; False when no cell is free for its name."""
        held, now_ns = self._held.get(case.asset), case.now_ns
        cell = held.cell if held is not None else self._assets.reserve(case.asset, now_ns)
        if cell is None:
            return False
        asset = self._first + cell
        columns = (None, *range(len(self._exchanges)))
        rows = {column: self._answers.row_of(asset, column) for column in columns}
        last: dict[int | None, LastGood | None] = {}
        if held is not None:
            last = {column: last_good_of(self._answers.read(row)) for column, row in rows.items()}
        made = records(case, decided, self._exchanges, last, simulated=self._simulated)
        for column, row in rows.items():
            before = self._answers.read(row)
            if before is None or before.tobytes() != made[column].tobytes():
                self._answers.write(row, made[column])
        until_ns = decided.decision.valid_until_ns if decided.is_good else now_ns + refused_ns
        self._held[case.asset] = SpareRow(cell, dict(case.offers), decided.carried, until_ns, decided.is_good)
        self._assets.answer(cell, until_ns)
        return True

    def make_room(self, cells: list[AssetCell], now_ns: int) -> None:
        """Take cells from who was not asked for in a minute and has ended, and of the others the coldest, until some
        are free."""
        cold_ns = now_ns - COLD_SECONDS * NS_PER_SECOND
        ended = [one for one in cells if one.asked_at_ns < cold_ns and one.valid_until_ns < now_ns]
        for one in ended:
            self._free(one, now_ns)
        left = sorted((one for one in cells if one not in ended and not one.hot), key=lambda one: one.asked_at_ns)
        wanted = len(self._held) + _FREE_KEPT - self._assets.count
        for one in left[: max(wanted, 0)]:
            self._free(one, now_ns)

    def _free(self, cell: AssetCell, now_ns: int) -> None:
        if cell.state is not SpareState.FREE and self._held.pop(cell.name, None) is not None:
            self._assets.free(cell.cell, now_ns)
