"""What is in a target, of one database: bases, log and bundles; which moments can be restored, and from what.

Rules: read by names and by the bases' open description alone: no identity is needed, and nothing is believed of the
content before a restore opened it. A base counts when its description is there and the object has the size that it
says. The log counts as far as it is there without a gap. Everything but `read_catalog` is pure. Moments are seconds
since 1970; of one that can be restored, everything that was committed up to it is there.
"""

import datetime
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec

from trinity.backup.layout import (
    BaseKind,
    BundleName,
    WalPiece,
    base_place,
    read_base_name,
    read_bundle_name,
    read_history_name,
    read_system,
    read_wal_name,
    segment_name,
    segment_number,
)
from trinity.backup.target import BackupTarget, read_bytes
from trinity.errors import RestoreError

_DESCRIPTION_BYTES_MAX = 16 * 1024
# The longest that msgspec bounds; no log gets there.
Lsn = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
# As initdb takes them: 1 MB to 1 GB.
SegmentBytes = Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 30)]


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The open description of a base backup (`base.json`)."""

    label: str
    system: str
    kind: BaseKind
    parent: str | None  # the base that an incremental one builds on
    timeline: Annotated[int, msgspec.Meta(ge=1, le=(1 << 32) - 1)]
    start_lsn: Lsn  # the log that it needs begins here ...
    end_lsn: Lsn  # ... and reaches at least to here
    ended_at: Count  # the first whole second that it can be restored to
    server_version: Count  # as in server_version_num
    segment_bytes: SegmentBytes  # of the log's files
    data_bytes: Count  # of what it holds, unpacked
    stored_bytes: Count  # of the object
    embedded: bool  # whether the server was the node's own
    database: str  # its name, and that of the role that may do everything with it
    role: str


class Window(NamedTuple):
    """The moments that can be restored."""

    earliest: int
    newest: int


class RestorePlan(NamedTuple):
    """What a restore takes: the bases from the full one on, and the log's pieces in their order."""

    chain: tuple[Base, ...]
    pieces: tuple[WalPiece, ...]
    to_time: int | None

    @property
    def base(self) -> Base:
        return self.chain[-1]

    @property
    def reach_lsn(self) -> int:
        """Where the log of it ends."""
        last, size = self.pieces[-1], self.base.segment_bytes
        return segment_number(last.segment, size) * size + last.end

    @property
    def room_bytes(self) -> int:
        """What it needs on the disk while it is made: all bases unpacked, what is made of them, and the log."""
        bases = sum(base.data_bytes for base in self.chain)
        made = self.chain[0].data_bytes + sum(base.data_bytes for base in self.chain[1:]) if len(self.chain) > 1 else 0
        segments = len({piece.segment for piece in self.pieces})
        return bases + made + segments * self.base.segment_bytes


class BackupCatalog(NamedTuple):
    """What is in a target of one database."""

    system: str
    bases: tuple[Base, ...]  # in the order of time
    pieces: tuple[WalPiece, ...]
    histories: tuple[int, ...]  # timelines whose beginning is there
    bundles: tuple[BundleName, ...]
    unfinished: tuple[str, ...]  # objects of bases that have no description, or another size than it says

    @property
    def timeline(self) -> int:
        """The live one: the newest that anything is of."""
        return max((*(base.timeline for base in self.bases), *(piece.timeline for piece in self.pieces)), default=1)

    @property
    def wal_bytes(self) -> int:
        return sum(piece.stored_bytes for piece in self.pieces)

    def window(self) -> Window | None:
        """From the earliest to the newest moment of the live timeline that can be restored; gaps may lie between."""
        windows = [window for base in self.bases if base.timeline == self.timeline and (window := self.window_of(base))]
        if not windows:
            return None
        return Window(min(window.earliest for window in windows), max(window.newest for window in windows))

    def window_of(self, base: Base) -> Window | None:
        """The moments that this base and the log behind it reach; None: not even its own end."""
        if not self.chain_is_whole(base):
            return None
        end, newest = base.start_lsn, 0
        for piece, reached in self._path(base):
            end, newest = reached, max(newest, piece.moment)
        return Window(base.ended_at, newest) if end >= base.end_lsn and newest >= base.ended_at else None

    def chain_of(self, base: Base) -> tuple[Base, ...]:
        """From the full base to this one; RestoreError when one of them is not there."""
        by_label = {known.label: known for known in self.bases}
        chain = [base]
        while chain[0].parent is not None:
            parent = by_label.get(chain[0].parent)
            if parent is None or parent in chain:
                raise RestoreError(f"base {chain[0].parent}, which {chain[0].label} builds on, is not in the target")
            chain.insert(0, parent)
        return tuple(chain)

    def plan(self, to_time: int | None = None) -> RestorePlan:
        """What restores this moment, or the newest there is; RestoreError says which moments can be restored."""
        windows = [(base, window) for base in self.bases if (window := self.window_of(base))]
        if to_time is None:
            fit = [(window.newest, base) for base, window in windows if base.timeline == self.timeline]
        else:
            fit = [(base.ended_at, base) for base, window in windows if window.earliest <= to_time <= window.newest]
        if not fit:
            raise RestoreError(self._refusal(to_time))
        base = max(fit, key=lambda entry: (entry[1].timeline, entry[0], entry[1].label))[1]
        return RestorePlan(self.chain_of(base), self.pieces_for(base, to_time), to_time)

    def pieces_for(self, base: Base, to_time: int | None) -> tuple[WalPiece, ...]:
        """The log behind a base up to a moment; RestoreError when it does not reach there."""
        window = self.window_of(base)
        if window is None or not window.earliest <= (window.newest if to_time is None else to_time) <= window.newest:
            raise RestoreError(self._refusal(to_time))
        pieces = []
        for piece, reached in self._path(base):
            pieces.append(piece)
            if to_time is not None and piece.moment > to_time and reached >= base.end_lsn:
                break
        return tuple(pieces)

    def path_of(self, base: Base) -> tuple[WalPiece, ...]:
        """All of the log behind a base, up to the first gap."""
        return tuple(piece for piece, _ in self._path(base))

    def chain_is_whole(self, base: Base) -> bool:
        """Whether all that a base builds on is there."""
        try:
            self.chain_of(base)
        except RestoreError:
            return False
        return True

    def bundle_of(self, node: str, plan: RestorePlan | None) -> BundleName | None:
        """The newest bundle of a node that a database restored so goes with; without a plan, the newest of all."""
        fit = [bundle for bundle in self.bundles if bundle.node == node and (plan is None or _fits(bundle, plan))]
        return max(fit, key=lambda bundle: bundle.moment, default=None)

    def _path(self, base: Base) -> Iterator[tuple[WalPiece, int]]:
        """The log from a base on: pieces, and the position that each reaches, up to the first gap."""
        size = base.segment_bytes
        by_segment = segments_of(self.pieces)
        number = base.start_lsn // size
        while True:
            pieces, end = by_segment.get(segment_name(base.timeline, number, size), []), 0
            while end < size:
                further = [piece for piece in pieces if piece.first <= end < piece.end <= size]
                if not further:
                    return
                piece = max(further, key=lambda piece: (piece.end, piece.moment))
                end = piece.end
                yield piece, number * size + end
            number += 1

    def _refusal(self, to_time: int | None) -> str:
        window = self.window()
        if window is None:
            return "there is no base with the log that it needs: nothing can be restored from this target"
        reach = f"what can be: {moment_text(window.earliest)} to {moment_text(window.newest)}"
        what = "the newest moment" if to_time is None else moment_text(to_time)
        gap = "; the log has a gap there" if to_time is not None and window.earliest <= to_time <= window.newest else ""
        return f"{what} cannot be restored{gap} ({reach})"


def moment_text(moment: int) -> str:
    """A moment for people; they type it so."""
    return f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _fits(bundle: BundleName, plan: RestorePlan) -> bool:
    """The database has what the bundle says it has."""
    return bundle.moment <= plan.to_time if plan.to_time is not None else bundle.lsn <= plan.reach_lsn


def systems_in(target: BackupTarget) -> tuple[str, ...]:
    """The databases that have anything in a target."""
    return tuple(sorted({system for stored in target.stored("") if (system := read_system(stored.name))}))


def read_catalog(target: BackupTarget, system: str | None = None) -> BackupCatalog:
    """What is there of a database; without its name, of the only one. BackupTargetError, RestoreError."""
    if system is None:
        systems = systems_in(target)
        if len(systems) != 1:
            names = f"of several databases ({', '.join(systems)}): say --system" if systems else "of no database"
            raise RestoreError(f"{target.shown} has backups {names}")
        system = systems[0]
    stored = list(target.stored(f"{system}/"))
    sizes = {entry.name: entry.bytes for entry in stored}
    bases, unfinished = _bases_of(target, system, sizes)
    pieces = (read_wal_name(entry.name, entry.bytes) for entry in stored)
    bundles = (read_bundle_name(entry.name, entry.bytes) for entry in stored)
    histories = (read_history_name(entry.name) for entry in stored)
    return BackupCatalog(
        system,
        tuple(sorted(bases, key=lambda base: (base.ended_at, base.label))),
        tuple(sorted(piece for piece in pieces if piece)),
        tuple(sorted(history[1] for history in histories if history)),
        tuple(sorted(bundle for bundle in bundles if bundle)),
        unfinished,
    )


def _bases_of(target: BackupTarget, system: str, sizes: dict[str, int]) -> tuple[list[Base], tuple[str, ...]]:
    bases, unfinished = [], []
    labels = {found[1] for name in sizes if (found := read_base_name(name))}
    for label in labels:
        place = base_place(system, label)
        data, description = f"{place}/data.age", f"{place}/base.json"
        base = _description(target, description) if description in sizes else None
        is_whole = base is not None and (base.label, base.system) == (label, system)
        if base is not None and is_whole and sizes.get(data) == base.stored_bytes:
            bases.append(base)
        else:
            unfinished += [name for name in (description, data) if name in sizes]
    return bases, tuple(unfinished)


def _description(target: BackupTarget, name: str) -> Base | None:
    """None: nobody can read it."""
    try:
        return msgspec.json.decode(read_bytes(target, name, _DESCRIPTION_BYTES_MAX), type=Base)
    except msgspec.MsgspecError:
        return None


def segments_of(pieces: Iterable[WalPiece]) -> dict[str, list[WalPiece]]:
    """The pieces of each segment, both in their order."""
    segments: dict[str, list[WalPiece]] = {}
    for piece in pieces:
        segments.setdefault(piece.segment, []).append(piece)
    return segments
