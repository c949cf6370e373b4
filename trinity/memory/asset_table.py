"""The asset table: which assets outside the catalog the spare rows hold now, and which names were refused lately.

    words 0-15  header: five words of a secret, cells, index buckets - 1, refused buckets - 1, where the index and where
                the refused names begin, when the resolver was last there (monotonic), reserved
    cells       16 words each; cell i is asset `len(catalog.assets) + i` of the answer table and the price table
                  0     version         odd while the cell's name is changed, another even number behind it
                  1-2   name            upper case, filled up with zero bytes; zero: none
                  3     state           SpareState
                  4     valid_until_ns  monotonic: from then on the answer has to be asked for again
                  5     hot             bit i: the feed of exchange i is to have it on its sockets
                  6     rests_until_ns  of a free cell: nobody gets it before
                  7     reserved
                  8     asked_at_ns     when a worker last looked it up; the workers write these two
                  9     asked           how often, of all workers, some lost where two count at once
                  10-15 reserved
    index       buckets of 8 words, one cache line each: hash of the name << 16 | cell + 1; zero: free
    refused     buckets of 8 entries of 8 words: version (as a cell's), name (2), index of vocabulary.CODES, until_ns

Rules: one writer, the resolver; workers write heat alone. A name's hash is under a secret, so nobody can fill another's
bucket: it is multilinear, and so any two names share their 32 bits once in 2**32 secrets. A reader finds a cell with
its version, copies the answer record, and asks whether the version is still the same: a row that went to another asset
meanwhile is never served under the old name. A writer that is killed at any word leaves an odd version, which no reader
takes, or a name that no reader finds; `take_over` mends both. A freed cell rests before it gets another name, so that
whoever still writes its rows (a feed) has learnt of it.
"""

import enum
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.compiled import compiled, compiled_inline, jit_enabled
from trinity.limits import ASSET_NAME_BYTES_MAX, ASSET_REST_NS, REFUSED_NAMES, RESOLVER_AWAY_NS, SPARE_ASSETS
from trinity.memory.atomics import Words, load_acquire, read_fence, signed, store_release
from trinity.memory.segment import Segment
from trinity.vocabulary import CODE_OK

LAYOUT_VERSION = 1
LAYOUT_HASH = 0  # all of it is fixed by the version, and by the numbers in the header

ABSENT = -1
NAME_WORDS = ASSET_NAME_BYTES_MAX // 8

HEADER_WORDS = 16
_SECRET, _CELLS, _INDEX_MASK, _REFUSED_MASK, _INDEX_AT, _REFUSED_AT, _RESOLVER_AT_NS = 0, 5, 6, 7, 8, 9, 10
_SECRET_WORDS = 5
CELL_WORDS = 16
_VERSION, _NAME, _STATE, _VALID_UNTIL_NS, _HOT, _RESTS_UNTIL_NS, _ASKED_AT_NS, _ASKED = 0, 1, 3, 4, 5, 6, 8, 9
_BUCKET_SLOTS = 8
_ENTRY_WORDS = 8
_CODE, _UNTIL_NS = 3, 4  # of a refused name; its version and its name stand where a cell's do
_REFUSED_BUCKET_WORDS = _BUCKET_SLOTS * _ENTRY_WORDS
_CELL_BITS = 16
_CELL_MASK = (1 << _CELL_BITS) - 1

# What a word is: 64 bits of the machine, or an integer that the masks cut.
_word: Callable[[Any], int] = np.uint64 if jit_enabled() else int  # type: ignore[assignment]
_ALL_BITS, _HALF, _HALF_BITS = 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF, 32

_NAME_PATTERN = re.compile(rf"[A-Z0-9]{{1,{ASSET_NAME_BYTES_MAX}}}")


class SpareState(enum.IntEnum):
    """What a cell is to its readers."""

    FREE = 0
    RESOLVING = 1  # it has a name, and its rows are not that asset's yet
    ANSWERED = 2  # its rows are, until `valid_until_ns`


_RESOLVING, _ANSWERED = int(SpareState.RESOLVING), int(SpareState.ANSWERED)


class AssetCell(NamedTuple):
    """A cell that has a name, as it was at one moment."""

    cell: int
    version: int
    name: str
    state: SpareState
    valid_until_ns: int
    hot: int
    asked_at_ns: int
    asked: int


class AssetTable:
    """Assets outside the catalog; `words` is for compiled readers."""

    def __init__(self, words: Words, segment: Segment | None = None) -> None:
        self.words = words
        self.segment = segment
        self.count = int(words[_CELLS])
        self._cells = words[HEADER_WORDS : HEADER_WORDS + self.count * CELL_WORDS].reshape(self.count, CELL_WORDS)

    @classmethod
    def create(cls, name: str, cells: int = SPARE_ASSETS, refused: int = REFUSED_NAMES) -> "AssetTable":
        """Make an empty table with a new secret (see Segment.create for the errors)."""
        segment = Segment.create(name, LAYOUT_VERSION, LAYOUT_HASH, words_needed(cells, refused))
        return cls(_with_header(segment.body, cells, refused), segment)

    @classmethod
    def attach(cls, name: str) -> "AssetTable":
        """Open the table of a running node (see Segment.attach for the errors)."""
        segment = Segment.attach(name, LAYOUT_VERSION, LAYOUT_HASH)
        return cls(segment.body, segment)

    @classmethod
    def private(cls, cells: int = SPARE_ASSETS, refused: int = REFUSED_NAMES) -> "AssetTable":
        """An empty table that no other process sees."""
        return cls(_with_header(np.zeros(words_needed(cells, refused), dtype=np.uint64), cells, refused))

    # --- for any process -------------------------------------------------------------------------------------

    def find(self, name: str) -> AssetCell | None:
        """The cell of this name (upper case), None where it has none."""
        cell, version = find_asset(self.words, name_words(name))
        found = self._read(cell) if cell != ABSENT else None
        return found if found is not None and found.version == version else None

    def named(self) -> list[AssetCell]:
        """All cells that have a name, without those whose name changes just now."""
        cells = [self._read(int(cell)) for cell in np.flatnonzero(self._cells[:, _NAME])]
        return [cell for cell in cells if cell is not None]

    def versions(self) -> NDArray[np.uint64]:
        """A copy of all versions: whoever saw an even one and sees it again has seen the same name."""
        return self._cells[:, _VERSION].copy()

    def hot(self) -> NDArray[np.uint64]:
        """A copy of all hot words: a sweep shows what a feed is to have."""
        return self._cells[:, _HOT].copy()

    def refusal(self, name: str, now_ns: int) -> int:
        """Index of vocabulary.CODES that this name is refused with now, CODE_OK where it is not."""
        return int(refusal_of(self.words, name_words(name), now_ns))

    # --- for the resolver alone ------------------------------------------------------------------------------

    def take_over(self, now_ns: int) -> None:
        """Mend what a resolver before left in the middle; what it was resolving is free again."""
        for cell in range(self.count):
            if int(self._cells[cell, _VERSION]) & 1 or self._cells[cell, _STATE] == _RESOLVING:
                self._change(cell, SpareState.FREE, _NO_NAME, now_ns + ASSET_REST_NS)
        index_at, wanted = int(self.words[_INDEX_AT]), np.zeros(self._index_words, dtype=np.uint64)
        for cell in np.flatnonzero(self._cells[:, _NAME]).tolist():
            bucket, slot = self._place_of(self._cells[cell, _NAME : _NAME + NAME_WORDS].copy(), cell)
            free = np.flatnonzero(wanted[bucket : bucket + _BUCKET_SLOTS] == 0)
            assert free.size, "a cell gets its name only where its bucket has a slot"
            wanted[bucket + free[0]] = slot
        for place in np.flatnonzero(wanted != self.words[index_at : index_at + wanted.size]):
            self._store(index_at + int(place), int(wanted[place]))

    def beat(self, now_ns: int) -> None:
        """Say that the resolver is there: without it nobody waits for a name."""
        self._store(_RESOLVER_AT_NS, now_ns)

    def reserve(self, name: str, now_ns: int) -> int | None:
        """Give a free cell to a name that has none, as RESOLVING; None where no cell has rested, or its bucket is full.

        Its rows are still the former asset's: they must be written before `answer`.
        """
        words = name_words(name)
        cells = np.flatnonzero((self._cells[:, _STATE] == 0) & (self._cells[:, _RESTS_UNTIL_NS] <= now_ns))
        if not cells.size:
            return None
        cell = int(cells[0])
        bucket, slot = self._place_of(words, cell)
        bucket += int(self.words[_INDEX_AT])
        free = np.flatnonzero(self.words[bucket : bucket + _BUCKET_SLOTS] == 0)
        if not free.size:
            return None
        self._change(cell, SpareState.RESOLVING, words, 0)
        self._store(bucket + int(free[0]), slot)
        return cell

    def answer(self, cell: int, valid_until_ns: int) -> None:
        """A cell's rows are its asset's, until then; also when they were renewed."""
        at = self._at(cell)
        self._store(at + _VALID_UNTIL_NS, valid_until_ns)
        self._store(at + _STATE, _ANSWERED)

    def set_hot(self, cell: int, exchanges: int) -> None:
        """Which feeds are to have it on their sockets: bit i is exchange i."""
        self._store(self._at(cell) + _HOT, exchanges)

    def free(self, cell: int, now_ns: int) -> None:
        """Take the cell from its asset; it rests before another gets it."""
        bucket, slot = self._place_of(self._cells[cell, _NAME : _NAME + NAME_WORDS].copy(), cell)
        bucket += int(self.words[_INDEX_AT])
        for at in np.flatnonzero(self.words[bucket : bucket + _BUCKET_SLOTS] == slot):
            self._store(bucket + int(at), 0)
        self._change(cell, SpareState.FREE, _NO_NAME, now_ns + ASSET_REST_NS)

    def refuse(self, name: str, code: int, until_ns: int) -> None:
        """Whoever asks for this name until then is refused with this code; the refusal that ends first gives way."""
        words = name_words(name)
        mask, start = int(self.words[_REFUSED_MASK]), int(self.words[_REFUSED_AT])
        start += (int(_hash_of(self.words, words)) & mask) * _REFUSED_BUCKET_WORDS
        entries = self.words[start : start + _REFUSED_BUCKET_WORDS].reshape(_BUCKET_SLOTS, _ENTRY_WORDS)
        same = np.flatnonzero((entries[:, _NAME] == words[0]) & (entries[:, _NAME + 1] == words[1]))
        which = int(same[0]) if same.size else int(np.argmin(entries[:, _UNTIL_NS]))
        at = start + which * _ENTRY_WORDS
        version = int(self.words[at]) | 1
        self._store(at, version)
        for i, word in enumerate((int(words[0]), int(words[1]), code, until_ns)):
            self._store(at + _NAME + i, word)
        self._store(at, version + 1)

    # --- below -----------------------------------------------------------------------------------------------

    def _change(self, cell: int, state: SpareState, name: Words, rests_until_ns: int) -> None:
        """Give a cell another name, or none, and with it nothing of what it was before."""
        at = self._at(cell)
        version = int(self.words[at]) | 1
        self._store(at, version)
        for word, value in (
            (_NAME, int(name[0])), (_NAME + 1, int(name[1])), (_STATE, int(state)), (_VALID_UNTIL_NS, 0), (_HOT, 0),
            (_RESTS_UNTIL_NS, rests_until_ns), (_ASKED_AT_NS, 0), (_ASKED, 0),
        ):  # fmt: skip
            self._store(at + word, value)
        self._store(at, version + 1)

    def _store(self, at: int, value: int) -> None:
        store_release(self.words, at, np.uint64(value))  # type: ignore[arg-type]

    def _read(self, cell: int) -> AssetCell | None:
        at = self._at(cell)
        version = int(load_acquire(self.words, at))
        found = self.words[at : at + CELL_WORDS].copy()
        if version & 1 or not found[_NAME] or int(load_acquire(self.words, at)) != version:
            return None
        return AssetCell(
            cell=cell,
            version=version,
            name=text_of(found[_NAME : _NAME + NAME_WORDS]),
            state=SpareState(int(found[_STATE])),
            valid_until_ns=int(found[_VALID_UNTIL_NS]),
            hot=int(found[_HOT]),
            asked_at_ns=int(found[_ASKED_AT_NS]),
            asked=int(found[_ASKED]),
        )

    def _place_of(self, words: Words, cell: int) -> tuple[int, int]:
        """The first word of a name's bucket in the index, and what stands there for this cell."""
        hashed = int(_hash_of(self.words, words))
        return (hashed & int(self.words[_INDEX_MASK])) * _BUCKET_SLOTS, hashed << _CELL_BITS | cell + 1

    @property
    def _index_words(self) -> int:
        return (int(self.words[_INDEX_MASK]) + 1) * _BUCKET_SLOTS

    def _at(self, cell: int) -> int:
        if not 0 <= cell < self.count:
            raise IndexError(f"no cell {cell} of {self.count}")
        return HEADER_WORDS + cell * CELL_WORDS


_NO_NAME: Words = np.zeros(NAME_WORDS, dtype=np.uint64)


def words_needed(cells: int, refused: int) -> int:
    """Words of a table with so many cells and room for so many refused names, which is rounded up."""
    return HEADER_WORDS + cells * CELL_WORDS + (_buckets(cells) + _buckets(refused // 8) * _ENTRY_WORDS) * 8


def name_words(name: str) -> Words:
    """A name as the table holds it; ValueError for one that no asset can have."""
    if not _NAME_PATTERN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an asset: 1 to {ASSET_NAME_BYTES_MAX} of A-Z and 0-9")
    return np.frombuffer(name.encode().ljust(ASSET_NAME_BYTES_MAX, b"\0"), dtype=np.uint64).copy()


def text_of(words: Words) -> str:
    """The name that these words hold."""
    return words.tobytes().rstrip(b"\0").decode()


def _with_header(words: Words, cells: int, refused: int) -> Words:
    assert 0 < cells < _CELL_MASK, "a cell's number has 16 bits"
    words[_SECRET : _SECRET + _SECRET_WORDS] = np.frombuffer(os.urandom(8 * _SECRET_WORDS), dtype=np.uint64)
    index_at = HEADER_WORDS + cells * CELL_WORDS
    words[_CELLS], words[_INDEX_MASK], words[_REFUSED_MASK] = cells, _buckets(cells) - 1, _buckets(refused // 8) - 1
    words[_INDEX_AT], words[_REFUSED_AT] = index_at, index_at + _buckets(cells) * _BUCKET_SLOTS
    return words


def _buckets(wanted: int) -> int:
    """The next power of two: a bucket of eight slots for each cell, so that one of 512 is full once in 2,000 tables."""
    return 1 << max(wanted - 1, 0).bit_length()


# --- compiled readers -----------------------------------------------------------------------------------------


@compiled
def _hash_of(assets: Words, name: Words) -> int:
    """32 bits of the name (two words) under the secret."""
    total = _word(assets[_SECRET])
    for i in range(NAME_WORDS):
        word = _word(name[i])
        total = (total + _word(assets[_SECRET + 1 + 2 * i]) * (word & _word(_HALF))) & _word(_ALL_BITS)
        total = (total + _word(assets[_SECRET + 2 + 2 * i]) * (word >> _word(_HALF_BITS))) & _word(_ALL_BITS)
    return signed(total >> _word(_HALF_BITS))


@compiled
def find_asset(assets: Words, name: Words) -> tuple[int, int]:
    """(cell, version) of the cell that has this name (two words), ABSENT where none has."""
    hashed = _hash_of(assets, name)
    bucket = signed(assets[_INDEX_AT]) + (hashed & signed(assets[_INDEX_MASK])) * _BUCKET_SLOTS
    for i in range(_BUCKET_SLOTS):
        slot = signed(load_acquire(assets, bucket + i))
        if slot != 0 and slot >> _CELL_BITS == hashed:
            cell = (slot & _CELL_MASK) - 1
            at = HEADER_WORDS + cell * CELL_WORDS
            version = signed(load_acquire(assets, at + _VERSION))
            if version & 1 == 0 and assets[at + _NAME] == name[0] and assets[at + _NAME + 1] == name[1]:
                read_fence()
                if signed(load_acquire(assets, at + _VERSION)) == version:
                    return cell, version
    return ABSENT, 0


@compiled
def is_answered(assets: Words, cell: int, now_ns: int) -> bool:
    """Whether a cell's rows are its asset's now; `is_unchanged` says afterwards whether it still was that asset's."""
    at = HEADER_WORDS + cell * CELL_WORDS
    state = signed(load_acquire(assets, at + _STATE))
    return state == _ANSWERED and now_ns < signed(load_acquire(assets, at + _VALID_UNTIL_NS))


@compiled
def is_resolving(assets: Words, cell: int) -> bool:
    """Whether somebody has asked for it and it has not been answered yet."""
    return signed(load_acquire(assets, HEADER_WORDS + cell * CELL_WORDS + _STATE)) == _RESOLVING


@compiled
def is_unchanged(assets: Words, cell: int, version: int) -> bool:
    """Whether the cell has had the same name all the time since it had this version; what was read before, is its."""
    read_fence()
    return signed(load_acquire(assets, HEADER_WORDS + cell * CELL_WORDS + _VERSION)) == version


@compiled
def note_asked(assets: Words, cell: int, now_ns: int) -> None:
    """Count a lookup of the cell: the resolver keeps what is hot, and takes what is cold."""
    at = HEADER_WORDS + cell * CELL_WORDS
    store_release(assets, at + _ASKED_AT_NS, now_ns)
    store_release(assets, at + _ASKED, signed(assets[at + _ASKED]) + 1)


@compiled
def refusal_of(assets: Words, name: Words, now_ns: int) -> int:
    """Index of vocabulary.CODES that this name is refused with now, CODE_OK where it is not."""
    hashed = _hash_of(assets, name)
    bucket = signed(assets[_REFUSED_AT]) + (hashed & signed(assets[_REFUSED_MASK])) * _REFUSED_BUCKET_WORDS
    for i in range(_BUCKET_SLOTS):
        at = bucket + i * _ENTRY_WORDS
        version = signed(load_acquire(assets, at + _VERSION))
        if version & 1 == 0 and assets[at + _NAME] == name[0] and assets[at + _NAME + 1] == name[1]:
            code, until_ns = signed(assets[at + _CODE]), signed(assets[at + _UNTIL_NS])
            read_fence()
            if now_ns < until_ns and signed(load_acquire(assets, at + _VERSION)) == version:
                return code
    return CODE_OK


@compiled_inline
def is_resolver_there(assets: Words, now_ns: int) -> bool:
    """Whether somebody answers who asks for a name."""
    return now_ns < signed(load_acquire(assets, _RESOLVER_AT_NS)) + RESOLVER_AWAY_NS
