"""Usage records of one worker: a ring in a memory-mapped file, one writer, one reader.

    word 0   magic            "TRINITYU" as bytes
    word 1   layout version
    word 2   capacity         records, a power of two
    word 3   ring             number of the ring, and of the worker that writes it
    word 4   written          position behind the newest record; the worker alone writes it
    word 5   released         position behind the newest record that was taken over; the flusher alone writes it
    word 6   refused          records that found the ring full; the worker alone writes it
    word 7   counted          of the refused records, those that the flusher has counted; the flusher alone writes it
    word 8.. records, RECORD_WORDS words each; position p stands at p modulo capacity

Rules: positions only grow, over all lives of the file. They begin at the second of its creation times 2**24, and each
start of a node moves an empty ring on to the present second (`move_on`): so a position is never used twice, also when
the file was lost and made anew, or came back from an older copy. Position and ring together are the request id that
the client is shown. A record is written whole before `written` is published, and `written` is published before the
answer is sent: a worker that dies in between has answered nobody. The file lies on disk, so records survive the death
of every process of the node; its blocks are reserved at creation, so a full disk fails then and not later.
"""

import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, compiled_inline
from trinity.errors import LayoutError
from trinity.memory.atomics import Words, load_acquire, store_release

MAGIC = int.from_bytes(b"TRINITYU", "little")
LAYOUT_VERSION = 1
HEADER_WORDS = 8
WORD_BYTES = 8

_MAGIC, _VERSION, _CAPACITY, _RING, WRITTEN, RELEASED, REFUSED, _COUNTED = range(HEADER_WORDS)

RECORD_DTYPE = np.dtype(
    [
        ("time_ns", np.int64),  # wall clock
        ("request_id", np.uint64),  # ring << 56 | position
        ("address", np.uint8, 16),  # network order; IPv4 as ::ffff:a.b.c.d
        ("asset", "S16"),  # name; empty for no asset or several
        ("latency_ns", np.uint32),  # from the readable socket; 2**32 - 1 for longer
        ("key_id", np.uint32),  # api_keys.id, outcomes.ANONYMOUS_KEY_ID without a key
        ("status", np.uint16),  # HTTP's, also for datagrams
        ("assets", np.uint16),  # prices looked up
        ("protocol", np.uint8),  # index of outcomes.PROTOCOLS
        ("source", np.uint8),  # index of outcomes.SOURCES
        ("code", np.uint8),  # index of outcomes.CODES
        ("reserved", np.uint8),
    ],
    align=True,
)
RECORD_WORDS = RECORD_DTYPE.itemsize // WORD_BYTES
assert RECORD_DTYPE.itemsize == 64, "one cache line"

POSITION_BITS = 56
# The ids of answers that find the ring full, and so have no record: the highest bit, which no ring's number has.
_UNRECORDED = 1 << 63
_SECOND_SHIFT = 24  # 16.7 million records a second forever would be needed to reach the next start's positions
# A ring that was made anew or moved on begins at least this far ahead: a narrower gap is a loss.
JUMP_MIN = 1 << _SECOND_SHIFT
_LATENCY_NS_MAX = 2**32 - 1


class UsageRing:
    """One mapped ring; `words` is for the compiled writer."""

    def __init__(self, path: Path, words: Words) -> None:
        self.path = path
        self.words = words
        self.number = int(words[_RING])
        self.capacity = int(words[_CAPACITY])
        self._records: NDArray[np.void] = words[HEADER_WORDS:].view(RECORD_DTYPE)

    @classmethod
    def open(cls, path: Path, number: int, capacity: int, wall_seconds: int) -> "UsageRing":
        """Map the ring of worker `number`; made when it is not there.

        An existing ring keeps its capacity. Raises LayoutError for a file that is no whole ring of this number, OSError
        when the disk is full.
        """
        if not path.exists():
            _make(path, number, capacity, wall_seconds)
        _check(path, number)
        with path.open("r+b") as file:
            return cls(path, np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.uint64))

    @property
    def written(self) -> int:
        return int(load_acquire(self.words, WRITTEN))

    @property
    def released(self) -> int:
        return int(load_acquire(self.words, RELEASED))

    @property
    def refused(self) -> int:
        """Records that found the ring full since it was made."""
        return int(load_acquire(self.words, REFUSED))

    @property
    def counted(self) -> int:
        """Of those, the ones that the flusher has counted."""
        return int(load_acquire(self.words, _COUNTED))

    def count_refused(self, refused: int) -> None:
        """So many are counted now; only the flusher may call it."""
        store_release(self.words, _COUNTED, refused)

    def read(self, position: int, count: int) -> NDArray[np.void]:
        """A copy of up to `count` records from `position` on, which must not be released yet."""
        end = min(position + count, self.written)
        assert self.released <= position <= end, "only what is there and not given back"
        return self._records[np.arange(position, end) % self.capacity]

    def view(self, position: int) -> NDArray[np.void]:
        """The records from `position` on, as far as they lie in one piece; valid until they are released."""
        assert self.released <= position, "only what is not given back"
        at = position % self.capacity
        return self._records[at : at + self.written - position]

    def release(self, position: int) -> None:
        """Give back everything before `position`; only the flusher may call it."""
        assert self.released <= position <= self.written
        store_release(self.words, RELEASED, position)

    def move_on(self, wall_seconds: int) -> None:
        """Go on at positions that no ring of this number had before; only while it is empty and has no writer.

        The database may have more than this file knows: a failed machine forgets what was written last, and a data
        directory may come back from a backup. A process killed between the two words leaves a ring that is refused,
        and made anew.
        """
        assert self.released == self.written
        # Twice: the database may be ahead of `written` by nearly as much as a narrow gap.
        position = max(self.written + 2 * JUMP_MIN, _first_position(wall_seconds))
        store_release(self.words, RELEASED, position)
        store_release(self.words, WRITTEN, position)


@compiled_inline
def next_request_id(ring: Words) -> int:
    """The id of the record that will be appended next; one of its own while the ring is full. Unsigned, 64 bits."""
    number, position = ring[_RING] << np.uint64(POSITION_BITS), ring[WRITTEN]
    if position - load_acquire(ring, RELEASED) >= ring[_CAPACITY]:
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
    capacity = ring[_CAPACITY]
    if position - load_acquire(ring, RELEASED) >= capacity:
        ring[REFUSED] += np.uint64(1)
        return False
    at = HEADER_WORDS + np.int64(position & (capacity - np.uint64(1))) * RECORD_WORDS
    ring[at] = np.uint64(time_ns)
    ring[at + 1] = ring[_RING] << np.uint64(POSITION_BITS) | position
    ring[at + 2], ring[at + 3] = address[0], address[1]
    ring[at + 4], ring[at + 5] = asset[0], asset[1]
    ring[at + 6] = np.uint64(min(latency_ns, _LATENCY_NS_MAX)) | np.uint64(key_id) << np.uint64(32)
    small = status | assets << 16 | protocol << 32 | source << 40 | code << 48
    ring[at + 7] = np.uint64(small)
    store_release(ring, WRITTEN, position + np.uint64(1))
    return True


def private_ring(number: int, capacity: int, wall_seconds: int = 0) -> Words:
    """The words of a ring in no file, that no other process sees: for compiling, measuring and tests."""
    words = np.zeros(HEADER_WORDS + capacity * RECORD_WORDS, dtype=np.uint64)
    words[:HEADER_WORDS] = _make_header(number, capacity, wall_seconds)
    return words


def _make_header(number: int, capacity: int, wall_seconds: int) -> Words:
    assert capacity & (capacity - 1) == 0, "a power of two"
    header = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY, _RING]] = MAGIC, LAYOUT_VERSION, capacity, number
    header[[WRITTEN, RELEASED]] = _first_position(wall_seconds)
    return header


def _first_position(wall_seconds: int) -> int:
    return (wall_seconds << _SECOND_SHIFT) & ((1 << POSITION_BITS) - 1)


def _check(path: Path, number: int) -> None:
    """The header, and that the file has all its records; LayoutError."""
    with path.open("rb") as file:
        raw, size = file.read(HEADER_WORDS * WORD_BYTES), os.fstat(file.fileno()).st_size
    if len(raw) < HEADER_WORDS * WORD_BYTES:
        raise LayoutError(str(path), "size", HEADER_WORDS * WORD_BYTES, size)
    words = [int(word) for word in np.frombuffer(raw, dtype=np.uint64)]
    capacity, waiting = words[_CAPACITY], words[WRITTEN] - words[RELEASED]
    for what, expected, found in (
        ("magic", MAGIC, words[_MAGIC]),
        ("layout version", LAYOUT_VERSION, words[_VERSION]),
        ("ring", number, words[_RING]),
        ("size", (HEADER_WORDS + capacity * RECORD_WORDS) * WORD_BYTES, size),
        ("number of waiting records", min(max(waiting, 0), capacity), waiting),
    ):
        if found != expected:
            raise LayoutError(str(path), what, expected, found)
    if capacity == 0 or capacity & (capacity - 1):
        raise LayoutError(str(path), "capacity", 1 << capacity.bit_length(), capacity)


def _make(path: Path, number: int, capacity: int, wall_seconds: int) -> None:
    """Write the whole file under another name first, so that a half-made ring is never found."""
    header = _make_header(number, capacity, wall_seconds)
    draft = path.with_suffix(".new")
    with open(draft, "wb", opener=_private) as file:
        file.write(header.tobytes())
        file.flush()
        os.posix_fallocate(file.fileno(), 0, (HEADER_WORDS + capacity * RECORD_WORDS) * WORD_BYTES)
        os.fsync(file.fileno())
    draft.rename(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
