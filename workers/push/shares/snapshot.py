"""The snapshot in the data directory: all subscriptions, for starts without a database.

    line 1    JSON: format, when it was made, how many lines follow
    lines     JSON: a subscription each, secrets included; then those whose receivers fail
    32 bytes  SHA-256 of everything before

Rules: only the owner may read it. It is written whole, so there is always one good snapshot; any other file of this
name is a SnapshotError and never half believed. Encoded in pieces, so that no other thread waits long.
"""

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from trinity.errors import SnapshotError
from trinity.files import Durability, write_whole
from trinity.push.subscription import Subscription

FILE_NAME = "push.snapshot"
FORMAT = 1

_CHECKSUM_BYTES = 32
# Some 2 ms of the interpreter's lock a piece.
_LINES_A_PIECE = 500


class KnownFailing(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription whose receiver fails."""

    id: int
    failing_since: datetime.datetime
    failures: int
    next_at: datetime.datetime


class PushSnapshot(NamedTuple):
    """What the pusher knew at one time."""

    made_at: datetime.datetime
    subscriptions: Sequence[Subscription]
    failing: Sequence[KnownFailing]


class _Front(msgspec.Struct, frozen=True):
    format: int
    made_at: datetime.datetime
    subscriptions: int
    failing: int


def save(path: Path, snapshot: PushSnapshot) -> None:
    """Replace the file at `path`; OSError when the disk does not take it, and the old file stays."""
    checksum = hashlib.sha256()

    def parts() -> Iterator[bytes]:
        front = _Front(FORMAT, snapshot.made_at, len(snapshot.subscriptions), len(snapshot.failing))
        for piece in (_lines([front]), *_pieces(snapshot.subscriptions), *_pieces(snapshot.failing)):
            checksum.update(piece)
            yield piece
        yield checksum.digest()

    write_whole(path, parts(), Durability.SYNCED)


def load(path: Path) -> PushSnapshot | None:
    """The snapshot at `path`, None when there is none; SnapshotError when it is not whole."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(str(path), str(error.strerror)) from None
    content, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise SnapshotError(str(path), "its checksum is wrong")
    first, _, rest = content.partition(b"\n")
    try:
        front = msgspec.json.decode(first, type=_Front)
        if front.format != FORMAT:
            raise SnapshotError(str(path), f"it is not of format {FORMAT}")
        lines = rest.splitlines()
        subscriptions = [_SUBSCRIPTION.decode(line) for line in lines[: front.subscriptions]]
        failing = [_FAILING.decode(line) for line in lines[front.subscriptions :]]
    except msgspec.DecodeError as error:
        raise SnapshotError(str(path), str(error)) from None
    return PushSnapshot(front.made_at, subscriptions, failing)


_ENCODER = msgspec.json.Encoder()
_SUBSCRIPTION = msgspec.json.Decoder(Subscription)
_FAILING = msgspec.json.Decoder(KnownFailing)


def _pieces(rows: Sequence[Subscription] | Sequence[KnownFailing]) -> Iterator[bytes]:
    return (_lines(rows[at : at + _LINES_A_PIECE]) for at in range(0, len(rows), _LINES_A_PIECE))


def _lines(rows: Iterable[msgspec.Struct]) -> bytes:
    return _ENCODER.encode_lines(rows)
