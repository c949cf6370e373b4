"""feeds/resolver/rows.py: who has a row, and who gives way."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from feeds.consensus.decimals.rules import ConsensusState
from feeds.resolver.deciding import DecisionInput, Offer, decide
from feeds.resolver.rows import SpareRows
from tests.support.contexts import OpenContext, open_context
from tests.support.quotes import stored_quote
from trinity.clock import NS_PER_SECOND
from trinity.limits import ASSET_REST_NS, REFUSED_ASSET_NS
from trinity.markets import load_catalog
from trinity.memory.answer_table import AnswerState, AnswerTable
from trinity.memory.asset_table import AssetTable, note_asked

CATALOG = load_catalog()
RULES = CATALOG.defaults
START_NS = 10**15


class Bench:
    """Rows of a table with few cells, on a clock moved by hand."""

    def __init__(self, answers: AnswerTable, cells: int) -> None:
        self.answers = answers
        self.assets = AssetTable.private(cells)
        self.rows = self.successor()

    def successor(self) -> SpareRows:
        """Of the next resolver."""
        rows = SpareRows(self.assets, self.answers, CATALOG, simulated=True)
        rows.take_over(START_NS)
        self.rows = rows
        return rows

    def write(self, name: str, price: str, now_ns: int = START_NS, exchanges: tuple[int, ...] = (0, 1, 2)) -> bool:
        value = Decimal(price)
        quote = stored_quote(value, value, value, None, now_ns, now_ns)
        offers = {one: Offer("USD", quote if one in exchanges else None) for one in (0, 1, 2, 4)}
        held = self.rows.get(name)
        carried = held.carried if held is not None else ConsensusState()
        case = DecisionInput(name, offers, frozenset(), {}, carried, now_ns)
        return self.rows.write(case, decide(case, RULES))

    def record(self, name: str, exchange: int | None = None) -> object:
        held = self.rows.get(name)
        assert held is not None
        found = self.answers.read(self.answers.row_of(self.rows.asset_of(held), exchange))
        assert found is not None
        return found[0]


@pytest.fixture
def context() -> Iterator[OpenContext]:
    with open_context("resolver", "resolver", CATALOG) as opened:
        yield opened


@pytest.fixture
def bench(context: OpenContext) -> Bench:
    return Bench(context.answers, 70)


def test_a_good_price_is_good_until_its_oldest_quote_is_not(bench: Bench) -> None:
    """A good price is good until its oldest quote is not."""
    assert bench.write("ABC", "1.5")
    held = bench.rows.get("ABC")
    assert held is not None
    assert held.is_good
    assert held.valid_until_ns == START_NS + RULES.max_age_ms * 1_000_000 + 1
    cell = bench.assets.find("ABC")
    assert cell is not None
    assert cell.valid_until_ns == held.valid_until_ns


def test_what_has_no_price_says_why_and_is_looked_at_again_soon(bench: Bench) -> None:
    """What has no price says why and is looked at again soon."""
    assert bench.write("ABC", "1.5", exchanges=(0, 1))
    held = bench.rows.get("ABC")
    assert held is not None
    assert held.valid_until_ns == START_NS + REFUSED_ASSET_NS
    assert bench.record("ABC")["state"] == AnswerState.TOO_FEW_SOURCES  # type: ignore[index]
    assert bench.record("ABC", 0)["state"] == AnswerState.GOOD  # type: ignore[index]
    assert bench.record("ABC", 3)["state"] == AnswerState.NOT_LISTED  # type: ignore[index]


def test_the_last_good_price_of_a_former_asset_is_not_carried_on(bench: Bench) -> None:
    """The last good price of a former asset is not carried on."""
    bench.write("ABC", "1.5")
    held, cell = bench.rows.get("ABC"), bench.assets.find("ABC")
    assert held is not None
    assert cell is not None
    late_ns = START_NS + 100 * NS_PER_SECOND
    bench.rows.make_room([cell], late_ns)
    assert bench.rows.get("ABC") is None
    for number in range(70):  # whatever cell it gets
        bench.write(f"N{number}", "2", late_ns + ASSET_REST_NS, exchanges=(0,))
        assert bench.record(f"N{number}")["has_last_good"] == 0  # type: ignore[index]
        assert bench.record(f"N{number}", 1)["has_last_good"] == 0  # type: ignore[index]


def test_a_successor_goes_on_with_the_rows_and_with_what_they_carry(bench: Bench) -> None:
    """A successor goes on with the rows and with what they carry."""
    bench.write("ABC", "1.5")
    before = bench.rows.get("ABC")
    after = bench.successor().get("ABC")
    assert before is not None
    assert after is not None
    assert (after.cell, after.valid_until_ns, after.carried.last_price) == (
        before.cell,
        before.valid_until_ns,
        Decimal("1.5"),
    )


def test_a_full_table_takes_no_new_name_and_the_coldest_give_way(bench: Bench) -> None:
    """A full table takes no new name and the coldest give way."""
    for number in range(70):
        assert bench.write(f"N{number}", "1")
        cell = bench.assets.find(f"N{number}")
        assert cell is not None
        note_asked(bench.assets.words, cell.cell, START_NS + number)
    assert not bench.write("MORE", "1")
    bench.rows.make_room(bench.assets.named(), START_NS)
    assert [cell.name for cell in bench.assets.named()] == [f"N{number}" for number in range(64, 70)]
    assert not bench.write("MORE", "1"), "a freed cell rests"
    assert bench.write("MORE", "1", START_NS + ASSET_REST_NS)


def test_who_is_hot_does_not_give_way(bench: Bench) -> None:
    """Who is hot does not give way."""
    for number in range(70):
        bench.write(f"N{number}", "1")
    first = bench.assets.find("N0")
    assert first is not None
    bench.assets.set_hot(first.cell, 1)
    bench.rows.make_room(bench.assets.named(), START_NS)
    assert bench.rows.get("N0") is not None
