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
import struct
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

# minute, five prices, weighted sum, weighted ms, samples, sources, stands, since ms, until ms, checksum
_RECORD = struct.Struct("<q16s16s16s16s16s24siiHH4xqqQ")
RECORD_WORDS = _RECORD.size // WORD_BYTES
assert _RECORD.size % WORD_BYTES == 0, "records are whole words"
_CHECKED_BYTES = _RECORD.size - WORD_BYTES
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
    """One asset's minutes; `append` and `write_running` are the writer's, `release` is the reader's."""

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

    def append(self, minute: Minute) -> bool:
        """Add a closed minute; False when it took the place of one that was not in the database yet."""
        written = self.written
        at = self._at(written)
        self._words[at : at + RECORD_WORDS] = np.frombuffer(_pack(minute, None), dtype=np.uint64)
        store_release(self._words, _WRITTEN, written + 1)
        return written - self.released < self.capacity

    def write_running(self, minute: Minute | None, standing: Standing | None) -> None:
        """Keep the running minute, None when there is none, for a successor of the writer."""
        packed = _pack(minute, standing) if minute is not None else bytes(_RECORD.size)
        publish(self._words, HEADER_WORDS, RECORD_WORDS, np.frombuffer(bytearray(packed), dtype=np.uint64))

    def read_running(self) -> tuple[Minute, Standing | None] | None:
        """The running minute, None when there is none, or when it was closed already."""
        if not snapshot(self._words, HEADER_WORDS, RECORD_WORDS, self._scratch):
            return None
        running = _unpack(self._scratch.tobytes())
        if running is None:
            return None
        written = self.written
        closed = _unpack(self._bytes_at(written - 1)) if written else None
        return None if closed is not None and closed[0].minute == running[0].minute else running

    def pending(self, count: int) -> tuple[list[Minute], int]:
        """Up to `count` of the oldest closed minutes that are not released, and the position behind them."""
        written = self.written
        # The place of the oldest may be the one that is being written right now.
        start = max(self.released, written - self.capacity + 1)
        end = min(start + count, written)
        packed = [self._bytes_at(position) for position in range(start, end)]
        torn = max(0, self.written - self.capacity + 1 - start)
        minutes = [record[0] for record in map(_unpack, packed[torn:]) if record is not None]
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


def to_fixed(price: Decimal) -> int:
    """A price as an integer of 10**-EXPONENT, exactly."""
    return int(_WIDE.scaleb(price, EXPONENT))


def to_decimal(number: int) -> Decimal:
    """A price or weighted sum as what it says, exactly and without trailing zeros."""
    return _WIDE.normalize(_WIDE.scaleb(Decimal(number), -EXPONENT))


def _id(asset: str) -> int:
    """The first word of the asset's name: the whole name is the file's name."""
    return int.from_bytes(asset.encode()[:WORD_BYTES], "little")


def _pack(minute: Minute, standing: Standing | None) -> bytes:
    prices = [number.to_bytes(16, "little") for number in minute[1:6]]
    packed = _RECORD.pack(
        minute.minute,
        *prices,
        minute.weighted_sum.to_bytes(24, "little"),
        minute.weighted_ms,
        minute.samples,
        minute.sources,
        standing is not None,
        *(standing or (0, 0)),
        0,
    )
    checked = packed[:_CHECKED_BYTES]
    return checked + zlib.crc32(checked).to_bytes(WORD_BYTES, "little")


def _unpack(packed: bytes) -> tuple[Minute, Standing | None] | None:
    """A record, None when there is none or its checksum is wrong."""
    minute, *fields, checksum = _RECORD.unpack(packed)
    if not minute or zlib.crc32(packed[:_CHECKED_BYTES]) != checksum:
        return None
    numbers = [int.from_bytes(field, "little") for field in fields[:6]]
    weighted_ms, samples, sources, stands, since_ms, until_ms = fields[6:]
    record = Minute._make((minute, *numbers, weighted_ms, samples, sources))
    return record, Standing(since_ms, until_ms) if stands else None


def _make(path: Path, asset: str) -> None:
    """Write the file under another name first, so that a half-made one is never found."""
    name = asset.encode()
    assert 0 < len(name) <= ASSET_NAME_BYTES_MAX, "the catalog checks names"
    header: Words = np.zeros(HEADER_WORDS, dtype=np.uint64)
    header[[_MAGIC, _VERSION, _CAPACITY]] = MAGIC, LAYOUT_VERSION, CAPACITY
    header[_ASSET : _ASSET + 2] = np.frombuffer(name.ljust(ASSET_NAME_BYTES_MAX, b"\0"), dtype=np.uint64)
    size = (_RING + CAPACITY * RECORD_WORDS) * WORD_BYTES
    write_whole(path, [header.tobytes()], Durability.SYNCED, reserve_bytes=size, mode=0o644)
