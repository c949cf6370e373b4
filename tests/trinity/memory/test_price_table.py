"""trinity/memory/price_table.py"""

import itertools
import multiprocessing
import os
import random
import signal
import uuid
from decimal import Decimal
from multiprocessing.synchronize import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.quotes import stored_quote
from trinity.compiled import compiled
from trinity.errors import LayoutError
from trinity.memory.atomics import Words
from trinity.memory.cell import publish, snapshot
from trinity.memory.price_table import (
    CELL_WORDS,
    SCALE_MAX,
    SLOT_WORDS,
    Absence,
    LeftOut,
    PriceTable,
    RowState,
    Side,
    StoredQuote,
    Via,
    body_words,
    mantissa_of,
    pack_quote,
    publish_quote,
    scale_of,
)

READS = 10_000_000
KILLS = 200
CELLS = 150

PRICES = st.decimals(min_value="0.000000000001", max_value="999999", places=12, allow_nan=False)


def _quote(bid: str | None, ask: str | None, last: str | None, exchange_time_ns: int | None = 17) -> StoredQuote:
    def price(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    return stored_quote(price(bid), price(ask), price(last), exchange_time_ns, 1, 2, Via.WS)


@pytest.fixture
def table(segment_name: str) -> PriceTable:
    return PriceTable.create(segment_name, 6, 25, 32)


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    "quote",
    [
        _quote("71519.37000", "71519.38", "71519.4"),
        _quote("0.00000812", "0.00000813", None),
        _quote(None, None, "0.000000000001", None),
        _quote("999999999999999999", "999999999999999999", None),
    ],
)
def test_a_quote_is_read_as_it_was_written(table: PriceTable, quote: StoredQuote) -> None:
    """No digit is lost, and what the exchange did not send stays absent."""
    table.write(3, 7, quote)
    assert table.read(3, 7) == quote
    assert table.read(3, 8) is None


@pytest.mark.uncompiled
def test_a_record_goes_into_a_cell_and_comes_out_of_it(table: PriceTable) -> None:
    """As compiled writers and readers do it, byte for byte what `write` makes; an empty cell gives nothing."""
    quote = _quote("71519.37000", None, "0.5")
    words, found = pack_quote(quote).view(np.uint64), np.zeros(SLOT_WORDS, dtype=np.uint64)
    assert not table.copy(2, 4, found)
    publish_quote(table.words, table.exchanges, table.capacity, 2, 4, words)
    assert table.read(2, 4) == quote
    assert table.copy(2, 4, found)
    table.write(2, 5, quote)
    also = np.zeros(SLOT_WORDS, dtype=np.uint64)
    assert table.copy(2, 5, also)
    assert words.tolist() == found.tolist() == also.tolist()


@given(bid=PRICES, last=st.none() | PRICES)
def test_decimals_survive_the_table(bid: Decimal, last: Decimal | None) -> None:
    """Every price of up to 18 digits comes back equal."""
    name = f"trinity-test-{uuid.uuid4().hex[:12]}"
    table = PriceTable.create(name, 1, 1, 1)
    try:
        quote = stored_quote(bid, bid, last, None, 1, 2, Via.REST)
        table.write(0, 0, quote)
        assert table.read(0, 0) == quote
    finally:
        table.segment.unlink()


def test_each_side_keeps_its_own_times_and_digits(table: PriceTable) -> None:
    """A bid of a second ago beside an older ask and a last price without an exchange time."""
    quote = StoredQuote(
        Side(Decimal("1.50"), 7, 100, 1000),
        Side(Decimal(2), 6, 90, 990),
        Side(Decimal("1.7500"), None, 80, 980),
        Via.WS,
    )
    table.write(0, 0, quote)
    assert table.read(0, 0) == quote
    assert str(table.read(0, 0)) == str(quote), "1.50 is not 1.5 here"
    assert quote.newest == quote.bid
    one = quote._replace(bid=None, last=None)
    table.write(0, 0, one)
    assert table.read(0, 0) == one


@pytest.mark.parametrize("text", ["1E+999999999", "1234567890123456789", "0.1234567890123456789", "NaN", "Infinity"])
def test_a_price_that_does_not_fit_is_refused(table: PriceTable, text: str) -> None:
    """More than 18 digits raise ValueError and leave the cell as it was."""
    table.write(0, 0, _quote("1", "2", None))
    with pytest.raises(ValueError):
        table.write(0, 0, _quote(None, None, text))
    assert table.read(0, 0) == _quote("1", "2", None)


@pytest.mark.parametrize("cell", [(-1, 0), (0, -1), (6, 0), (0, 32)])
def test_a_cell_outside_of_the_table_raises(table: PriceTable, cell: tuple[int, int]) -> None:
    """An index never reaches another row's bytes."""
    with pytest.raises(IndexError):
        table.write(*cell, _quote("1", "2", None))
    with pytest.raises(IndexError):
        table.read(*cell)


def test_versions_and_states_tell_what_changed(table: PriceTable) -> None:
    """One sweep shows which cells were written and what their feeds think of them."""
    before = table.versions()
    table.write(2, 5, _quote("1", "2", None))
    table.write_state(2, 5, RowState.FROZEN)
    changed = np.argwhere(table.versions() != before).tolist()
    assert changed == [[2, 5]]
    assert table.read_state(2, 5) is RowState.FROZEN
    assert int(table.states()[2, 5]) == RowState.FROZEN
    assert table.states().sum() == RowState.FROZEN


def test_a_tool_with_other_counts_is_refused(table: PriceTable) -> None:
    """The layout hash holds the counts: a writer that thinks of another table cannot attach."""
    assert PriceTable.attach(table.segment.name, 6, 25, 32).read(0, 0) is None
    for exchanges, assets, capacity in ((7, 25, 32), (6, 25, 31), (6, 25, 25), (6, 33, 32)):
        with pytest.raises(LayoutError):
            PriceTable.attach(table.segment.name, exchanges, assets, capacity)


def test_spare_rows_have_their_room_and_are_seen_by_nobody(table: PriceTable) -> None:
    """A quote and a state in a spare row, planted by who uses more of the same room, show in no sweep of ours."""
    wider = PriceTable.attach(table.segment.name, 6, 32, 32)
    assert table.words.size == body_words(6, 32)
    for exchange in range(6):
        wider.write(exchange, 25, _quote("1", "2", None))
        wider.write_state(exchange, 25, RowState.LIVE)
    assert table.versions().shape == table.states().shape == (6, 25)
    assert not table.versions().any()
    assert not table.states().any()
    table.write(5, 24, _quote("3", "4", None))
    assert wider.read(5, 24) == _quote("3", "4", None)
    assert np.argwhere(wider.versions() != 0).tolist() == [[i, 25] for i in range(5)] + [[5, 24], [5, 25]]


def test_scales_and_mantissas_are_exact() -> None:
    """The integer form of a price is exact or refused."""
    assert scale_of(Decimal("71519.37000")) == 5
    assert scale_of(Decimal("1E+3")) == 0
    assert mantissa_of(Decimal("0.00000812"), 8) == 812
    with pytest.raises(ValueError):
        mantissa_of(Decimal(1), SCALE_MAX + 1)


@compiled
def _write_forever(words: Words, base: int, value: Words) -> None:
    """Every word of version n is n, so that a mixed read shows."""
    version = 0
    while True:
        version += 1
        for i in range(value.size):
            value[i] = version
        publish(words, base, value.size, value)


@compiled
def _read_many(words: Words, base: int, value: Words, reads: int) -> tuple[int, int, int]:
    """(torn, going back, tries run out) over `reads` successful reads."""
    torn = 0
    back = 0
    missed = 0
    newest = 0
    done = 0
    while done < reads:
        if not snapshot(words, base, value.size, value):
            missed += 1
            continue
        done += 1
        first = np.int64(value[0])
        for i in range(1, value.size):
            if np.int64(value[i]) != first:
                torn += 1
        if first < newest:
            back += 1
        newest = first
    return torn, back, missed


def _read_and_report(words: Words, base: int, reads: int, reports: "multiprocessing.SimpleQueue[object]") -> None:
    reports.put(_read_many(words, base, np.zeros(SLOT_WORDS, np.uint64), reads))


def test_ten_million_reads_beside_a_writer_at_full_speed_are_never_torn(table: PriceTable) -> None:
    """One writer in a tight loop, two readers in other processes: every read is one whole version, in order."""
    words, base = table.words, table.words.size // (1 + CELL_WORDS)
    scratch = np.zeros(SLOT_WORDS, np.uint64)
    publish(words, base, SLOT_WORDS, scratch)
    _read_many(words, base, scratch, 1)
    fork = multiprocessing.get_context("fork")
    reports = fork.SimpleQueue()
    writer = fork.Process(target=_write_forever, args=(words, base, np.zeros(SLOT_WORDS, np.uint64)))
    readers = [fork.Process(target=_read_and_report, args=(words, base, READS // 2, reports)) for _ in range(2)]
    writer.start()
    for reader in readers:
        reader.start()
    results = [reports.get() for _ in readers]
    for reader in readers:
        reader.join(60)
    assert writer.exitcode is None, "the writer wrote all the time"
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join(60)
    assert [(torn, back) for torn, back, _ in results] == [(0, 0), (0, 0)]


@compiled
def _write_cells_forever(words: Words, base: int, cell_words: int, cells: int, value: Words) -> None:
    """Round and round over all cells; word 0 is the version, the others its complement plus their place."""
    version = 0
    while True:
        version += 1
        for cell in range(cells):
            value[0] = version
            for i in range(1, value.size):
                value[i] = np.uint64(version) * np.uint64(1_000_003) + np.uint64(i)
            publish(words, base + cell * cell_words, value.size, value)


def _start_writing(words: Words, base: int, cell_words: int, started: Event) -> None:
    started.set()
    _write_cells_forever(words, base, cell_words, CELLS, np.zeros(SLOT_WORDS, np.uint64))


def test_a_writer_killed_200_times_never_makes_a_cell_unreadable(table: PriceTable) -> None:
    """After SIGKILL at a random moment every cell reads as a whole old or new value, each time."""
    words, base = table.words, table.words.size // (1 + CELL_WORDS)
    value = np.zeros(SLOT_WORDS, np.uint64)
    value[0] = 1
    value[1:] = np.uint64(1_000_003) + np.arange(1, SLOT_WORDS, dtype=np.uint64)
    for cell in range(CELLS):
        publish(words, base + cell * CELL_WORDS, SLOT_WORDS, value)
    fork = multiprocessing.get_context("fork")
    moments = random.Random(7)
    for _ in range(KILLS):
        started = fork.Event()
        writer = fork.Process(target=_start_writing, args=(words, base, CELL_WORDS, started))
        writer.start()
        assert started.wait(30)
        writer.join(moments.uniform(0.0, 0.004))
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(30)
        versions = set()
        for cell in range(CELLS):
            assert snapshot(words, base + cell * CELL_WORDS, SLOT_WORDS, value), "readable at once, writer dead"
            version = int(value[0])
            assert value[1:].tolist() == [version * 1_000_003 + i for i in range(1, SLOT_WORDS)], "a whole value"
            versions.add(version)
        assert max(versions) - min(versions) <= 1 or 1 in versions, "old or new, nothing else"


def test_why_a_row_is_left_out_stands_beside_its_state(table: PriceTable) -> None:
    """Each way has its own reason; whoever compares states sees them alone."""
    for ws, rest in itertools.product(Absence, Absence):
        table.write_state(2, 5, RowState.FROZEN, LeftOut(ws, rest))
        assert table.read_left_out(2, 5) == LeftOut(ws, rest)
        assert table.read_state(2, 5) is RowState.FROZEN
        assert table.states().sum() == RowState.FROZEN
    table.write_state(2, 5, RowState.LIVE)
    assert table.read_left_out(2, 5) == LeftOut()
