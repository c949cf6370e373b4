"""Limits of API keys: rate and monthly quota of each key, in a memory-mapped file that outlives every process.

    word 0    magic            "TRINITYL" as bytes
    word 1    layout version
    word 2    capacity         keys, id 0 included
    word 3-4  boot id          of the boot whose monotonic clock the times are of
    word 5    wall offset      wall clock minus monotonic clock in nanoseconds, when it was last noted
    word 6-7  reserved
    word 8..  key id 0, 1, 2 ...: four words each
                TAT            of the rate (gcra.py), monotonic nanoseconds
                quota          month (16 bits, at 48) | lookups in it (48 bits)
                free TAT       of the rate of calls that cost no month
                mistakes       minute of the monotonic clock (32 bits, at 32) | mistakes in it (32 bits)

Rules: while its key lives, every word changes by compare-and-swap alone, so limits are exact across workers and a
killed one leaves nothing half done. Months are counted since the year 0. A month that lies one back is not believed
(a clock was set back: the quota is not given out again), nor is one before MONTH_FLOOR (a machine that boots in 1970
until it learns the time): the count goes on in the newest month. When the clock says otherwise that the newest month
seen is further ahead, that month was the error: its count is kept and goes on under the clock's month. The file's
blocks are reserved when it is made or grows: a full disk is an OSError then, and not a SIGBUS later. What the kernel
has not written when the machine itself goes down, some seconds of counts, is lost. A file of layout 1, which had the
first two words of a key alone, is written anew as a whole and takes the old one's name: there is never half of one.
"""

import mmap
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.errors import LayoutError
from trinity.files import Durability, write_whole
from trinity.limits import LIMIT_TRIES_MAX, MISTAKES_PER_MINUTE
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed, store_release, unsigned
from trinity.memory.gcra import Numbers, consume

MAGIC = int.from_bytes(b"TRINITYL", "little")
LAYOUT_VERSION = 2
HEADER_WORDS = 8
ENTRY_WORDS = 4
WORD_BYTES = 8
_MAGIC, _VERSION, _CAPACITY, _BOOT_ID, _, _WALL_OFFSET_NS = range(6)

_TAT, _QUOTA, _FREE_TAT, _MISTAKES = range(ENTRY_WORDS)
# A key's words in a file of layout 1: the first ones of today's.
_ENTRY_WORDS_1 = 2
# January 2026. This was written later, so no clock is right that shows a month before.
MONTH_FLOOR = 2026 * 12
_MONTH_SHIFT = 48
_COUNT_MASK = (1 << _MONTH_SHIFT) - 1
_MONTH_BITS, _COUNT_BITS = np.uint64(_MONTH_SHIFT), np.uint64(_COUNT_MASK)
_MINUTE_NS = 60 * NS_PER_SECOND
_MINUTE_SHIFT = 32
_MINUTE_BITS, _MISTAKE_BITS = np.uint64(_MINUTE_SHIFT), np.uint64(2**32 - 1)


class LimitTable:
    """Limits by key id; `words` is for compiled users."""

    def __init__(self, words: Words) -> None:
        self.words = words

    @classmethod
    def open(cls, path: Path, keys_max: int, boot_id: bytes, monotonic_ns: int, wall_ns: int) -> "LimitTable":
        """Map the file with room for ids up to `keys_max`; made when it is not there, never made smaller.

        Raises LayoutError for a file of another kind, OSError when the disk is full. A second user of the same file
        sees the same limits.
        """
        capacity = keys_max + 1
        if not path.exists():
            _make(path, capacity, boot_id, wall_ns - monotonic_ns)
        _upgrade(path)
        with path.open("r+b") as file:
            capacity = max(capacity, _capacity_of(path, file, LAYOUT_VERSION, ENTRY_WORDS))
            os.posix_fallocate(file.fileno(), 0, bytes_needed(capacity))
            words: Words = np.frombuffer(mmap.mmap(file.fileno(), bytes_needed(capacity)), dtype=np.uint64)
        words[_CAPACITY] = capacity
        table = cls(words)
        table._take_over(np.frombuffer(boot_id, dtype=np.uint64), wall_ns - monotonic_ns)
        return table

    @classmethod
    def look(cls, path: Path) -> "LimitTable | None":
        """The limits as they are, to be read alone; None where there is no file of this layout."""
        try:
            with path.open("rb") as file:
                _capacity_of(path, file, LAYOUT_VERSION, ENTRY_WORDS)
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, LayoutError):
            return None
        return cls(np.frombuffer(mapped, dtype=np.uint64))

    @classmethod
    def private(cls, keys_max: int) -> "LimitTable":
        """Limits that begin anew and that no other process sees."""
        words = np.zeros(HEADER_WORDS + (keys_max + 1) * ENTRY_WORDS, dtype=np.uint64)
        return cls(words)

    def note_clock(self, monotonic_ns: int, wall_ns: int) -> None:
        """Keep up with a wall clock that was set: after a reboot it alone connects the times. Any process may."""
        store_release(self.words, _WALL_OFFSET_NS, wall_ns - monotonic_ns)

    def used(self, key_ids: NDArray[np.int64], month: int) -> NDArray[np.int64]:
        """Lookups that these keys have taken in this month; as `_month_and_count` has it, of many at once."""
        at = HEADER_WORDS + key_ids * ENTRY_WORDS + _QUOTA
        words = np.where(at < self.words.size, self.words[np.minimum(at, self.words.size - 1)], np.uint64(0))
        newest, counts = (words >> _MONTH_BITS).astype(np.int64), (words & _COUNT_BITS).astype(np.int64)
        is_over = (month >= MONTH_FLOOR) & (newest > 0) & (newest < month)
        return np.where(is_over, 0, counts)

    def forget(self, key_ids: NDArray[np.int64]) -> None:
        """Other keys have these ids now, of which nothing was counted. Only the access process may call it."""
        for word in range(ENTRY_WORDS):
            self.words[HEADER_WORDS + key_ids * ENTRY_WORDS + word] = 0

    def _take_over(self, boot_id: Words, wall_offset_ns: int) -> None:
        """After a reboot, move the times to the new boot's clock; killed on the way, TATs are at worst forgotten."""
        if (self.words[_BOOT_ID : _BOOT_ID + 2] == boot_id).all():
            return
        shift_ns = int(self.words[_WALL_OFFSET_NS].astype(np.int64)) - wall_offset_ns
        self.words[HEADER_WORDS + _MISTAKES :: ENTRY_WORDS] = 0  # of minutes of the other clock
        self.words[_WALL_OFFSET_NS] = np.int64(wall_offset_ns).astype(np.uint64)
        self.words[_BOOT_ID : _BOOT_ID + 2] = boot_id
        for word in (_TAT, _FREE_TAT):
            tats = self.words[HEADER_WORDS + word :: ENTRY_WORDS].view(np.int64)
            tats[:] = np.where(tats > 0, np.maximum(tats + shift_ns, 0), 0)


def bytes_needed(capacity: int) -> int:
    return _bytes_of(capacity, ENTRY_WORDS)


def _make(path: Path, capacity: int, boot_id: bytes, wall_offset_ns: int) -> None:
    """Write the whole file under another name first, so that a half-made one is never found."""
    header = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY, _WALL_OFFSET_NS]] = MAGIC, LAYOUT_VERSION, capacity, wall_offset_ns
    header[_BOOT_ID : _BOOT_ID + 2] = np.frombuffer(boot_id, dtype=np.uint64)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=bytes_needed(capacity))


def _upgrade(path: Path) -> None:
    """Bring a file of layout 1 to this one with all that was counted; any other is left alone."""
    with path.open("rb") as file:
        if _header_of(file)[_VERSION] != 1:
            return
        capacity = _capacity_of(path, file, 1, _ENTRY_WORDS_1)
        file.seek(0)
        found = np.frombuffer(file.read(_bytes_of(capacity, _ENTRY_WORDS_1)), dtype=np.uint64)
    header, entries = found[:HEADER_WORDS].copy(), np.zeros((capacity, ENTRY_WORDS), dtype=np.uint64)
    header[_VERSION] = LAYOUT_VERSION
    entries[:, :_ENTRY_WORDS_1] = found[HEADER_WORDS:].reshape(capacity, _ENTRY_WORDS_1)
    write_whole(path, [header.tobytes(), entries.tobytes()], Durability.SYNCED)


def _capacity_of(path: Path, file: BinaryIO, version: int, entry_words: int) -> int:
    """Keys that a file of this layout has room for; LayoutError says what is different."""
    header = _header_of(file)
    found = {"magic": int(header[_MAGIC]), "layout version": int(header[_VERSION])}
    for what, expected in (("magic", MAGIC), ("layout version", version)):
        if found[what] != expected:
            raise LayoutError(str(path), what, expected, found[what])
    size, capacity = os.fstat(file.fileno()).st_size, int(header[_CAPACITY])
    if size < _bytes_of(capacity, entry_words):
        raise LayoutError(str(path), "size", _bytes_of(capacity, entry_words), size)
    return capacity


def _header_of(file: BinaryIO) -> Words:
    file.seek(0)
    return np.frombuffer(file.read(HEADER_WORDS * WORD_BYTES).ljust(HEADER_WORDS * WORD_BYTES, b"\0"), np.uint64)


def _bytes_of(capacity: int, entry_words: int) -> int:
    return (HEADER_WORDS + capacity * entry_words) * WORD_BYTES


@compiled
def consume_key_rate(limits: Words, key_id: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one request of a key's rate (see gcra.consume)."""
    return consume(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _TAT, now_ns, rate, burst, found)


@compiled
def consume_free_rate(limits: Words, key_id: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one call of the rate that a key has for what costs no month (see gcra.consume)."""
    return consume(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _FREE_TAT, now_ns, rate, burst, found)


@compiled
def quota_left(limits: Words, key_id: int, month: int, monthly_quota: int) -> int:
    """How many lookups a key's month has left; takes nothing."""
    word = load_acquire(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA)
    return max(min(monthly_quota, _COUNT_MASK) - _month_and_count(word, month)[1], 0)


@compiled
def take_lookups(limits: Words, key_id: int, month: int, monthly_quota: int, lookups: int) -> int:
    """Take so many lookups, at least one, of a key's month: how many are left, -1 where it has not enough."""
    at = HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        believed, count = _month_and_count(word, month)
        if count + lookups > min(monthly_quota, _COUNT_MASK):
            return -1
        if compare_and_swap(limits, at, word, believed << _MONTH_SHIFT | count + lookups):
            return monthly_quota - count - lookups
    return -1


@compiled
def forgive_mistake(limits: Words, key_id: int, now_ns: int) -> bool:
    """Count one of the mistakes that a key may make in this minute for nothing; False when there were as many."""
    at, minute = HEADER_WORDS + key_id * ENTRY_WORDS + _MISTAKES, now_ns // _MINUTE_NS
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        counted, count = signed(unsigned(word) >> _MINUTE_BITS), signed(unsigned(word) & _MISTAKE_BITS)
        if counted != minute and counted != minute + 1:  # one ahead: a worker's turn that began a moment ago
            counted, count = minute, 0
        if count >= MISTAKES_PER_MINUTE:
            return False
        if compare_and_swap(limits, at, word, counted << _MINUTE_SHIFT | count + 1):
            return True
    return False


@compiled
def _month_and_count(word: int, month: int) -> tuple[int, int]:
    """The month that a request counts in, and how many it has, when the clock says `month` and the cell `word`."""
    newest, count = signed(unsigned(word) >> _MONTH_BITS), signed(unsigned(word) & _COUNT_BITS)
    if month < MONTH_FLOOR or month == newest - 1:
        return newest, count
    if month > newest and newest > 0:  # a key that began without a clock (month 0) keeps its count
        return month, 0
    return month, count
