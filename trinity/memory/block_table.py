"""Blocked addresses: sorted, merged ranges of 128-bit addresses, two buffers with a published generation.

    words 0-7   header: generation; its lowest bit names the buffer that holds the newest list
    buffer 0    count of ranges, 7 words padding, then 4 * BLOCKS_MAX words: first (high, low) and last (high, low)
    buffer 1    the same

Rules: one writer, the access process. It fills the buffer that the generation does not point to and then publishes;
a reader looks at the generation again after its search. IPv4 is held as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).
"""

import ipaddress
from collections.abc import Iterable

import numpy as np

from trinity.compiled import compiled
from trinity.errors import BlocksFullError
from trinity.limits import BLOCKS_MAX
from trinity.memory.atomics import Words, fence, load_acquire, read_fence, signed, store_release, unsigned
from trinity.memory.cell import READ_TRIES_MAX
from trinity.memory.segment import Segment

LAYOUT_VERSION = 1
LAYOUT_HASH = 0  # all of it is fixed by the version

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADER_WORDS = 8
RANGE_WORDS = 4
BUFFER_WORDS = 8 + BLOCKS_MAX * RANGE_WORDS
WORDS = HEADER_WORDS + 2 * BUFFER_WORDS

_IPV4_MAPPED = 0xFFFF << 32
_WORD = 2**64
_BYTES, _PAIRS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_1, _8, _16, _32 = np.uint64(1), np.uint64(8), np.uint64(16), np.uint64(32)


class BlockTable:
    """Blocked networks; `words` is for compiled readers."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment

    @classmethod
    def create(cls, name: str) -> "BlockTable":
        """Make an empty table (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, LAYOUT_HASH, WORDS)
        return cls(segment.body, segment)

    @classmethod
    def private(cls) -> "BlockTable":
        """An empty table that no other process sees."""
        return cls(np.zeros(WORDS, dtype=np.uint64))

    def write(self, networks: Iterable[Network]) -> int:
        """Block these networks and no others; returns how many ranges they make. Only the access process may call it.

        Raises BlocksFullError, and changes nothing, when they are more than BLOCKS_MAX after merging.
        """
        ranges = merged_ranges(networks)
        if len(ranges) > BLOCKS_MAX:
            raise BlocksFullError(len(ranges), BLOCKS_MAX)
        generation = int(self.words[0]) + 1
        buffer = HEADER_WORDS + (generation & 1) * BUFFER_WORDS
        fence()
        self.words[buffer] = len(ranges)
        flat = [half for span in ranges for end in span for half in divmod(end, _WORD)]
        self.words[buffer + 8 : buffer + 8 + len(flat)] = np.array(flat, dtype=np.uint64)
        store_release(self.words, 0, generation)
        return len(ranges)


def merged_ranges(networks: Iterable[Network]) -> list[tuple[int, int]]:
    """First and last address of each, as 128-bit numbers, sorted; ranges that touch are one."""
    spans = sorted(_span_of(network) for network in networks)
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _span_of(network: Network) -> tuple[int, int]:
    base = _IPV4_MAPPED if network.version == 4 else 0
    return base + int(network.network_address), base + int(network.broadcast_address)


@compiled
def is_blocked(blocks: Words, address: Words) -> bool:
    """Whether the address, two words of raw bytes in network order, lies in a blocked range.

    Whoever lost every race against the writer counts as blocked, and with it in the refusals of their protocol: a
    search takes less than a microsecond and a new list some milliseconds, so nobody does unless memory is broken, and
    a block must hold then above all.
    """
    for _ in range(READ_TRIES_MAX):
        generation = load_acquire(blocks, 0)
        buffer = HEADER_WORDS + signed(generation & _1) * BUFFER_WORDS
        count = min(signed(blocks[buffer]), BLOCKS_MAX)
        blocked = count > 0 and _search(blocks, buffer + 8, count, _swapped(address[0]), _swapped(address[1]))
        read_fence()
        if load_acquire(blocks, 0) == generation:
            return blocked
    return True


@compiled
def _search(blocks: Words, at: int, count: int, high: int, low: int) -> bool:
    """Find the last range that does not begin behind the address, and see whether it ends before it."""
    below, above = 0, count
    while below < above:
        middle = (below + above) >> 1
        first = at + middle * RANGE_WORDS
        if blocks[first] < high or (blocks[first] == high and blocks[first + 1] <= low):
            below = middle + 1
        else:
            above = middle
    if below == 0:
        return False
    last = at + (below - 1) * RANGE_WORDS + 2
    return bool(blocks[last] > high or (blocks[last] == high and blocks[last + 1] >= low))


@compiled
def _swapped(word: int) -> int:
    """The number whose bytes in network order the word holds; one instruction when compiled."""
    value = unsigned(word)
    value = unsigned(value >> _8 & _BYTES | (value & _BYTES) << _8)
    value = unsigned(value >> _16 & _PAIRS | (value & _PAIRS) << _16)
    return unsigned(value >> _32 | value << _32)
