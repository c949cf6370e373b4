"""Which base is due, what is overdue, and what of a target may go; pure.

Rules: any second of the days that are kept can be restored, so the newest base before them stays, with all that it
builds on and the log behind it. A day more is spared, so that a restore of the oldest moment is not overtaken. Of each
node the newest bundle stays whatever its age. What is joined into a longer piece goes, and half a base of the past.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from trinity.backup.catalog import BackupCatalog, Base
from trinity.backup.layout import WalPiece, base_place, read_base_name, segment_name

# What may be lost at most with a machine and its disk: the log that is not in the target yet. Beyond it, an alarm.
LAG_SECONDS_MAX = 300
# A base that is due takes its time: half an hour for some 50 GB. Beyond it, an alarm.
BASE_LATE_SECONDS = 1800
_DAY = 86_400
# Incremental bases pay while all of them together are smaller than this part of the full one that they build on.
_INCREMENTS_SHARE = 0.5


class BasePolicy(NamedTuple):
    """When bases are taken."""

    base_seconds: int
    full_seconds: int
    keep_days: int


class DueBase(NamedTuple):
    """A base to be taken now; full without a parent."""

    parent: Base | None


def due_base(
    catalog: BackupCatalog, timeline: int, now: int, policy: BasePolicy, may_build_on: Callable[[Base], bool]
) -> DueBase | None:
    """The base that is due on the server's timeline, if one is."""
    bases = [base for base in catalog.bases if base.timeline == timeline]
    if not bases:
        return DueBase(None)
    last = bases[-1]
    if not has_gap(catalog, last) and now - last.ended_at < policy.base_seconds:
        return None
    if catalog.chain_is_whole(last) and may_build_on(last):
        full, *increments = catalog.chain_of(last)
        is_young = now - full.ended_at < policy.full_seconds
        if is_young and sum(base.stored_bytes for base in increments) < full.stored_bytes * _INCREMENTS_SHARE:
            return DueBase(last)
    return DueBase(None)


def has_gap(catalog: BackupCatalog, base: Base) -> bool:
    """Whether newer log is there than what a base reaches."""
    newest = max((piece for piece in catalog.pieces if piece.timeline == base.timeline), default=None)
    if newest is None or newest.segment < segment_name(
        base.timeline, base.start_lsn // base.segment_bytes, base.segment_bytes
    ):
        return False
    path = catalog.path_of(base)
    return not path or (path[-1].segment, path[-1].end) < (newest.segment, newest.end)


def obsolete(catalog: BackupCatalog, now: int, keep_days: int, under_way: str = "") -> list[str]:
    """The objects that may go; `under_way` is the label of the base that is being taken."""
    cutoff = now - (keep_days + 1) * _DAY
    anchor = max(
        (base for base in catalog.bases if base.ended_at <= cutoff), key=lambda base: base.ended_at, default=None
    )
    names = [
        name for name in catalog.unfinished if (found := read_base_name(name)) is not None and found[1] != under_way
    ]
    names += _joined(catalog.pieces)
    if anchor is not None:
        kept = {
            base.label for last in catalog.bases if last.ended_at >= anchor.ended_at for base in _chain(catalog, last)
        }
        for base in catalog.bases:
            if base.label not in kept:
                place = base_place(base.system, base.label)
                # The description first: what is left of a deletion that broke off is no base.
                names += [f"{place}/base.json", f"{place}/data.age"]
        first = _first_segment(anchor)
        names += [
            piece.name
            for piece in catalog.pieces
            if piece.moment < anchor.ended_at and (piece.timeline != anchor.timeline or piece.segment < first)
        ]
    newest = {
        node: max(b.moment for b in catalog.bundles if b.node == node) for node in {b.node for b in catalog.bundles}
    }
    names += [
        bundle.name for bundle in catalog.bundles if bundle.moment < cutoff and bundle.moment != newest[bundle.node]
    ]
    return list(dict.fromkeys(names))


def _first_segment(base: Base) -> str:
    return segment_name(base.timeline, base.start_lsn // base.segment_bytes, base.segment_bytes)


def _chain(catalog: BackupCatalog, base: Base) -> Sequence[Base]:
    return catalog.chain_of(base) if catalog.chain_is_whole(base) else (base,)


def _joined(pieces: Sequence[WalPiece]) -> list[str]:
    """Pieces that a longer one from the same segment's beginning has whole."""
    whole: dict[str, WalPiece] = {}
    for piece in pieces:
        if piece.first == 0 and (piece.segment not in whole or piece.end > whole[piece.segment].end):
            whole[piece.segment] = piece
    return [
        piece.name
        for piece in pieces
        if piece.segment in whole and piece != whole[piece.segment] and piece.end <= whole[piece.segment].end
    ]
