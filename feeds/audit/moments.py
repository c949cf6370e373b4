"""What the consensus knew of an asset at a past moment, out of a recording: the case that an account is made from.

Rules: the last checkpoint before the moment and the turns up to it are rerun by the consensus's own rules; frames are
not needed, `trinity replay` compares them. Between two turns nothing was read, so a moment is explained by the state
after the last turn before it, at the moment itself. A moment without a turn shortly before it was not recorded, and
behind the newest turn that was written there may be another: what is younger is not known yet. Only the segment that
covers the moment is read, from its checkpoint to the first turn behind the moment: ten seconds of turns, however long
the recording is.
"""

from datetime import UTC, datetime
from pathlib import Path

from feeds.audit.account import Case
from feeds.audit.entries import CONSENSUS_STREAM, Checkpoint, Header, Turn
from feeds.audit.replay import Piece, piece_of
from feeds.audit.rerun import Rerun
from feeds.audit.segments import FOLDER, header_of, list_segments, read_chunk
from feeds.consensus.decimals.stablecoins import usable
from trinity.clock import NS_PER_SECOND
from trinity.errors import AbsentError

# The process takes a turn at least every 100 ms; a recording may begin up to 200 ms after it was asked for.
_TURN_AGE_MAX_NS = 2 * NS_PER_SECOND


def case_at(data_dir: Path, asset: str, wall_ns: int) -> Case:
    """The case of an asset (by name) at a moment (wall clock); AbsentError when there is no recording of it."""
    begun = _begun(data_dir / FOLDER, wall_ns)
    if begun is None:
        raise _absent(asset, wall_ns)
    piece, first = begun
    catalog = piece.header.catalog
    index = catalog.find_asset(asset)
    if index is None:
        known = " ".join(known.name for known in catalog.assets)
        raise AbsentError("asset", f"{asset} in the recording", f"it has {known}")
    return _Scene(piece, index, wall_ns).case(first)


def _begun(folder: Path, wall_ns: int) -> tuple[Piece, int] | None:
    """The last chunk that begins with a checkpoint of the moment or before it."""
    for info in reversed(list_segments(folder)):
        if info.stream != CONSENSUS_STREAM or info.start_ns > wall_ns:
            continue
        piece = piece_of(info)
        if piece is None:
            continue
        for number in reversed(range(1, len(piece.chunks))):
            # A checkpoint is taken right after the chunk before it was written.
            if not piece.chunks[number].has_checkpoint or piece.chunks[number - 1].wall_ns > wall_ns:
                continue
            checkpoint = read_chunk(info.path, piece.chunks[number])[0]
            if isinstance(checkpoint, Checkpoint) and checkpoint.wall_ns <= wall_ns:
                return piece, number
    return None


def _goes_on(piece: Piece) -> bool:
    """Whether the next segment takes up where this one ends, without a moment between them."""
    infos = [info for info in list_segments(piece.info.path.parent) if info.stream == CONSENSUS_STREAM]
    later = next((info for info in infos if info.start_ns > piece.info.start_ns), None)
    header = header_of(later.path) if later is not None else None
    return header is not None and (header.boot, header.life) == (piece.header.boot, piece.header.life)


def _absent(asset: str, wall_ns: int) -> AbsentError:
    moment = datetime.fromtimestamp(wall_ns // NS_PER_SECOND, UTC).isoformat()
    return AbsentError(
        "recording", f"of {asset} at {moment}", "it was off, or has been dropped; `trinity record status`"
    )


class _Scene:
    """One asset on its way to one moment."""

    def __init__(self, piece: Piece, asset: int, wall_ns: int) -> None:
        self._piece = piece
        self._asset = asset
        self._wall_ns = wall_ns
        self._rerun: Rerun | None = None
        self._last: Turn | Checkpoint | None = None

    def case(self, first: int) -> Case:
        """Rerun from chunk `first` on."""
        header = self._piece.header
        is_followed = self._go(first) or _goes_on(self._piece)
        rerun, last = self._rerun, self._last
        age_max_ns = _TURN_AGE_MAX_NS if is_followed else 0
        if rerun is None or last is None or self._wall_ns - last.wall_ns > age_max_ns:
            raise _absent(header.catalog.assets[self._asset].name, self._wall_ns)
        now_ns = last.at_ns + self._wall_ns - last.wall_ns
        asset = header.catalog.assets[self._asset]
        indexes, _ = rerun.followed(now_ns)
        decision, _ = rerun.decide(self._asset, usable(indexes), now_ns)
        return Case(
            asset,
            header.catalog.exchanges,
            rerun.rows(self._asset),
            rerun.live(now_ns),
            indexes,
            rerun.carried(self._asset),
            decision,
            rerun.served(self._asset, now_ns),
            now_ns,
            self._wall_ns,
        )

    def _go(self, first: int) -> bool:
        """Take the entries from chunk `first` up to the moment; whether there is one behind it."""
        for chunk in self._piece.chunks[first:]:
            for entry in read_chunk(self._piece.info.path, chunk):
                if not isinstance(entry, Checkpoint | Turn):
                    continue
                if entry.wall_ns > self._wall_ns:
                    return True
                self._take(self._piece.header, entry)
        return False

    def _take(self, header: Header, entry: Checkpoint | Turn) -> None:
        self._last = entry
        if isinstance(entry, Checkpoint):
            self._rerun = Rerun(header, entry)
            return
        assert self._rerun is not None, "a chunk with a checkpoint begins with it"
        for row in entry.read:
            self._rerun.set_row(row, row.quote)
        for asset in entry.reviewed:
            if asset == self._asset:
                self._rerun.review(asset, entry.at_ns)
        if entry.is_measured:
            self._rerun.measure_coins(entry.at_ns)
