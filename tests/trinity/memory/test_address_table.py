"""trinity/memory/address_table.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forks import at_once
from trinity.limits import ADDRESS_CELLS
from trinity.memory.address_table import BUCKETS, CELLS, WORDS, AddressTable, consume_address
from trinity.memory.gcra import FOUND_WORDS

SECOND = 1_000_000_000
NOW_NS = 1_000 * SECOND
BUCKET = 77


def hashed(tag: int, bucket: int = BUCKET) -> np.uint64:
    """The hash of an address with this tag in this bucket."""
    return np.uint64(tag << 48 | bucket)


def take(table: AddressTable, address: np.uint64, now_ns: int = NOW_NS, rate: int = 1, burst: int = 2) -> bool:
    return bool(consume_address(table.words, address, now_ns, rate, burst, np.zeros(FOUND_WORDS, dtype=np.int64)))


def spend(table: AddressTable, address: np.uint64, now_ns: int = NOW_NS) -> int:
    """Take until the first refusal: how many were admitted."""
    admitted = 0
    while take(table, address, now_ns):
        admitted += 1
    return admitted


@pytest.mark.uncompiled
def test_each_address_has_a_limit_of_its_own() -> None:
    """Four addresses of one bucket and one of another; each gets its burst, once."""
    table = AddressTable.private()
    addresses = [hashed(tag) for tag in (0, 2, 0x8000, 0xFFFF)] + [hashed(2, BUCKET + 1)]
    assert [spend(table, address) for address in addresses] == [2] * 5
    assert [spend(table, address) for address in addresses] == [0] * 5


@pytest.mark.uncompiled
def test_a_flood_of_new_addresses_does_not_free_a_spent_cell() -> None:
    """Until its TAT expires, an address has its cell, whoever else comes; the others share what is left over."""
    table = AddressTable.private()
    victim = hashed(9)
    assert spend(table, victim) == 2
    flood = [hashed(tag) for tag in range(100, 600)]
    admitted = sum(spend(table, address) for address in flood)
    assert admitted == 2 * (CELLS - 1) + 2, "three cells and the overflow, at two each"
    assert spend(table, victim) == 0
    assert take(table, victim, NOW_NS + SECOND)


@pytest.mark.uncompiled
def test_an_expired_cell_goes_to_the_next_who_needs_one() -> None:
    """The one that has been idle for the longest time is given away first, and begins whole."""
    table = AddressTable.private()
    for number in range(CELLS):
        assert take(table, hashed(10 + number), NOW_NS + number)
    later_ns = NOW_NS + 2 * SECOND
    assert spend(table, hashed(50), later_ns) == 2
    assert spend(table, hashed(11), later_ns) == 2, "still there, and whole again"
    assert spend(table, hashed(50), later_ns) == 0


@pytest.mark.uncompiled
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, SECOND)), max_size=200))
def test_no_address_gets_more_than_its_limit_and_one_more_each_time_it_was_away(steps: list[tuple[int, int]]) -> None:
    """Whatever the order: between two admitted requests of one address lies what the limit asks for."""
    table, now_ns, admitted = AddressTable.private(), NOW_NS, {}
    for tag, step in steps:
        now_ns += step
        if take(table, hashed(tag), now_ns):
            admitted.setdefault(tag, []).append(now_ns)
    for times in admitted.values():
        for first in range(len(times)):
            count, window_ns = len(times) - first, times[-1] - times[first]
            # At most the burst, the rate, and the burst of the overflow.
            assert (count - 4) * SECOND <= 2 * window_ns


def _spend_at_once(table: AddressTable) -> list[int]:
    found = np.zeros(FOUND_WORDS, dtype=np.int64)
    counts = [0] * 200
    for address in range(200):
        for _ in range(30):
            counts[address] += bool(
                consume_address(table.words, hashed(1 + address % 4, address), NOW_NS, 1, 20, found)
            )
    return counts


def test_four_processes_give_an_address_its_limit_and_not_one_more(segment_name: str) -> None:
    """200 addresses that are new to all four at the same time: each gets one cell, and 20 requests."""
    table = AddressTable.create(segment_name)
    _spend_at_once(AddressTable.private())  # what is compiled is loaded before the fork
    counts = at_once(_spend_at_once, table)
    assert table.segment is not None
    table.segment.unlink()
    assert [sum(column) for column in zip(*counts, strict=True)] == [20] * 200


def test_the_table_is_bounded_and_its_secret_is_its_own() -> None:
    """A megabyte, and no two nodes hash alike."""
    assert WORDS * 8 < 1_100_000
    assert BUCKETS * CELLS == ADDRESS_CELLS
    secrets = {AddressTable.private().words[:2].tobytes() for _ in range(4)}
    assert len(secrets) == 4
