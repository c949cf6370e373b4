"""trinity/memory/limit_shares.py"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.quota import quota_used
from trinity.memory.key_table import TERMS_SLOT_WORDS, KeyTable
from trinity.memory.limit_shares import COUNTS, column, raise_months, raise_tats, read_counts, take_moved
from trinity.memory.limit_table import ADMITTED, MOVED_BITS, NODES, REFUSED, TAT, LimitTable, take_lookups
from trinity.rates import rate_of
from trinity.vocabulary import KeyState

pytestmark = pytest.mark.uncompiled

MONTH = 2026 * 12


def shared(keys_max: int = 200) -> LimitTable:
    table = LimitTable.private(keys_max)
    table.words[NODES] = 2
    return table


def moved(table: LimitTable, room: int = 1_000) -> list[int]:
    key_ids = np.zeros(room, dtype=np.int64)
    return [int(key_id) for key_id in key_ids[: take_moved(table.words, key_ids)]]


@settings(max_examples=20, deadline=None)
@given(turns=st.lists(st.sets(st.integers(1, 200), max_size=20), max_size=3))
def test_each_key_that_was_counted_is_found_once(turns: list[set[int]]) -> None:
    """Whatever was counted between two looks, in the order of the ids."""
    table = shared()
    for key_ids in turns:
        for key_id in key_ids:
            take_lookups(table.words, key_id, MONTH, 1_000, 1)
            take_lookups(table.words, key_id, MONTH, 1_000, 1)
        assert moved(table) == sorted(key_ids)
    assert moved(table) == []


def test_what_has_no_room_stays_marked() -> None:
    """A look takes whole words of marks; the next one goes on."""
    table = shared()
    for key_id in (1, 70, 140):
        take_lookups(table.words, key_id, MONTH, 10, 1)
    assert [moved(table, 65), moved(table, 65)] == [[1, 70], [140]]


def test_a_mark_stands_for_every_id_that_shares_it() -> None:
    """Of more keys than marks: the exchange looks at each of them."""
    table = shared(MOVED_BITS + 9)
    take_lookups(table.words, MOVED_BITS + 3, MONTH, 10, 1)
    assert moved(table) == [3, MOVED_BITS + 3]


def test_counts_come_with_the_terms_that_they_are_held_to() -> None:
    """An id without a key has no rate and no quota."""
    table, keys = shared(), KeyTable.private(9)
    keys.write(4, bytes(range(32)), KeyState.ACTIVE, rate_of(3, 7), 11, 500, dry_run=False)
    take_lookups(table.words, 4, MONTH, 500, 5)
    column(table.words, ADMITTED)[4], column(table.words, REFUSED)[4] = 21, 34
    rows = np.zeros((3, len(COUNTS)), dtype=np.int64)
    read_counts(keys.words, table.words, np.array([4, 5, 100]), np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64), rows)
    found = dict(zip(COUNTS, rows[0].tolist(), strict=True))
    assert found == {
        "admitted": 21, "refused": 34, "ceiling": 0, "quota": MONTH << 48 | 5,
        "rate": rate_of(3, 7), "burst": 11, "monthly_quota": 500, "generation": 1,
    }  # fmt: skip
    assert not rows[1:].any()


@given(own=st.integers(0, 50), known=st.integers(0, 50))
def test_what_the_others_know_raises_a_rate_and_a_month_and_never_lowers_them(own: int, known: int) -> None:
    """A count that was lost comes back, and a TAT moves ahead."""
    table = shared()
    if own:
        take_lookups(table.words, 7, MONTH, 100, own)
    column(table.words, TAT)[7] = own
    raise_months(table.words, np.array([7]), MONTH, np.array([known]))
    raise_tats(table.words, np.array([7]), np.array([known]))
    assert quota_used(table, 7) == ((MONTH, max(own, known)))
    assert column(table.words, TAT)[7] == max(own, known)
