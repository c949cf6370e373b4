"""`trinity replay`: the consensus recomputed from recorded frames, and compared with what the node published.

    every quote that was read  ->  must stand in a recorded frame, decoded again
    every turn                 ->  the same rules, in the same order, at the same moments
    every published decision   ->  must come out again, with every byte of its answer
    every checkpoint           ->  must be what the turns before it led to

Rules: the first difference ends the replay. A quote whose frame was not recorded (recording began later, its process
was killed) is taken from the consensus's own stream, and counted. What is compared exactly is prices, states, reasons
and times, as numbers; the digest covers the answer's bytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from feeds.audit.entries import CONSENSUS_STREAM, Checkpoint, Header, Result, RowInput, Turn
from feeds.audit.frames import FrameSource, Search
from feeds.audit.recorder import result_of
from feeds.audit.rerun import Rerun, outcome_of
from feeds.audit.segments import FOLDER, Chunk, SegmentInfo, header_of, list_segments, read_chunks, read_segment
from trinity.memory.answer_table import COINS
from trinity.memory.price_table import StoredQuote


class Difference(msgspec.Struct, frozen=True):
    """Where the recording and its replay part; `wall_ns` is when the turn was."""

    what: str
    wall_ns: int
    asset: str
    exchange: str
    recorded: Any
    replayed: Any


class ReplayOutcome(msgspec.Struct):
    """What a replay found."""

    turns: int = 0
    decisions: int = 0
    quotes: int = 0
    quotes_unrecorded: int = 0
    frames: int = 0
    checkpoints: int = 0
    from_ns: int | None = None
    to_ns: int | None = None
    difference: Difference | None = None


class Piece(NamedTuple):
    """A segment of the consensus, its header and chunks."""

    info: SegmentInfo
    header: Header
    chunks: tuple[Chunk, ...]


def replay(
    data_dir: Path, asset: str | None = None, from_ns: int | None = None, to_ns: int | None = None
) -> ReplayOutcome:
    """Recompute everything between two moments (wall clock), of one asset or of all; RecordingError for damage."""
    return _Replay(data_dir / FOLDER, asset, from_ns, to_ns).run()


def pieces_of(folder: Path) -> list[Piece]:
    """The consensus's segments in their order."""
    found = (piece_of(info) for info in list_segments(folder) if info.stream == CONSENSUS_STREAM)
    return [piece for piece in found if piece is not None]


def piece_of(info: SegmentInfo) -> Piece | None:
    """One segment of the consensus; None when its process died before it had a header."""
    header = header_of(info.path)
    return Piece(info, header, tuple(read_chunks(info.path))) if header is not None else None


class _DifferenceError(Exception):
    """Ends the replay."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference)
        self.difference = difference


class _Replay:
    def __init__(self, folder: Path, asset: str | None, from_ns: int | None, to_ns: int | None) -> None:
        self._folder = folder
        self._asset = asset
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._outcome = ReplayOutcome()
        self._rerun: Rerun | None = None
        self._header: Header | None = None
        self._sources: dict[tuple[str, str], FrameSource] = {}
        self._wanted: set[int] = set()
        self._turn_wall_ns = 0

    def run(self) -> ReplayOutcome:
        """All turns of the range; the outcome says how far it came."""
        try:
            for header, entry in self._entries():
                if self._to_ns is not None and entry.wall_ns > self._to_ns:
                    break
                self._turn_wall_ns = entry.wall_ns
                if isinstance(entry, Checkpoint):
                    self._on_checkpoint(header, entry)
                else:
                    self._on_turn(header, entry)
        except _DifferenceError as error:
            self._outcome.difference = error.difference
        self._outcome.frames = sum(source.frames for source in self._sources.values())
        return self._outcome

    def _entries(self) -> Iterator[tuple[Header, Checkpoint | Turn]]:
        """Checkpoints and turns from the last checkpoint before the range on."""
        pieces = pieces_of(self._folder)
        starts = [
            (piece.info, chunk.position)
            for piece in pieces
            for chunk in piece.chunks
            if chunk.has_checkpoint and (self._from_ns is None or chunk.wall_ns <= self._from_ns)
        ]
        # Without one the recording begins within the range.
        start = starts[-1] if starts and self._from_ns is not None else None
        for piece in pieces:
            if start is not None and piece.info.start_ns < start[0].start_ns:
                continue
            for chunk, entries in read_segment(piece.info.path):
                if start is not None and piece.info == start[0] and chunk.position < start[1]:
                    continue
                for entry in entries:
                    if isinstance(entry, Checkpoint | Turn):
                        yield piece.header, entry

    def _on_checkpoint(self, header: Header, checkpoint: Checkpoint) -> None:
        before = self._header
        follows = (
            before is not None
            and (before.boot, before.life) == (header.boot, header.life)
            and header.number - before.number in (0, 1)
        )
        if follows and self._rerun is not None and self._asset is None:
            self._compare(
                "checkpoint", "", "", checkpoint, self._rerun.checkpoint(checkpoint.at_ns, checkpoint.wall_ns)
            )
            self._outcome.checkpoints += 1
        else:
            self._rerun = Rerun(header, checkpoint)
            self._wanted = self._wanted_of(header)
        self._header = header

    def _on_turn(self, header: Header, turn: Turn) -> None:
        rerun, outcome = self._rerun, self._outcome
        if rerun is None:
            return
        for row in turn.read:
            # Who is live is seen in the rows of all assets.
            rerun.set_row(row, self._quote_of(header, row) if row.asset in self._wanted else row.quote)
        recorded = {result.asset: result for result in turn.results}
        for asset in turn.reviewed:
            if asset not in self._wanted:
                continue
            decision, answer, is_new = rerun.review(asset, turn.at_ns)
            published = recorded.get(asset)
            if is_new is None and published is None:
                continue
            replayed = result_of(asset, outcome_of(decision), answer) if is_new is not False else None
            self._compare_result(header, asset, published, replayed)
            outcome.decisions += replayed is not None
        if turn.is_measured:
            rerun.measure_coins(turn.at_ns)
        outcome.turns += 1
        outcome.from_ns = turn.wall_ns if outcome.from_ns is None else outcome.from_ns
        outcome.to_ns = turn.wall_ns

    def _quote_of(self, header: Header, row: RowInput) -> StoredQuote | None:
        """The quote of a row that was read, out of its frame."""
        if row.quote is None:
            return None
        catalog = header.catalog
        exchange = catalog.exchanges[row.exchange]
        newest = row.quote.newest
        at_ns = newest.received_at_ns if newest is not None else 0
        found = self._source(header, exchange, at_ns).find(row.asset, row.quote)
        self._outcome.quotes += 1
        if found.search is Search.FOUND:
            return row.quote
        if found.search is Search.UNRECORDED:
            self._outcome.quotes_unrecorded += 1
            return row.quote
        asset = catalog.assets[row.asset].name
        said = found.quotes or None
        what = "no frame has this quote" if found.search is Search.MISSING else "the frame says something else"
        raise _DifferenceError(Difference(what, self._turn_wall_ns, asset, exchange, row.quote, said))

    def _compare_result(self, header: Header, asset: int, recorded: Result | None, replayed: Result | None) -> None:
        name = header.catalog.assets[asset].name
        self._compare("decision", name, "", recorded, replayed)

    def _compare(self, what: str, asset: str, exchange: str, recorded: object, replayed: object) -> None:
        if recorded != replayed:
            raise _DifferenceError(Difference(what, self._turn_wall_ns, asset, exchange, recorded, replayed))

    def _wanted_of(self, header: Header) -> set[int]:
        """The assets to recompute: all, or the one asked for and the coins that it is converted by."""
        names = [asset.name for asset in header.catalog.assets]
        if self._asset is None:
            return set(range(len(names)))
        asked = header.catalog.find_asset(self._asset)
        return {index for index, name in enumerate(names) if index == asked or name in COINS}

    def _source(self, header: Header, exchange: str, at_ns: int) -> FrameSource:
        """The exchange's frames from shortly before `at_ns` on; the replay only goes forwards."""
        key = (header.boot, exchange)
        if key not in self._sources:
            segments = []
            for info in list_segments(self._folder):
                found = header_of(info.path) if info.stream == exchange else None
                if found is not None and found.boot == header.boot:
                    segments.append((info, found))
            segments.sort(key=lambda pair: pair[1].at_ns)
            self._sources[key] = FrameSource(exchange, header.catalog, segments, at_ns)
        return self._sources[key]
