"""Limits of callers without a key: one cell an address, in a bounded table that a flood of addresses cannot clear.

    words 0-7   header: two words of a secret, made at the node's start
    words 8..   buckets of 8 words, one cache line each:
                  0     tags       four of 16 bits, 0 for a cell that nobody had
                  1-4   TAT        of the four cells (gcra.py)
                  5     TAT        of the overflow, shared by whoever finds none of the four expired
                  6-7   reserved

Rules: the caller hashes the address under the secret, so nobody can aim at another's bucket; 14 bits of the hash choose
the bucket's place and 16 are the tag, so two addresses share a cell once in 2**30. A cell is given to another address
only when its TAT has expired: by then it says nothing. All four tags change by one compare-and-swap, so an address
never gets two cells. A limit is exact across workers, but for the moment in which an address whose TAT has just
expired loses its cell to a new one: then it may get one request more.
"""

import os

import numpy as np

from trinity.compiled import compiled
from trinity.limits import ADDRESS_CELLS, LIMIT_TRIES_MAX
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed, unsigned
from trinity.memory.gcra import Numbers, consume
from trinity.memory.segment import Segment

LAYOUT_VERSION = 1
LAYOUT_HASH = 0  # all of it is fixed by the version

HEADER_WORDS = 8
SECRET_WORDS = 2
BUCKET_WORDS = 8
CELLS = 4
BUCKETS = ADDRESS_CELLS // CELLS
WORDS = HEADER_WORDS + BUCKETS * BUCKET_WORDS

_OVERFLOW = 1 + CELLS
_TAG_BITS = 16
_BUCKET_MASK = np.uint64(BUCKETS - 1)
_TAG_MASK, _TAG_SHIFT, _1 = np.uint64(0xFFFF), np.uint64(48), np.uint64(1)


class AddressTable:
    """Cells of anonymous callers; `words` is for compiled users and begins with the secret of the hash."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment

    @classmethod
    def create(cls, name: str) -> "AddressTable":
        """Make an empty table with a new secret (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, LAYOUT_HASH, WORDS)
        return cls(_with_secret(segment.body), segment)

    @classmethod
    def private(cls) -> "AddressTable":
        """An empty table that no other process sees."""
        return cls(_with_secret(np.zeros(WORDS, dtype=np.uint64)))


def _with_secret(words: Words) -> Words:
    words[:SECRET_WORDS] = np.frombuffer(os.urandom(8 * SECRET_WORDS), dtype=np.uint64)
    return words


@compiled
def consume_address(addresses: Words, hashed: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one request of the limit of the address with this hash (64 bits; see gcra.consume)."""
    at = HEADER_WORDS + signed(unsigned(hashed) & _BUCKET_MASK) * BUCKET_WORDS
    tag = unsigned(max(unsigned(hashed) >> _TAG_SHIFT, _1))
    for _ in range(LIMIT_TRIES_MAX):
        tags = load_acquire(addresses, at)
        cell = _cell_of(tags, tag)
        if cell < 0:
            cell = _expired_cell(addresses, at, now_ns)
            if cell < 0:
                break
            shift = unsigned(_TAG_BITS * cell)
            if not compare_and_swap(addresses, at, tags, unsigned(tags & ~(_TAG_MASK << shift) | tag << shift)):
                continue
        admitted = consume(addresses, at + 1 + cell, now_ns, rate, burst, found)
        if _cell_of(load_acquire(addresses, at), tag) == cell:
            return admitted
    return consume(addresses, at + _OVERFLOW, now_ns, rate, burst, found)


@compiled
def _cell_of(tags: int, tag: int) -> int:
    for cell in range(CELLS):
        if unsigned(tags) >> unsigned(_TAG_BITS * cell) & _TAG_MASK == tag:
            return cell
    return -1


@compiled
def _expired_cell(addresses: Words, at: int, now_ns: int) -> int:
    """The cell that expired the longest time ago, -1 when none has."""
    best = -1
    best_ns = now_ns
    for cell in range(CELLS):
        tat_ns = signed(load_acquire(addresses, at + 1 + cell))
        if tat_ns <= best_ns:
            best, best_ns = cell, tat_ns
    return best
