"""Limits of API keys: rate and monthly quota of each key, in a memory-mapped file that outlives every process.

    word 0    magic            "TRINITYL" as bytes
    word 1    layout version
    word 2    capacity         keys, id 0 included
    word 3-4  boot id          of the boot whose monotonic clock the times are of
    word 5    wall offset      wall clock minus monotonic clock in nanoseconds, when it was last noted
    word 6-7  reserved
    word 8..  key id 0, 1, 2 ...: two words each
                TAT            of the rate (gcra.py), monotonic nanoseconds
                quota          month (16 bits, at 48) | lookups in it (48 bits)

Rules: while its key lives, every word changes by compare-and-swap alone, so limits are exact across workers and a
killed one leaves nothing half done. Months are counted since the year 0. A month that lies one back is not believed
(a clock was set back: the quota is not given out again), nor is one before MONTH_FLOOR (a machine that boots in 1970
until it learns the time): the count goes on in the newest month. When the clock says otherwise that the newest month
seen is further ahead, that month was the error: its count is kept and goes on under the clock's month. The file's
blocks are reserved when it is made or grows: a full disk is an OSError then, and not a SIGBUS later. What the kernel
has not written when the machine itself goes down, some seconds of counts, is lost.
"""

import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled
from trinity.errors import LayoutError
from trinity.files import Durability, write_whole
from trinity.limits import LIMIT_TRIES_MAX
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed, store_release, unsigned
from trinity.memory.gcra import Numbers, consume

MAGIC = int.from_bytes(b"TRINITYL", "little")
LAYOUT_VERSION = 1
HEADER_WORDS = 8
ENTRY_WORDS = 2
WORD_BYTES = 8
_MAGIC, _VERSION, _CAPACITY, _BOOT_ID, _, _WALL_OFFSET_NS = range(6)

_TAT, _QUOTA = range(ENTRY_WORDS)
# January 2026. This was written later, so no clock is right that shows a month before.
MONTH_FLOOR = 2026 * 12
_MONTH_SHIFT = 48
_COUNT_MASK = (1 << _MONTH_SHIFT) - 1
_MONTH_BITS, _COUNT_BITS = np.uint64(_MONTH_SHIFT), np.uint64(_COUNT_MASK)


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
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            header = np.frombuffer(
                file.read(HEADER_WORDS * WORD_BYTES).ljust(HEADER_WORDS * WORD_BYTES, b"\0"), np.uint64
            )
            found = {"magic": int(header[_MAGIC]), "layout version": int(header[_VERSION])}
            for what, expected in (("magic", MAGIC), ("layout version", LAYOUT_VERSION)):
                if found[what] != expected:
                    raise LayoutError(str(path), what, expected, found[what])
            if size < bytes_needed(int(header[_CAPACITY])):
                raise LayoutError(str(path), "size", bytes_needed(int(header[_CAPACITY])), size)
            capacity = max(capacity, int(header[_CAPACITY]))
            os.posix_fallocate(file.fileno(), 0, bytes_needed(capacity))
            words: Words = np.frombuffer(mmap.mmap(file.fileno(), bytes_needed(capacity)), dtype=np.uint64)
        words[_CAPACITY] = capacity
        table = cls(words)
        table._take_over(np.frombuffer(boot_id, dtype=np.uint64), wall_ns - monotonic_ns)
        return table

    @classmethod
    def private(cls, keys_max: int) -> "LimitTable":
        """Limits that begin anew and that no other process sees."""
        words = np.zeros(HEADER_WORDS + (keys_max + 1) * ENTRY_WORDS, dtype=np.uint64)
        return cls(words)

    def note_clock(self, monotonic_ns: int, wall_ns: int) -> None:
        """Keep up with a wall clock that was set: after a reboot it alone connects the times. Any process may."""
        store_release(self.words, _WALL_OFFSET_NS, wall_ns - monotonic_ns)

    def forget(self, key_ids: NDArray[np.int64]) -> None:
        """Other keys have these ids now, of which nothing was counted. Only the access process may call it."""
        for word in range(ENTRY_WORDS):
            self.words[HEADER_WORDS + key_ids * ENTRY_WORDS + word] = 0

    def _take_over(self, boot_id: Words, wall_offset_ns: int) -> None:
        """After a reboot, move the times to the new boot's clock; killed on the way, TATs are at worst forgotten."""
        if (self.words[_BOOT_ID : _BOOT_ID + 2] == boot_id).all():
            return
        shift_ns = int(self.words[_WALL_OFFSET_NS].astype(np.int64)) - wall_offset_ns
        tats = self.words[HEADER_WORDS + _TAT :: ENTRY_WORDS].view(np.int64)
        self.words[_WALL_OFFSET_NS] = np.int64(wall_offset_ns).astype(np.uint64)
        self.words[_BOOT_ID : _BOOT_ID + 2] = boot_id
        tats[:] = np.where(tats > 0, np.maximum(tats + shift_ns, 0), 0)


def bytes_needed(capacity: int) -> int:
    return (HEADER_WORDS + capacity * ENTRY_WORDS) * WORD_BYTES


def _make(path: Path, capacity: int, boot_id: bytes, wall_offset_ns: int) -> None:
    """Write the whole file under another name first, so that a half-made one is never found."""
    header = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY, _WALL_OFFSET_NS]] = MAGIC, LAYOUT_VERSION, capacity, wall_offset_ns
    header[_BOOT_ID : _BOOT_ID + 2] = np.frombuffer(boot_id, dtype=np.uint64)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=bytes_needed(capacity))


@compiled
def consume_key_rate(limits: Words, key_id: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one request of a key's rate (see gcra.consume)."""
    return consume(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _TAT, now_ns, rate, burst, found)


@compiled
def has_quota(limits: Words, key_id: int, month: int, monthly_quota: int) -> bool:
    """Whether a key's month has a request left; takes nothing."""
    word = load_acquire(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA)
    return _month_and_count(word, month)[1] < min(monthly_quota, _COUNT_MASK)


@compiled
def take_quota(limits: Words, key_id: int, month: int, monthly_quota: int) -> int:
    """Take one request from a key's month: how many are left behind it, -1 when none was left."""
    at = HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        believed, count = _month_and_count(word, month)
        if count >= min(monthly_quota, _COUNT_MASK):
            return -1
        if compare_and_swap(limits, at, word, believed << _MONTH_SHIFT | count + 1):
            return monthly_quota - count - 1
    return -1


@compiled
def take_rest(limits: Words, key_id: int, month: int, monthly_quota: int, lookups: int) -> int:
    """Take what a request of several lookups costs beyond the one that `take_quota` took: how many are left, else -1.

    Where the month has not enough, the one is given back: a refusal takes nothing.
    """
    at = HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        believed, count = _month_and_count(word, month)
        enough = count + lookups - 1 <= min(monthly_quota, _COUNT_MASK)
        change = lookups - 1 if enough else -min(count, 1)
        if compare_and_swap(limits, at, word, believed << _MONTH_SHIFT | count + change):
            return monthly_quota - count - change if enough else -1
    return -1


@compiled
def quota_left(limits: Words, key_id: int, month: int, monthly_quota: int) -> int:
    """How many lookups a key's month has left."""
    word = load_acquire(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _QUOTA)
    return max(min(monthly_quota, _COUNT_MASK) - _month_and_count(word, month)[1], 0)


@compiled
def _month_and_count(word: int, month: int) -> tuple[int, int]:
    """The month that a request counts in, and how many it has, when the clock says `month` and the cell `word`."""
    newest, count = signed(unsigned(word) >> _MONTH_BITS), signed(unsigned(word) & _COUNT_BITS)
    if month < MONTH_FLOOR or month == newest - 1:
        return newest, count
    if month > newest and newest > 0:  # a key that began without a clock (month 0) keeps its count
        return month, 0
    return month, count
