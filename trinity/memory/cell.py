"""A versioned cell: one counter and two slots, so that a reader never sees half a value.

    word 0      counter: number of values published; its lowest bit names the slot that holds the newest
    words 1-7   padding, so that no other cell shares the counter's cache line
    slot 0      slot_words words
    slot 1      slot_words words

Rules: one writer a cell. The writer fills the slot that the counter does not point to, then publishes by storing
the counter with release order: killed at any moment it leaves the old value readable, because there is no
"being written" state. The reader copies the slot out and re-reads the counter; it retries a bounded number of
times and then says that it has nothing, it never spins.

Fences: the writer's stops its next stores from overtaking the publication before (else a reader could copy new
words under an old counter); the reader's stops its copy from sinking below the second look at the counter.
"""

import numpy as np

from trinity.compiled import compiled
from trinity.memory.atomics import Words, copy_words, fence, load_acquire, read_fence, store_release

COUNTER_WORDS = 8  # one cache line of 64 bytes
WORD_BYTES = 8

# A retry happens only when the writer published twice within one copy of some 100 ns; measured 0.0003 retries a
# read at 1,000 writes a second. Eight in a row means a writer in a tight loop or corrupt memory: give up.
READ_TRIES_MAX = 8


def cell_words(slot_words: int) -> int:
    """Words of a whole cell."""
    return COUNTER_WORDS + 2 * slot_words


@compiled
def publish(words: Words, base: int, slot_words: int, value: Words) -> None:
    """Write `value` (slot_words words) as the newest version of the cell at word `base`."""
    counter = np.int64(words[base])
    slot = base + COUNTER_WORDS + ((counter + 1) & 1) * slot_words
    fence()
    for i in range(slot_words):
        words[slot + i] = value[i]
    store_release(words, base, counter + 1)  # type: ignore[arg-type]


@compiled
def snapshot(words: Words, base: int, slot_words: int, value: Words) -> bool:
    """Copy the newest version into `value`; False when none was ever published or the tries ran out."""
    return snapshot_prefix(words, base, slot_words, slot_words, value)


@compiled
def snapshot_prefix(words: Words, base: int, slot_words: int, prefix_words: int, value: Words) -> bool:
    """As `snapshot`, but only the slot's first `prefix_words` words, for readers that need no more."""
    for _ in range(READ_TRIES_MAX):
        counter = np.int64(load_acquire(words, base))
        if counter == 0:
            return False
        slot = base + COUNTER_WORDS + (counter & 1) * slot_words
        copy_words(words, slot, value, prefix_words)  # type: ignore[arg-type]
        read_fence()
        if np.int64(load_acquire(words, base)) == counter:
            return True
    return False
