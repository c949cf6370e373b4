"""The limit table as the exchange with the other nodes sees it: what moved, what is counted, how far each key may go.

Rules: one process calls this, the exchange. A mark is cleared before its key's counts are read, so that whatever is
counted afterwards marks the key again and nothing is missed. Counts are read as they are, never changed.
"""

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.memory import limit_table
from trinity.memory.atomics import Words, compare_and_swap, fence, load_acquire, signed, unsigned
from trinity.memory.key_table import BURST_SHIFT, FLAGS, GENERATION_SHIFT, PACE, QUOTA, has_room, read_terms
from trinity.memory.limit_table import (
    ADMITTED,
    CEILING,
    ENTRY_WORDS,
    HEADER_WORDS,
    MONTH_SHIFT,
    MOVED_AT,
    MOVED_BITS,
    REFUSED,
    TAT,
)
from trinity.rates import RATE_BITS

# Columns of what `read_counts` finds.
COUNTS = (
    "admitted",
    "refused",
    "ceiling",
    "quota",  # month | lookups
    "rate",
    "burst",
    "monthly_quota",
    "generation",  # another one: this id is another key by now
)
(_ADMITTED, _REFUSED, _CEILING, _QUOTA, _RATE, _BURST, _MONTHLY, _GENERATION) = range(len(COUNTS))

_0 = np.uint64(0)
_BITS = 64


@compiled
def take_moved(limits: Words, key_ids: NDArray[np.int64]) -> int:
    """Write the ids of keys that were counted since the last call, and clear their marks; returns how many.

    As many as there is room for; the others stay marked. A mark stands for every MOVED_BITS-th id.
    """
    capacity, found = (limits.size - HEADER_WORDS) // ENTRY_WORDS, 0
    for i in range(MOVED_BITS // _BITS):
        word = unsigned(load_acquire(limits, MOVED_AT + i))
        if word == _0:
            continue
        a_bit = (capacity + MOVED_BITS - 1) // MOVED_BITS
        if found + _BITS * a_bit > key_ids.size:
            break
        while not compare_and_swap(limits, MOVED_AT + i, signed(word), 0):
            word = unsigned(load_acquire(limits, MOVED_AT + i))
        for bit in range(_BITS):
            if word >> unsigned(bit) & np.uint64(1) != _0:
                for key_id in range(i * _BITS + bit, capacity, MOVED_BITS):
                    key_ids[found] = key_id
                    found += 1
    fence()
    return found


@compiled
def read_counts(keys: Words, limits: Words, key_ids: NDArray[np.int64], terms: Words, rows: NDArray[np.int64]) -> None:
    """What each of these keys has counted, and its terms, by COUNTS; one that is not there has no rate and no quota."""
    for i in range(key_ids.size):
        key_id, row = key_ids[i], rows[i]
        at = HEADER_WORDS + key_id * ENTRY_WORDS
        row[_ADMITTED], row[_REFUSED] = signed(limits[at + ADMITTED]), signed(limits[at + REFUSED])
        row[_CEILING], row[_QUOTA] = signed(limits[at + CEILING]), signed(limits[at + limit_table.QUOTA])
        row[_RATE], row[_BURST], row[_MONTHLY], row[_GENERATION] = 0, 0, 0, 0
        if has_room(keys, key_id) and read_terms(keys, key_id, terms):
            pace = signed(terms[PACE])
            row[_RATE], row[_BURST] = pace & RATE_BITS, pace >> BURST_SHIFT
            row[_MONTHLY] = signed(terms[QUOTA])
            row[_GENERATION] = signed(terms[FLAGS]) >> GENERATION_SHIFT


@compiled
def raise_tats(limits: Words, key_ids: NDArray[np.int64], tats_ns: NDArray[np.int64]) -> None:
    """The rate of these keys goes on no earlier than here: the other nodes gave some of it."""
    for i in range(key_ids.size):
        at = HEADER_WORDS + key_ids[i] * ENTRY_WORDS + TAT
        word = load_acquire(limits, at)
        while signed(word) < tats_ns[i] and not compare_and_swap(limits, at, word, tats_ns[i]):
            word = load_acquire(limits, at)


@compiled
def raise_months(limits: Words, key_ids: NDArray[np.int64], month: int, counts: NDArray[np.int64]) -> None:
    """These keys have used at least so much of this month here: the file had lost it."""
    for i in range(key_ids.size):
        at = HEADER_WORDS + key_ids[i] * ENTRY_WORDS + limit_table.QUOTA
        wanted, word = month << MONTH_SHIFT | counts[i], load_acquire(limits, at)
        while signed(word) < wanted and not compare_and_swap(limits, at, word, wanted):
            word = load_acquire(limits, at)


def column(limits: Words, word: int) -> NDArray[np.uint64]:
    """One word of every key, to be read and written in place."""
    return limits[HEADER_WORDS + word :: ENTRY_WORDS]


def warm_up() -> None:
    """Compile what the exchange calls."""
    from trinity.memory.access import AccessMemory

    tables, key_ids = AccessMemory.private(), np.zeros(1, dtype=np.int64)
    take_moved(tables.limits.words, key_ids)
    terms, rows = np.zeros(8, dtype=np.uint64), np.zeros((1, len(COUNTS)), dtype=np.int64)
    read_counts(tables.keys.words, tables.limits.words, key_ids, terms, rows)
    raise_tats(tables.limits.words, key_ids, key_ids)
    raise_months(tables.limits.words, key_ids, 0, key_ids)
