"""Sums of what the disk refused: a preallocated, mapped file, so that it takes them when nothing else can be written.

    slot 0, slot 1   each: generation, length, then the bytes of sums.py

Rules: one writer, the drain. New sums go into the slot of the older generation and count from the moment that its
generation is written, so a process killed at any moment leaves the older or the newer sums, never a mixture. When the
disk takes files again, the sums become a file of the spool and the reserve is empty. Where minutes need too much room,
hours are kept, then days; beyond what one slot holds of those, nothing more is taken: the rings fill, and what they
refuse is counted as lost.
"""

import mmap
import os
from pathlib import Path

import numpy as np

from workers.ledger.disk.unit import private
from workers.ledger.kind import RecordKind
from workers.ledger.sums import UNITS_MINUTES, Sums, decode_sums, encode_sums, merge_sums, no_sums

# A slot holds some 500,000 groups: a day of 20,000 keys on 25 assets.
SLOT_BYTES = 8 * 1024**2
_SLOTS = 2
_GENERATION, _LENGTH, _WORDS = 0, 1, 2
_WORD_BYTES = 8


class Reserve:
    """The mapped file; raises OSError when there is no room for it."""

    def __init__(self, kind: RecordKind, path: Path) -> None:
        self._kind = kind
        with open(path, "a+b", opener=private) as file:
            os.posix_fallocate(file.fileno(), 0, _SLOTS * SLOT_BYTES)
            self._bytes = np.frombuffer(mmap.mmap(file.fileno(), _SLOTS * SLOT_BYTES), dtype=np.uint8)
        self._slots = [self._bytes[at : at + SLOT_BYTES] for at in (0, SLOT_BYTES)]
        self.sums = self._read()

    def add(self, sums: Sums) -> bool:
        """Keep these sums too, in the finest unit that has room; False when none has."""
        units = (unit for unit in UNITS_MINUTES if unit >= self.sums.unit_minutes)
        return any(self._write(merge_sums(self._kind, self.sums, sums, unit)) for unit in units)

    def clear(self) -> None:
        """The sums are somewhere else now."""
        self._write(no_sums(self._kind))

    def _newest(self) -> int:
        return max(range(_SLOTS), key=lambda slot: int(self._slots[slot].view(np.uint64)[_GENERATION]))

    def _read(self) -> Sums:
        for slot in sorted(range(_SLOTS), key=lambda slot: slot != self._newest()):
            words = self._slots[slot].view(np.uint64)
            data = self._slots[slot][_WORDS * _WORD_BYTES :][: int(words[_LENGTH])].tobytes()
            sums = decode_sums(self._kind, data)
            if sums is not None:
                return sums
        return no_sums(self._kind)

    def _write(self, sums: Sums) -> bool:
        data = encode_sums(sums)
        if len(data) > SLOT_BYTES - _WORDS * _WORD_BYTES:
            return False
        newest = self._newest()
        generation = int(self._slots[newest].view(np.uint64)[_GENERATION]) + 1
        slot = self._slots[1 - newest]
        words = slot.view(np.uint64)
        slot[_WORDS * _WORD_BYTES :][: len(data)] = np.frombuffer(data, dtype=np.uint8)
        words[_LENGTH] = len(data)
        words[_GENERATION] = generation
        self.sums = sums
        return True
