"""Records of one kind and one worker: a ring in a memory-mapped file, one writer, one reader.

    word 0   magic            the kind's, eight letters
    word 1   layout version
    word 2   capacity         records, a power of two
    word 3   ring             number of the ring, and of the worker that writes it
    word 4   written          position behind the newest record; the worker alone writes it
    word 5   released         position behind the newest record that was taken over; the flusher alone writes it
    word 6   refused          records that found the ring full; the worker alone writes it
    word 7   counted          of the refused records, those that the flusher has counted; the flusher alone writes it
    word 8.. records, each of as many words as the kind says; position p stands at p modulo capacity

Rules: a kind is a subclass that says its magic, its folder and its record, whose first two fields are `time_ns` (wall
clock) and the record's id: ring << 56 | position. Its compiled writer stands with it (usage_ring.py), and publishes
`written` when the record is whole. Positions only grow, over all lives of the file. They begin at the second of its
creation times 2**24, and each start of a node moves an empty ring on to the present second (`move_on`): so a position
is never used twice, also when the file was lost and made anew, or came back from an older copy. The file lies on disk,
so records survive the death of every process of the node; its blocks are reserved at creation, so a full disk fails
then and not later.
"""

import mmap
import os
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from trinity.errors import LayoutError
from trinity.files import Durability, write_whole
from trinity.memory.atomics import Words, load_acquire, store_release

LAYOUT_VERSION = 1
HEADER_WORDS = 8
WORD_BYTES = 8

_MAGIC, _VERSION, CAPACITY, RING, WRITTEN, RELEASED, REFUSED, _COUNTED = range(HEADER_WORDS)

POSITION_BITS = 56
_SECOND_SHIFT = 24  # 16.7 million records a second forever would be needed to reach the next start's positions
# A ring that was made anew or moved on begins at least this far ahead: a narrower gap is a loss.
JUMP_MIN = 1 << _SECOND_SHIFT


class RecordRing:
    """One mapped ring of a kind's records; `words` is for its compiled writer."""

    magic: ClassVar[int]
    folder: ClassVar[str]  # of the data directory, for the rings and whatever their records wait in on the disk
    record_dtype: ClassVar[np.dtype[np.void]]  # whole words; begins with `time_ns` and the record's id

    def __init__(self, path: Path, words: Words) -> None:
        self.path = path
        self.words = words
        self.number = int(words[RING])
        self.capacity = int(words[CAPACITY])
        self._records: NDArray[np.void] = words[HEADER_WORDS:].view(self.record_dtype)

    @classmethod
    def open(cls, path: Path, number: int, capacity: int, wall_seconds: int) -> Self:
        """Map the ring of worker `number`; made when it is not there.

        An existing ring keeps its capacity. Raises LayoutError for a file that is no whole ring of this number, OSError
        when the disk is full.
        """
        if not path.exists():
            _make(cls, path, number, capacity, wall_seconds)
        _check(cls, path, number)
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

    @classmethod
    def private_words(cls, number: int, capacity: int, wall_seconds: int = 0) -> Words:
        """The words of a ring in no file, that no other process sees: for compiling, measuring and tests."""
        words = np.zeros(_words_of(cls, capacity), dtype=np.uint64)
        words[:HEADER_WORDS] = _make_header(cls, number, capacity, wall_seconds)
        return words


def _make_header(kind: type[RecordRing], number: int, capacity: int, wall_seconds: int) -> Words:
    assert capacity & (capacity - 1) == 0, "a power of two"
    header = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, CAPACITY, RING]] = kind.magic, LAYOUT_VERSION, capacity, number
    header[[WRITTEN, RELEASED]] = _first_position(wall_seconds)
    return header


def _words_of(kind: type[RecordRing], capacity: int) -> int:
    return HEADER_WORDS + capacity * (kind.record_dtype.itemsize // WORD_BYTES)


def _first_position(wall_seconds: int) -> int:
    return (wall_seconds << _SECOND_SHIFT) & ((1 << POSITION_BITS) - 1)


def _check(kind: type[RecordRing], path: Path, number: int) -> None:
    """The header, and that the file has all its records; LayoutError."""
    with path.open("rb") as file:
        raw, size = file.read(HEADER_WORDS * WORD_BYTES), os.fstat(file.fileno()).st_size
    if len(raw) < HEADER_WORDS * WORD_BYTES:
        raise LayoutError(str(path), "size", HEADER_WORDS * WORD_BYTES, size)
    words = [int(word) for word in np.frombuffer(raw, dtype=np.uint64)]
    capacity, waiting = words[CAPACITY], words[WRITTEN] - words[RELEASED]
    for what, expected, found in (
        ("magic", kind.magic, words[_MAGIC]),
        ("layout version", LAYOUT_VERSION, words[_VERSION]),
        ("ring", number, words[RING]),
        ("size", _words_of(kind, capacity) * WORD_BYTES, size),
        ("number of waiting records", min(max(waiting, 0), capacity), waiting),
    ):
        if found != expected:
            raise LayoutError(str(path), what, expected, found)
    if capacity == 0 or capacity & (capacity - 1):
        raise LayoutError(str(path), "capacity", 1 << capacity.bit_length(), capacity)


def _make(kind: type[RecordRing], path: Path, number: int, capacity: int, wall_seconds: int) -> None:
    """Write the whole file under another name first, so that a half-made ring is never found."""
    header = _make_header(kind, number, capacity, wall_seconds)
    size = _words_of(kind, capacity) * WORD_BYTES
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=size)
