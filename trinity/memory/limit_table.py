"""Limits of API keys: rate and monthly quota of each key, in a memory-mapped file that outlives every process.

    word 0    magic            "TRINITYL" as bytes
    word 1    layout version
    word 2    capacity         keys, id 0 included
    word 3-4  boot id          of the boot whose monotonic clock the times are of
    word 5    wall offset      wall clock minus monotonic clock in nanoseconds, when it was last noted
    word 6-7  reserved
    word 8    nodes            of the cluster that shares these limits; 0: there is none
    word 9    exchanged at     monotonic nanoseconds of the last word from the other nodes; 10-15 reserved
    word 16.. moved            a bit for each key id, modulo MOVED_BITS: counted since the exchange looked
    then      key id 0, 1, 2 ...: eight words each, one cache line
                TAT            of the rate (gcra.py), monotonic nanoseconds
                quota          month (16 bits, at 48) | lookups in it (48 bits)
                free TAT       of the rate of calls that cost no month
                mistakes       minute of the monotonic clock (32 bits, at 32) | mistakes in it (32 bits)
                admitted       requests of the rate, ever; counted in a cluster alone, as the next one is
                refused        requests for which the rate had nothing, ever
                ceiling        what `admitted` may not pass: requests reserved from the cluster; 0: not asked for yet
                elsewhere      month (16 bits, at 48) | lookups in it at the other nodes (48 bits)

Rules: while its key lives, every word changes by compare-and-swap alone, so limits are exact across workers and a
killed one leaves nothing half done; ceiling and elsewhere have one writer, the exchange. In a cluster a request takes
one of those reserved; where the exchange was silent for LIMIT_EXCHANGE_AGE_MAX_NS a node has its share of the plan,
rate and burst divided by the nodes. Months are counted since the year 0. A month that lies one back is not believed
(a clock was set back: the quota is not given out again), nor is one before MONTH_FLOOR (a machine that boots in 1970
until it learns the time): the count goes on in the newest month. When the clock says otherwise that the newest month
seen is further ahead, that month was the error: its count is kept and goes on under the clock's month. The file's
blocks are reserved when it is made or grows: a full disk is an OSError then, and not a SIGBUS later. What the kernel
has not written when the machine itself goes down, some seconds of counts, is lost. A file of an earlier layout, which
had the first words of a key alone, is written anew as a whole and takes the old one's name: there is never half of one.
"""

import mmap
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled, compiled_inline
from trinity.errors import LayoutError
from trinity.files import Durability, write_whole
from trinity.limits import LIMIT_EXCHANGE_AGE_MAX_NS, LIMIT_EXCHANGE_NS, LIMIT_TRIES_MAX, MISTAKES_PER_MINUTE
from trinity.memory.atomics import Words, compare_and_swap, load_acquire, signed, store_release, unsigned
from trinity.memory.gcra import REMAINING, RETRY_NS, Numbers, consume, consume_interval, interval_of

# The bound that is kept from outside is 5 % over the plan in any 10 s; half of it is given before it is asked for.
CREDIT_WINDOW_NS, CREDIT_PARTS = 10 * NS_PER_SECOND, 40

MAGIC = int.from_bytes(b"TRINITYL", "little")
LAYOUT_VERSION = 3
# 32 KB, read through in 2 us; with more keys than bits a bit names several, which are then looked at.
MOVED_BITS = 2**18
MOVED_AT = 16
HEADER_WORDS = MOVED_AT + MOVED_BITS // 64
ENTRY_WORDS = 8
WORD_BYTES = 8
_MAGIC, _VERSION, _CAPACITY, _BOOT_ID, _, _WALL_OFFSET_NS, _, _, NODES, EXCHANGED_AT_NS = range(10)

TAT, QUOTA, _FREE_TAT, _MISTAKES, ADMITTED, REFUSED, CEILING, ELSEWHERE = range(ENTRY_WORDS)
# Words of the header, and of a key, in files of earlier layouts: the first ones of today's.
_BEFORE = {1: (8, 2), 2: (8, 4)}
# January 2026. This was written later, so no clock is right that shows a month before.
MONTH_FLOOR = 2026 * 12
MONTH_SHIFT = 48
COUNT_MASK = (1 << MONTH_SHIFT) - 1
_MONTH_BITS, _COUNT_BITS = np.uint64(MONTH_SHIFT), np.uint64(COUNT_MASK)
_MINUTE_NS = 60 * NS_PER_SECOND
_MINUTE_SHIFT = 32
_0 = np.uint64(0)
_MINUTE_BITS, _MISTAKE_BITS = np.uint64(_MINUTE_SHIFT), np.uint64(2**32 - 1)


class LimitTable:
    """Limits by key id; `words` is for compiled users."""

    def __init__(self, words: Words) -> None:
        self.words = words

    @classmethod
    def open(
        cls, path: Path, keys_max: int, boot_id: bytes, monotonic_ns: int, wall_ns: int, in_cluster: bool = False
    ) -> "LimitTable":
        """Map the file with room for ids up to `keys_max`; made when it is not there, never made smaller.

        Raises LayoutError for a file of another kind, OSError when the disk is full. A second user of the same file
        sees the same limits. In a cluster, as many nodes as last time are thought to be there until the exchange knows.
        """
        capacity = keys_max + 1
        if not path.exists():
            _make(path, capacity, boot_id, wall_ns - monotonic_ns)
        _upgrade(path)
        with path.open("r+b") as file:
            capacity = max(capacity, _capacity_of(path, file))
            os.posix_fallocate(file.fileno(), 0, bytes_needed(capacity))
            words: Words = np.frombuffer(mmap.mmap(file.fileno(), bytes_needed(capacity)), dtype=np.uint64)
        words[_CAPACITY] = capacity
        words[NODES] = max(int(words[NODES]), 1) if in_cluster else 0
        words[EXCHANGED_AT_NS] = 0
        table = cls(words)
        table._take_over(np.frombuffer(boot_id, dtype=np.uint64), wall_ns - monotonic_ns)
        return table

    @classmethod
    def look(cls, path: Path) -> "LimitTable | None":
        """The limits as they are, to be read alone; None where there is no file of this layout."""
        try:
            with path.open("rb") as file:
                _capacity_of(path, file)
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
        """Lookups that these keys have taken in this month, at the other nodes too; many at once, as quotas go by."""
        at = HEADER_WORDS + key_ids * ENTRY_WORDS
        is_there = at < self.words.size
        quotas, elsewheres = (
            np.where(is_there, self.words[np.where(is_there, at, HEADER_WORDS) + word], np.uint64(0))
            for word in (QUOTA, ELSEWHERE)
        )
        newest, counts = (quotas >> _MONTH_BITS).astype(np.int64), (quotas & _COUNT_BITS).astype(np.int64)
        believed = np.where((month < MONTH_FLOOR) | (month == newest - 1), newest, month)
        counts[(believed > newest) & (newest > 0)] = 0
        is_same = (elsewheres >> _MONTH_BITS).astype(np.int64) == believed
        return counts + np.where(is_same, (elsewheres & _COUNT_BITS).astype(np.int64), 0)

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
        for word in (TAT, _FREE_TAT):
            tats = self.words[HEADER_WORDS + word :: ENTRY_WORDS].view(np.int64)
            tats[:] = np.where(tats > 0, np.maximum(tats + shift_ns, 0), 0)


def bytes_needed(capacity: int) -> int:
    return _bytes_of(capacity, HEADER_WORDS, ENTRY_WORDS)


def _make(path: Path, capacity: int, boot_id: bytes, wall_offset_ns: int) -> None:
    """Write the whole file under another name first, so that a half-made one is never found."""
    header = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY, _WALL_OFFSET_NS]] = MAGIC, LAYOUT_VERSION, capacity, wall_offset_ns
    header[_BOOT_ID : _BOOT_ID + 2] = np.frombuffer(boot_id, dtype=np.uint64)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=bytes_needed(capacity))


def _upgrade(path: Path) -> None:
    """Bring a file of an earlier layout to this one with all that was counted; any other is left alone."""
    with path.open("rb") as file:
        version = int(_header_of(file)[_VERSION])
        if version not in _BEFORE:
            return
        header_words, entry_words = _BEFORE[version]
        capacity = _capacity_of(path, file, version, header_words, entry_words)
        file.seek(0)
        found = np.frombuffer(file.read(_bytes_of(capacity, header_words, entry_words)), dtype=np.uint64)
    header, entries = np.zeros(HEADER_WORDS, dtype=np.uint64), np.zeros((capacity, ENTRY_WORDS), dtype=np.uint64)
    header[:header_words] = found[:header_words]
    header[_VERSION] = LAYOUT_VERSION
    entries[:, :entry_words] = found[header_words:].reshape(capacity, entry_words)
    write_whole(path, [header.tobytes(), entries.tobytes()], Durability.SYNCED)


def _capacity_of(
    path: Path,
    file: BinaryIO,
    version: int = LAYOUT_VERSION,
    header_words: int = HEADER_WORDS,
    entry_words: int = ENTRY_WORDS,
) -> int:
    """Keys that a file of this layout has room for; LayoutError says what is different."""
    header = _header_of(file)
    found = {"magic": int(header[_MAGIC]), "layout version": int(header[_VERSION])}
    for what, expected in (("magic", MAGIC), ("layout version", version)):
        if found[what] != expected:
            raise LayoutError(str(path), what, expected, found[what])
    size, capacity = os.fstat(file.fileno()).st_size, int(header[_CAPACITY])
    if size < (needed := _bytes_of(capacity, header_words, entry_words)):
        raise LayoutError(str(path), "size", needed, size)
    return capacity


def _header_of(file: BinaryIO) -> Words:
    """Its first words, which every layout has."""
    file.seek(0)
    return np.frombuffer(file.read(8 * WORD_BYTES).ljust(8 * WORD_BYTES, b"\0"), np.uint64)


def _bytes_of(capacity: int, header_words: int, entry_words: int) -> int:
    return (header_words + capacity * entry_words) * WORD_BYTES


@compiled
def consume_key_rate(limits: Words, key_id: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one request of a key's rate (see gcra.consume), in a cluster one that is reserved for this node."""
    nodes = signed(load_acquire(limits, NODES))
    if nodes == 0:
        return consume(limits, HEADER_WORDS + key_id * ENTRY_WORDS + TAT, now_ns, rate, burst, found)
    at, interval_ns = HEADER_WORDS + key_id * ENTRY_WORDS, interval_of(rate)
    if now_ns - signed(load_acquire(limits, EXCHANGED_AT_NS)) <= LIMIT_EXCHANGE_AGE_MAX_NS:
        admitted = _consume_reserved(limits, at, now_ns, nodes, interval_ns, burst, found)
    else:
        bucket_ns = max(burst, nodes) * interval_ns
        admitted = consume_interval(limits, at + TAT, now_ns, nodes * interval_ns, bucket_ns, found)
        if admitted:
            _add(limits, at + ADMITTED, 1)
    if not admitted:
        _add(limits, at + REFUSED, 1)
    _mark_moved(limits, key_id)
    return admitted


@compiled_inline
def is_shared(limits: Words) -> bool:
    """Whether other nodes share these limits."""
    return signed(load_acquire(limits, NODES)) != 0


@compiled
def credit_of(nodes: int, interval_ns: int, burst: int) -> int:
    """Requests that a node may give of a rate before it has asked the others, at the plan's pace; at least one.

    What all further nodes may so give at once is within a part of what the plan gives in CREDIT_WINDOW_NS.
    """
    in_window = CREDIT_WINDOW_NS // interval_ns + burst
    if nodes <= 1:
        return in_window
    return max(in_window // (CREDIT_PARTS * (nodes - 1)), 1)


@compiled
def _consume_reserved(
    limits: Words, at: int, now_ns: int, nodes: int, interval_ns: int, burst: int, found: Numbers
) -> bool:
    """Take one of the requests that are reserved for this node, at the pace of the whole plan."""
    ceiling = signed(load_acquire(limits, at + CEILING))
    if ceiling == 0:
        ceiling = credit_of(nodes, interval_ns, burst)
    found[REMAINING], found[RETRY_NS] = 0, max(interval_ns, LIMIT_EXCHANGE_NS)
    for _ in range(LIMIT_TRIES_MAX):
        admitted = signed(load_acquire(limits, at + ADMITTED))
        if admitted >= ceiling:
            return False
        if compare_and_swap(limits, at + ADMITTED, admitted, admitted + 1):
            if consume_interval(limits, at + TAT, now_ns, interval_ns, burst * interval_ns, found):
                return True
            _add(limits, at + ADMITTED, -1)
            return False
    return False


@compiled
def _add(limits: Words, at: int, number: int) -> None:
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        if compare_and_swap(limits, at, word, signed(word) + number):
            return


@compiled_inline
def _mark_moved(limits: Words, key_id: int) -> None:
    """Tell the exchange that something was counted. Behind the count: whoever clears the bit first counts then."""
    at, bit = MOVED_AT + ((key_id & (MOVED_BITS - 1)) >> 6), np.uint64(1) << unsigned(key_id & 63)
    for _ in range(LIMIT_TRIES_MAX):
        word = unsigned(load_acquire(limits, at))
        if word & bit != _0 or compare_and_swap(limits, at, word, signed(word | bit)):
            return


@compiled
def consume_free_rate(limits: Words, key_id: int, now_ns: int, rate: int, burst: int, found: Numbers) -> bool:
    """Consume one call of the rate that a key has for what costs no month (see gcra.consume)."""
    return consume(limits, HEADER_WORDS + key_id * ENTRY_WORDS + _FREE_TAT, now_ns, rate, burst, found)


@compiled
def quota_left(limits: Words, key_id: int, month: int, monthly_quota: int) -> int:
    """How many lookups a key's month has left; takes nothing."""
    at = HEADER_WORDS + key_id * ENTRY_WORDS
    believed, count = _month_and_count(load_acquire(limits, at + QUOTA), month)
    return max(min(monthly_quota, COUNT_MASK) - count - _count_elsewhere(limits, at, believed), 0)


@compiled
def take_lookups(limits: Words, key_id: int, month: int, monthly_quota: int, lookups: int) -> int:
    """Take so many lookups, at least one, of a key's month: how many are left, -1 where it has not enough."""
    at = HEADER_WORDS + key_id * ENTRY_WORDS
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at + QUOTA)
        believed, count = _month_and_count(word, month)
        elsewhere = _count_elsewhere(limits, at, believed)
        if count + elsewhere + lookups > min(monthly_quota, COUNT_MASK):
            return -1
        if compare_and_swap(limits, at + QUOTA, word, believed << MONTH_SHIFT | count + lookups):
            if is_shared(limits):
                _mark_moved(limits, key_id)
            return monthly_quota - count - elsewhere - lookups
    return -1


@compiled
def count_lookups(limits: Words, key_id: int, month: int, lookups: int) -> None:
    """Count lookups of a month without a quota: the cluster tells how much of a key is used."""
    at = HEADER_WORDS + key_id * ENTRY_WORDS + QUOTA
    for _ in range(LIMIT_TRIES_MAX):
        word = load_acquire(limits, at)
        believed, count = _month_and_count(word, month)
        if compare_and_swap(limits, at, word, believed << MONTH_SHIFT | min(count + lookups, COUNT_MASK)):
            _mark_moved(limits, key_id)
            return


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


@compiled_inline
def _count_elsewhere(limits: Words, at: int, believed: int) -> int:
    """Lookups that the other nodes took of the month in which this one counts."""
    word = unsigned(load_acquire(limits, at + ELSEWHERE))
    return signed(word & _COUNT_BITS) if signed(word >> _MONTH_BITS) == believed else 0
