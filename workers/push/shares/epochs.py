"""The upper part of this node's sequences: epochs, reserved in PostgreSQL, used up from a file of the node's own.

    sequence = epoch << 32 | counter      the counter is a subscription's, and begins at 1 in each epoch

Rules: an epoch is written down as used, to the disk, before the first message that bears it: so sequences rise over a
kill, a failed machine and a start without PostgreSQL. A reservation is 64 epochs of one shard that nobody else is ever
given; a later one is higher, so whoever takes a shard over has higher sequences than all before (fencing). Epochs stay
below 2**21: a sequence is then exact in JSON (RFC 8259, 6: 2**53). Used up: None, until PostgreSQL gives new ones.
A file that is broken is as good as none: epochs are only ever lost.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import msgspec

from trinity.files import Durability, write_whole

FILE_NAME = "push-epochs.json"
EPOCHS_PER_LEASE = 64
EPOCH_MAX = 1 << 21
COUNTER_BITS = 32


class Reservation(NamedTuple):
    """Epochs `first` to `first` + EPOCHS_PER_LEASE - 1 of a shard, of which so many are used."""

    first: int
    used: int
    is_held: bool  # its shard was this node's when this was written

    @property
    def epoch(self) -> int:
        """The one in use."""
        return self.first + self.used - 1

    @property
    def is_used_up(self) -> bool:
        return self.used >= EPOCHS_PER_LEASE or self.first + self.used >= EPOCH_MAX


class Epochs:
    """The reservations of one data directory."""

    def __init__(self, data_dir: Path, log: logging.Logger) -> None:
        self._path = data_dir / FILE_NAME
        self._shards = _read(self._path, log)

    def held(self) -> list[int]:
        """The shards that were this node's when it wrote last."""
        return sorted(shard for shard, kept in self._shards.items() if kept.is_held)

    def known(self) -> dict[int, Reservation]:
        """By shard the newest reservation, also one that is used up: what comes next must be higher."""
        return dict(self._shards)

    def begin(self, firsts: dict[int, int]) -> dict[int, int]:
        """Begin the next epoch of these shards, of the reservation that begins at `first`; OSError: none has begun.

        Those that have none left are not in the answer.
        """
        for shard, first in firsts.items():
            if shard not in self._shards or self._shards[shard].first != first:
                # Known before the disk takes it: one that refuses costs no more reservations.
                self._shards[shard] = Reservation(first, 0, is_held=False)
        shards = dict(self._shards)
        begun: dict[int, int] = {}
        for shard in firsts:
            kept = shards[shard]
            if not kept.is_used_up:
                kept = kept._replace(used=kept.used + 1, is_held=True)
                begun[shard] = kept.epoch
            shards[shard] = kept
        self._write(shards)
        return begun

    def resume(self) -> dict[int, int]:
        """The same for all that this node held, from what is left: a start without PostgreSQL."""
        return self.begin({shard: self._shards[shard].first for shard in self.held()})

    def give_up(self, shards: list[int]) -> None:
        """They are somebody else's; OSError."""
        if any(shard in self._shards and self._shards[shard].is_held for shard in shards):
            self._write({
                shard: kept._replace(is_held=kept.is_held and shard not in shards)
                for shard, kept in self._shards.items()
            })  # fmt: skip

    def _write(self, shards: dict[int, Reservation]) -> None:
        if shards != self._shards:
            write_whole(self._path, [msgspec.json.encode(shards)], Durability.NAMED)
            self._shards = shards


def _read(path: Path, log: logging.Logger) -> dict[int, Reservation]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[int, Reservation])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        reason = {"file": str(path), "reason": str(error)}
        log.error("the push server's epochs are unreadable: new ones come from the database", extra={"fields": reason})
        return {}
