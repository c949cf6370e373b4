"""trinity/memory/asset_table.py"""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trinity.compiled import jit_enabled
from trinity.limits import ASSET_REST_NS, RESOLVER_AWAY_NS
from trinity.memory import asset_table
from trinity.memory.asset_table import (
    ABSENT,
    AssetTable,
    SpareState,
    find_asset,
    is_answered,
    is_resolver_there,
    is_resolving,
    is_unchanged,
    name_words,
    note_asked,
)
from trinity.vocabulary import CODE_OK, CODES

pytestmark = pytest.mark.uncompiled

UNKNOWN_ASSET, TOO_FEW = CODES.index("unknown_asset"), CODES.index("too_few_sources")
NAMES = [f"N{i}" for i in range(6)]
CELLS = 4


class KilledError(Exception):
    """The writer was killed before this store."""


class Mortal:
    """`store_release` of a writer that is killed after so many stores."""

    def __init__(self, stores: int) -> None:
        self.left = stores

    def __call__(self, words: Any, at: int, value: Any) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1
        words[at] = value


def found(table: AssetTable, name: str) -> int:
    return int(find_asset(table.words, name_words(name))[0])


@pytest.mark.parametrize("name", ["", "A" * 17, "BT-C", "btc", "B C", "\u00c4", "A\0", "@", "[", "/", ":"])
def test_what_cannot_be_an_assets_name_is_none(name: str) -> None:
    """Nobody is asked for it."""
    with pytest.raises(ValueError, match="no name of an asset"):
        name_words(name)


@given(st.lists(st.text("A0Z9", min_size=1, max_size=16), min_size=2, max_size=20, unique=True))
def test_names_spread_over_the_index(names: list[str]) -> None:
    """Twenty names share 32 bits once in ten million secrets; the words that they are found by are their own."""
    table = AssetTable.private(CELLS)
    assert len({int(asset_table._hash_of(table.words, name_words(name))) for name in names}) == len(names)
    assert [asset_table.text_of(name_words(name)) for name in names] == names


def test_an_asset_is_found_answered_and_lost_again() -> None:
    """The life of a cell, as its readers see it."""
    table = AssetTable.private(CELLS)
    assert found(table, "N0") == ABSENT
    cell = table.reserve("N0", 5)
    assert cell is not None
    assert found(table, "N0") == cell
    assert is_resolving(table.words, cell)
    assert not is_answered(table.words, cell, 6)
    table.answer(cell, 100)
    assert not is_resolving(table.words, cell)
    assert [is_answered(table.words, cell, now_ns) for now_ns in (6, 99, 100)] == [True, True, False]
    table.answer(cell, 200)
    table.set_hot(cell, 0b101)
    note_asked(table.words, cell, 150)
    note_asked(table.words, cell, 160)
    known = table.find("N0")
    assert known is not None
    assert known._replace(version=0) == (cell, 0, "N0", SpareState.ANSWERED, 200, 0b101, 160, 2)
    assert table.hot()[cell] == 0b101
    assert table.named() == [known]
    assert is_unchanged(table.words, cell, known.version)
    table.free(cell, 300)
    assert not is_unchanged(table.words, cell, known.version)
    assert (found(table, "N0"), table.find("N0"), table.named()) == (ABSENT, None, [])


def test_a_freed_cell_rests() -> None:
    """Whoever still writes the former asset's rows has learnt of it before another gets them."""
    table = AssetTable.private(1)
    assert table.reserve("N0", 0) == 0
    table.free(0, 100)
    assert table.reserve("N1", 100 + ASSET_REST_NS - 1) is None
    assert table.reserve("N1", 100 + ASSET_REST_NS) == 0
    assert table.find("N1") is not None


def test_a_full_table_and_a_full_bucket_take_nobody_in() -> None:
    """The resolver is told, and frees what is cold."""
    table = AssetTable.private(CELLS)
    assert [table.reserve(name, 0) for name in NAMES] == [0, 1, 2, 3, None, None]
    one_bucket = AssetTable.private(1, 8)
    bucket = int(one_bucket.words[8])
    one_bucket.words[bucket : bucket + 8] = 1 << 16
    assert one_bucket.reserve("N0", 0) is None
    assert one_bucket.find("N0") is None


def test_hashes_that_collide_tell_names_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one bucket and under one tag: names are compared whole."""
    if jit_enabled():
        pytest.skip("compiled code cannot be given another hash")
    monkeypatch.setattr(asset_table, "_hash_of", lambda *_: 7)
    table = AssetTable.private(8, 8)
    assert [table.reserve(name, 0) for name in NAMES] == list(range(6))
    assert [found(table, name) for name in NAMES] == list(range(6))
    table.free(2, 0)
    assert [found(table, name) for name in NAMES] == [0, 1, ABSENT, 3, 4, 5]
    for i, name in enumerate(NAMES):
        table.refuse(name, UNKNOWN_ASSET + i % 2, 100)
    assert [table.refusal(name, 50) for name in NAMES] == [UNKNOWN_ASSET + i % 2 for i in range(6)]


def test_a_refused_name_is_refused_for_its_time() -> None:
    """Each with its own code; a later refusal takes the place of the one before."""
    table = AssetTable.private(CELLS, 16)
    table.refuse("N0", UNKNOWN_ASSET, 100)
    table.refuse("N1", TOO_FEW, 50)
    assert [table.refusal(name, 49) for name in ("N0", "N1", "N2")] == [UNKNOWN_ASSET, TOO_FEW, CODE_OK]
    assert [table.refusal(name, 50) for name in ("N0", "N1")] == [UNKNOWN_ASSET, CODE_OK]
    table.refuse("N0", TOO_FEW, 60)
    assert [table.refusal("N0", now_ns) for now_ns in (59, 60)] == [TOO_FEW, CODE_OK]


def test_a_flood_of_refused_names_drops_those_that_end_first() -> None:
    """The room is bounded: eight names a bucket."""
    table = AssetTable.private(CELLS, 8)
    for i in range(9):
        table.refuse(f"N{i}", UNKNOWN_ASSET, 100 + i)
    assert [table.refusal(f"N{i}", 0) for i in range(9)] == [CODE_OK] + [UNKNOWN_ASSET] * 8


@pytest.mark.parametrize("stores", range(6))
def test_a_refusal_that_was_half_written_is_none(monkeypatch: pytest.MonkeyPatch, stores: int) -> None:
    """Killed at any word: no name has another's code, and the entry can be used again."""
    table = AssetTable.private(CELLS, 8)
    table.refuse("N0", UNKNOWN_ASSET, 100)
    for i in range(1, 8):
        table.refuse(f"N{i}", UNKNOWN_ASSET, 1000)
    with monkeypatch.context() as patched:
        patched.setattr(asset_table, "store_release", Mortal(stores))
        with pytest.raises(KilledError):
            table.refuse("N8", TOO_FEW, 200)
    assert table.refusal("N0", 0) == (UNKNOWN_ASSET if stores == 0 else CODE_OK)
    assert table.refusal("N8", 0) == CODE_OK
    table.refuse("N8", TOO_FEW, 200)
    assert (table.refusal("N8", 0), table.refusal("N0", 0)) == (TOO_FEW, CODE_OK)


def test_a_resolver_is_there_while_it_beats() -> None:
    """A table that no resolver ever had, and one whose resolver is gone, are answered by nobody."""
    table = AssetTable.private(CELLS)
    assert not is_resolver_there(table.words, RESOLVER_AWAY_NS + 1)
    table.beat(10)
    assert is_resolver_there(table.words, 10 + RESOLVER_AWAY_NS - 1)
    assert not is_resolver_there(table.words, 10 + RESOLVER_AWAY_NS)


def test_a_tool_sees_the_table_of_a_running_node(segment_name: str) -> None:
    """The sizes stand in the header: the name is enough."""
    table = AssetTable.create(segment_name, 3, 16)
    assert table.segment is not None
    table.reserve("N0", 0)
    attached = AssetTable.attach(segment_name)
    assert (attached.count, [cell.name for cell in attached.named()]) == (3, ["N0"])
    table.segment.unlink()


class Life(RuleBasedStateMachine):
    """A resolver that is killed at any word, beside the rows that it writes: each holds the name it is written for.

    A reader takes a name's row only where the table says that it is that asset's, before and after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = AssetTable.private(CELLS, 8)
        self.rows = [""] * CELLS
        self.now_ns = 0
        self.freed: dict[int, int] = {}
        self.looking: list[tuple[str, int, int, str]] = []
        self.cells: dict[str, int] = {}

    def act(self, stores: int, call: Any) -> Any:
        """Call of the resolver, which is killed after so many stores and started again."""
        before, asset_table.store_release = asset_table.store_release, Mortal(stores)
        try:
            return call()
        except KilledError:
            return None
        finally:
            asset_table.store_release = before

    def reap(self) -> None:
        """A new resolver: what it finds is whole."""
        self.table.take_over(self.now_ns)
        self.cells = {cell.name: cell.cell for cell in self.table.named()}
        assert all(cell.state is SpareState.ANSWERED for cell in self.table.named())
        assert all(found(self.table, name) == cell for name, cell in self.cells.items())

    @rule(name=st.sampled_from(NAMES), stores=st.integers(0, 40))
    def resolve(self, name: str, stores: int) -> None:
        if name in self.cells:
            return
        cell = self.act(stores, lambda: self.table.reserve(name, self.now_ns))
        if cell is None:
            if stores < 12:
                self.reap()
            return
        assert self.now_ns >= self.freed.get(cell, 0)
        self.rows[cell] = name
        self.cells[name] = cell
        if self.act(max(0, stores - 12), lambda: self.table.answer(cell, self.now_ns + 100) or True) is None:
            self.reap()

    @precondition(lambda self: self.cells)
    @rule(data=st.data(), stores=st.integers(0, 12))
    def forget(self, data: Any, stores: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.cells)))
        cell = self.cells.pop(name)
        if self.act(stores, lambda: self.table.free(cell, self.now_ns) or True) is None:
            self.reap()
        if found(self.table, name) == ABSENT:
            self.freed[cell] = self.now_ns + ASSET_REST_NS

    @rule(step=st.sampled_from([1, 60, ASSET_REST_NS]))
    def wait(self, step: int) -> None:
        self.now_ns += step

    @rule(stores=st.integers(0, 12))
    def restart(self, stores: int) -> None:
        self.act(stores, lambda: self.table.take_over(self.now_ns))
        self.reap()

    @rule(name=st.sampled_from(NAMES))
    def begin_to_read(self, name: str) -> None:
        cell, version = find_asset(self.table.words, name_words(name))
        if cell != ABSENT and is_answered(self.table.words, cell, self.now_ns):
            self.looking.append((name, cell, version, self.rows[cell]))

    @rule()
    def end_to_read(self) -> None:
        for name, cell, version, row in self.looking:
            if is_unchanged(self.table.words, cell, version):
                assert row == self.rows[cell] == name
        self.looking.clear()

    @invariant()
    def nobody_finds_another_ones_row(self) -> None:
        for name in NAMES:
            cell, _ = find_asset(self.table.words, name_words(name))
            if cell != ABSENT and is_answered(self.table.words, cell, self.now_ns):
                assert self.rows[cell] == name

    @invariant()
    def no_cell_has_two_names_and_no_name_two_cells(self) -> None:
        names = [cell.name for cell in self.table.named()]
        assert len(set(names)) == len(names)
        assert all(a.cell != b.cell for a, b in itertools.combinations(self.table.named(), 2))


TestLife = Life.TestCase
