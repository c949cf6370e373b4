"""One-minute candles of the consensus prices: a memory-mapped file for each asset, one writer, one reader.

    word 0     magic          "TRINITYM" as bytes
    word 1     layout version
    word 2     capacity       closed minutes
    word 3     written        position behind the newest closed minute; the consensus process alone writes it
    word 4     released       position behind the newest minute that is in the database; the flusher alone writes it
    word 5-6   asset          its name, filled up with zero bytes
    word 7     reserved
    cell       the running minute (cell.py): counter line, then two slots of one record
    ring       closed minutes, one record each; position p stands at p modulo capacity

Rules: the files lie on disk under their assets' names, so minutes survive the death of every process, and a changed
catalog never mixes two assets. A minute without a price has no record. When the reader stays away for longer than the
ring holds, the oldest minutes are overwritten; the reader sees that by the positions and takes no torn record. Prices
are integers of 10**-20: exact for every price that the consensus gives. Blocks are reserved at creation, so a full
disk fails then and not later. A closed record has a checksum, for the power that fails.
"""

import logging
import mmap
import os
import zlib
from collections.abc import Iterator
from decimal import Context, Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trinity.errors import LayoutError
from trinity.files import Durability, write_whole
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.memory.atomics import Words, load_acquire, store_release
from trinity.memory.cell import WORD_BYTES, cell_words, publish, snapshot

MAGIC = int.from_bytes(b"TRINITYM", "little")
LAYOUT_VERSION = 1
HEADER_WORDS = 8
_MAGIC, _VERSION, _CAPACITY, _WRITTEN, _RELEASED, _ASSET = range(6)

# Where the files are, in the data directory.
CANDLES = "candles"
# 34 hours: the database may be away for a day. 0.3 MB an asset.
CAPACITY = 2048
# A price has 18 digits, the mean of means two more: 10**18 * 10**20 still fits 128 bits, times a minute 192 bits.
EXPONENT = 20
_WIDE = Context(prec=64)

# One record: a minute and, while it runs, what stands in it. Wide numbers are 64-bit words, the lowest first.
CANDLE_DTYPE = np.dtype(
    [
        ("minute", np.int64),  # since 1970; 0: there is none
        ("prices", np.int64, 10),  # OPEN, HIGH, LOW, CLOSE, CONFIDENCE: two words each
        ("weighted_sum", np.int64, 3),
        ("weighted_ms", np.int32),
        ("samples", np.int32),
        ("sources", np.uint16),
        ("stands", np.uint16),  # 1: the newest price may still be served
        ("reserved", np.uint32),
        ("since_ms", np.int64),  # 0 when nothing stands, as the next
        ("until_ms", np.int64),
        ("checksum", np.uint64),  # CRC-32 of all before it, made when the record is written
    ],
    align=True,
)
OPEN, HIGH, LOW, CLOSE, CONFIDENCE = range(5)
RECORD_WORDS = CANDLE_DTYPE.itemsize // WORD_BYTES
assert CANDLE_DTYPE.itemsize % WORD_BYTES == 0, "records are whole words"
_CHECKED_BYTES = CANDLE_DTYPE.itemsize - WORD_BYTES
_PRICE_BYTES, _SUM_BYTES = 16, 24
_RING = HEADER_WORDS + cell_words(RECORD_WORDS)


class Minute(NamedTuple):
    """One minute of an asset; `minute` counts from 1970, prices and sum are integers of 10**-EXPONENT.

    The price is a step function: `open` is the one that stood when the minute began, else the first of the minute.
    `samples` are the prices published in it. `weighted_sum` is price times milliseconds that it stood.
    """

    minute: int
    open: int
    high: int
    low: int
    close: int
    confidence: int
    weighted_sum: int
    weighted_ms: int
    samples: int
    sources: int


class Standing(NamedTuple):
    """The newest price of the running minute while it may be served: weighted up to `since_ms` (wall clock)."""

    since_ms: int
    until_ms: int


class CandleFile:
    """One asset's minutes; `append` and `write_running` are the writer's, `release` is the reader's.

    Candles are records of CANDLE_DTYPE.
    """

    def __init__(self, path: Path, words: Words, inode: int) -> None:
        self.path = path
        self.inode = inode
        self.asset = words[_ASSET : _ASSET + 2].tobytes().rstrip(b"\0").decode()
        self.capacity = int(words[_CAPACITY])
        self._words = words
        self._scratch: Words = np.zeros(RECORD_WORDS, dtype=np.uint64)

    @classmethod
    def open(cls, folder: Path, asset: str) -> "CandleFile":
        """Map an asset's file; made when it is not there. LayoutError for another layout, OSError for a full disk."""
        path = folder / asset
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _make(path, asset)
        with path.open("r+b") as file:
            status = os.fstat(file.fileno())
            size = status.st_size
            if size < _RING * WORD_BYTES:
                raise LayoutError(str(path), "size", _RING * WORD_BYTES, size)
            words: Words = np.frombuffer(mmap.mmap(file.fileno(), 0), dtype=np.uint64)
        wanted = (("magic", _MAGIC, MAGIC), ("layout version", _VERSION, LAYOUT_VERSION), ("asset", _ASSET, _id(asset)))
        for what, at, expected in wanted:
            if int(words[at]) != expected:
                raise LayoutError(str(path), what, expected, int(words[at]))
        expected = _RING + int(words[_CAPACITY]) * RECORD_WORDS
        if words.size != expected:
            raise LayoutError(str(path), "size", expected * WORD_BYTES, words.size * WORD_BYTES)
        return cls(path, words, status.st_ino)

    @property
    def written(self) -> int:
        return int(load_acquire(self._words, _WRITTEN))

    @property
    def released(self) -> int:
        return int(load_acquire(self._words, _RELEASED))

    def append(self, candle: np.void) -> bool:
        """Add a closed minute; False when it took the place of one that was not in the database yet."""
        written = self.written
        at = self._at(written)
        self._words[at : at + RECORD_WORDS] = _words_of(candle)
        store_release(self._words, _WRITTEN, written + 1)
        return written - self.released < self.capacity

    def write_running(self, candle: np.void) -> None:
        """Keep the running minute, or that there is none, for a successor of the writer."""
        publish(self._words, HEADER_WORDS, RECORD_WORDS, _words_of(candle))

    def read_running(self) -> np.void | None:
        """The running minute, None when there is none, or when it was closed already."""
        if not snapshot(self._words, HEADER_WORDS, RECORD_WORDS, self._scratch):
            return None
        running = _candle_in(self._scratch.tobytes())
        if running is None:
            return None
        written = self.written
        closed = _candle_in(self._bytes_at(written - 1)) if written else None
        return None if closed is not None and closed["minute"] == running["minute"] else running

    def pending(self, count: int) -> tuple[list[Minute], int]:
        """Up to `count` of the oldest closed minutes that are not released, and the position behind them."""
        written = self.written
        # The place of the oldest may be the one that is being written right now.
        start = max(self.released, written - self.capacity + 1)
        end = min(start + count, written)
        packed = [self._bytes_at(position) for position in range(start, end)]
        torn = max(0, self.written - self.capacity + 1 - start)
        minutes = [minute_of(candle) for candle in map(_candle_in, packed[torn:]) if candle is not None]
        return minutes, end

    def release(self, position: int) -> None:
        """Everything before `position` is in the database; only the reader may call it."""
        store_release(self._words, _RELEASED, position)

    def _at(self, position: int) -> int:
        return _RING + position % self.capacity * RECORD_WORDS

    def _bytes_at(self, position: int) -> bytes:
        at = self._at(position)
        return self._words[at : at + RECORD_WORDS].tobytes()


class CandleTable:
    """The reader's view: every asset that has a file in the folder, also those that left the catalog."""

    def __init__(self, folder: Path, log: logging.Logger) -> None:
        self._folder, self._log = folder, log
        self._files: dict[str, CandleFile] = {}
        self._unreadable: dict[str, str] = {}

    def files(self) -> Iterator[CandleFile]:
        """All files by name, as they are now: one that its writer has renewed since the last call is opened again.

        One that cannot be read is left out; the log has its reason, once.
        """
        for path in sorted(path for path in self._folder.glob("*") if not path.suffix):
            try:
                file = self._file(path)
            except (LayoutError, OSError, ValueError) as error:
                self._files.pop(path.name, None)
                if self._unreadable.get(path.name) != str(error):
                    fields = {"asset": path.name, "reason": str(error)}
                    self._log.error("candles cannot be read", extra={"fields": fields})
                self._unreadable[path.name] = str(error)
            else:
                self._unreadable.pop(path.name, None)
                yield file

    def _file(self, path: Path) -> CandleFile:
        inode = path.stat().st_ino
        file = self._files.get(path.name)
        if file is None or file.inode != inode:
            file = self._files[path.name] = CandleFile.open(self._folder, path.name)
        return file


def open_or_renew(folder: Path, asset: str) -> tuple[CandleFile, str]:
    """The writer's file of an asset, and why an unreadable one was set aside (empty when none was)."""
    try:
        return CandleFile.open(folder, asset), ""
    except (LayoutError, ValueError) as error:
        path = folder / asset
        path.rename(path.with_suffix(".unreadable"))
        return CandleFile.open(folder, asset), str(error)


def candle_of(minute: Minute, standing: Standing | None = None) -> np.void:
    """A minute, and what stands in it, as a record of CANDLE_DTYPE."""
    candle: np.void = np.zeros(1, dtype=CANDLE_DTYPE)[0]
    prices = b"".join(price.to_bytes(_PRICE_BYTES, "little") for price in minute[1:6])
    candle["prices"] = np.frombuffer(prices, dtype=np.int64)
    candle["weighted_sum"] = np.frombuffer(minute.weighted_sum.to_bytes(_SUM_BYTES, "little"), dtype=np.int64)
    candle["minute"], candle["weighted_ms"] = minute.minute, minute.weighted_ms
    candle["samples"], candle["sources"] = minute.samples, minute.sources
    candle["stands"], (candle["since_ms"], candle["until_ms"]) = standing is not None, standing or (0, 0)
    return candle


def minute_of(candle: np.void) -> Minute:
    """The minute that a record says."""
    packed = candle["prices"].tobytes()
    prices = (int.from_bytes(packed[at : at + _PRICE_BYTES], "little") for at in range(0, len(packed), _PRICE_BYTES))
    weighted_sum = int.from_bytes(candle["weighted_sum"].tobytes(), "little")
    counts = (int(candle[name]) for name in ("weighted_ms", "samples", "sources"))
    return Minute._make((int(candle["minute"]), *prices, weighted_sum, *counts))


def standing_of(candle: np.void) -> Standing | None:
    """What stands in the minute of a record."""
    return Standing(int(candle["since_ms"]), int(candle["until_ms"])) if candle["stands"] else None


def to_fixed(price: Decimal) -> int:
    """A price as an integer of 10**-EXPONENT, exactly."""
    return int(_WIDE.scaleb(price, EXPONENT))


def to_decimal(number: int) -> Decimal:
    """A price or weighted sum as what it says, exactly and without trailing zeros."""
    return _WIDE.normalize(_WIDE.scaleb(Decimal(number), -EXPONENT))


def _id(asset: str) -> int:
    """The first word of the asset's name: the whole name is the file's name."""
    return int.from_bytes(asset.encode()[:WORD_BYTES], "little")


def _words_of(candle: np.void) -> Words:
    """The record with its checksum."""
    checked = candle.tobytes()[:_CHECKED_BYTES]
    return np.frombuffer(bytearray(checked + zlib.crc32(checked).to_bytes(WORD_BYTES, "little")), dtype=np.uint64)


def _candle_in(packed: bytes) -> np.void | None:
    """A record, None when there is none or its checksum is wrong."""
    candle: np.void = np.frombuffer(bytearray(packed), dtype=CANDLE_DTYPE)[0]
    is_whole = candle["minute"] != 0 and candle["checksum"] == zlib.crc32(packed[:_CHECKED_BYTES])
    return candle if is_whole else None


def _make(path: Path, asset: str) -> None:
    """Write the file under another name first, so that a half-made one is never found."""
    name = asset.encode()
    assert 0 < len(name) <= ASSET_NAME_BYTES_MAX, "the catalog checks names"
    header: Words = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY]] = MAGIC, LAYOUT_VERSION, CAPACITY
    header[_ASSET : _ASSET + 2] = np.frombuffer(name.ljust(ASSET_NAME_BYTES_MAX, b"\0"), dtype=np.uint64)
    size = (_RING + CAPACITY * RECORD_WORDS) * WORD_BYTES
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=size, mode=0o644)
