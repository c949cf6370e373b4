"""The usage record of an answer, and what a request worker does with its ring of them (record_ring.py).

Rules: position and ring together are the request id that the client is shown. A record is written whole before
`written` is published, and `written` is published before the answer is sent: a worker that dies in between has answered
nobody.
"""

import numpy as np

from trinity.compiled import compiled, compiled_inline
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.record_ring import (
    CAPACITY,
    HEADER_WORDS,
    POSITION_BITS,
    REFUSED,
    RELEASED,
    RING,
    WORD_BYTES,
    WRITTEN,
    RecordRing,
)

RECORD_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),  # wall clock
        ("request_id", np.uint64),  # ring << 56 | position
        ("address", np.uint8, 16),  # network order; IPv4 as ::ffff:a.b.c.d
        ("asset", "S16"),  # name; empty for no asset or several
        ("latency_ns", np.uint32),  # from the readable socket; 2**32 - 1 for longer
        ("key_id", np.uint32),  # api_keys.id, vocabulary.ANONYMOUS_KEY_ID without a key
        ("status", np.uint16),  # HTTP's, also for datagrams
        ("assets", np.uint16),  # prices looked up
        ("protocol", np.uint8),  # index of vocabulary.PROTOCOLS
        ("source", np.uint8),  # index of vocabulary.SOURCES
        ("code", np.uint8),  # index of vocabulary.CODES
        ("reserved", np.uint8),
    ],
    align=True,
)
RECORD_WORDS = RECORD_DTYPE.itemsize // WORD_BYTES
assert RECORD_DTYPE.itemsize == 64, "one cache line"

# The ids of answers that find the ring full, and so have no record: the highest bit, which no ring's number has.
_UNRECORDED = 1 << 63
_LATENCY_NS_MAX = 2**32 - 1


class UsageRing(RecordRing):
    """The ring of one request worker's usage records."""

    magic = int.from_bytes(b"TRINITYU", "little")
    folder = "usage"
    record_dtype = RECORD_DTYPE


@compiled_inline
def next_request_id(ring: Words) -> int:
    """The id of the record that will be appended next; one of its own while the ring is full. Unsigned, 64 bits."""
    number, position = ring[RING] << np.uint64(POSITION_BITS), ring[WRITTEN]
    if position - load_acquire(ring, RELEASED) >= ring[CAPACITY]:
        return np.uint64(_UNRECORDED) | number | ring[REFUSED]  # type: ignore[no-any-return]
    return number | position  # type: ignore[no-any-return]


@compiled
def append_record(
    ring: Words,
    time_ns: int,
    address: Words,
    asset: Words,
    latency_ns: int,
    key_id: int,
    status: int,
    assets: int,
    protocol: int,
    source: int,
    code: int,
) -> bool:
    """Publish one record; `address` and `asset` are two words of raw bytes each. False when the ring is full."""
    position = ring[WRITTEN]
    capacity = ring[CAPACITY]
    if position - load_acquire(ring, RELEASED) >= capacity:
        ring[REFUSED] += np.uint64(1)
        return False
    at = HEADER_WORDS + np.int64(position & (capacity - np.uint64(1))) * RECORD_WORDS
    ring[at] = np.uint64(time_ns)
    ring[at + 1] = ring[RING] << np.uint64(POSITION_BITS) | position
    ring[at + 2], ring[at + 3] = address[0], address[1]
    ring[at + 4], ring[at + 5] = asset[0], asset[1]
    ring[at + 6] = np.uint64(min(latency_ns, _LATENCY_NS_MAX)) | np.uint64(key_id) << np.uint64(32)
    small = status | assets << 16 | protocol << 32 | source << 40 | code << 48
    ring[at + 7] = np.uint64(small)
    store_release(ring, WRITTEN, position + np.uint64(1))
    return True


def private_ring(number: int, capacity: int) -> Words:
    """The words of a usage ring in no file: for compiling, measuring and tests."""
    return UsageRing.private_words(number, capacity)
