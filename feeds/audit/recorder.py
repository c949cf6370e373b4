"""The recorders of the running node: one watches a feed's frames, one the consensus process's turns.

Rules: off, a recorder costs its caller one look at `is_on`. On, entries are kept in memory and written as one chunk
some times a second, at a moment that the caller chooses. Whatever the disk refuses ends the recording, in the log and
in a gauge, and never the caller; it begins anew when recording was switched off and on again. Switching is a word of
the control segment that every recorder looks at.
"""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.audit.entries import (
    CONSENSUS_STREAM,
    VERSION,
    AssetState,
    Checkpoint,
    Entry,
    Frame,
    Header,
    Opened,
    RecordedAnswer,
    Result,
    RowInput,
    Turn,
)
from feeds.audit.segments import FOLDER, SegmentWriter, segment_bytes
from feeds.consensus.state import MarketState, ReviewOutcome
from feeds.consensus.turn import TurnFacts
from feeds.exchanges.contract import RestRequest
from trinity.clock import NS_PER_SECOND
from trinity.memory.control import NODE_RECORDING
from trinity.memory.price_table import StoredQuote
from trinity.observe.metrics import CONSENSUS, FEED
from trinity.process import ProcessContext

# What a killed process loses of its recording. A chunk of half a second compresses to a fifth.
FLUSH_NS = NS_PER_SECOND // 2
# A past moment is found from the checkpoint before it: at most so many seconds of turns are looked through.
CHECKPOINT_NS = 10 * NS_PER_SECOND
# A quiet stream begins a new segment after this time, so that its old ones can be dropped.
SEGMENT_NS = 600 * NS_PER_SECOND
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GAUGES = {
    "feed": FEED.index("feed_recording"),
    "consensus": CONSENSUS.index("consensus_recording"),
}


class RecordSettings(NamedTuple):
    """Where a recording goes and how large it may get, all streams together."""

    data_dir: Path
    bytes_max: int


class _Stream:
    """One process's stream of segments; `opening` gives the entries that every segment begins with."""

    def __init__(
        self, context: ProcessContext, settings: RecordSettings, name: str, opening: Callable[[], list[Entry]]
    ) -> None:
        self._context = context
        self._folder = settings.data_dir / FOLDER
        self._bytes_max = settings.bytes_max
        self._name = name
        self._opening = opening
        self._gauge = _GAUGES[context.kind]
        self._writer: SegmentWriter | None = None
        self._life = context.clock.wall_ns()
        self._number = 0
        self._flushed_at_ns = 0
        self._began_at_ns = 0
        self._failed = False
        self.entries: list[Entry] = []
        self.is_on = False
        context.block.set_gauge(self._gauge, 0.0)

    def follow(self, now_ns: int) -> None:
        """Begin or end as the control word says, and write what is due."""
        wanted = self._context.control.read_node_word(NODE_RECORDING) != 0
        if self.is_on and (not wanted or now_ns - self._flushed_at_ns >= FLUSH_NS):
            self.flush(now_ns)
        if wanted and not self.is_on and not self._failed:
            self._begin(now_ns)
        elif not wanted and (self.is_on or self._failed):
            self._end()

    def flush(self, now_ns: int) -> None:
        """Write what was gathered as one chunk; begin the next segment when this one is full."""
        writer = self._writer
        if writer is None:
            return
        try:
            if self.entries:
                writer.write(self.entries, now_ns, self._context.clock.wall_ns())
        except OSError as error:
            self._fail(error)
            return
        self.entries.clear()
        self._flushed_at_ns = now_ns
        if writer.size >= segment_bytes(self._bytes_max) or now_ns - self._began_at_ns >= SEGMENT_NS:
            self._begin(now_ns)

    def close(self, now_ns: int) -> None:
        """The process ends: write what is still in memory."""
        if self.is_on:
            self.flush(now_ns)
            self._end()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self.is_on, self._failed = None, False, False
        self.entries.clear()
        self._context.block.set_gauge(self._gauge, 0.0)
        self._context.log.info("recording ends")

    def _begin(self, now_ns: int) -> None:
        """Begin a segment, the first or the one behind a full one."""
        context = self._context
        if self._writer is None:
            self._life, self._number = context.clock.wall_ns(), 0
            context.log.info("recording begins", extra={"fields": {"folder": str(self._folder)}})
        else:
            self._writer.close()
        header = Header(
            VERSION,
            self._name,
            _boot(),
            self._life,
            self._number,
            now_ns,
            context.clock.wall_ns(),
            context.simulated,
            context.catalog,
        )
        try:
            self._writer = SegmentWriter(self._folder, header, self._bytes_max)
        except OSError as error:
            self._fail(error)
            return
        self._number += 1
        self._began_at_ns = self._flushed_at_ns = now_ns
        self.is_on = True
        self.entries = self._opening()
        context.block.set_gauge(self._gauge, 1.0)

    def _fail(self, error: OSError) -> None:
        self._context.log.error("recording ended by an error", extra={"fields": {"error": str(error)}})
        if self._writer is not None:
            self._writer.close()
        self._writer, self.is_on, self._failed = None, False, True
        self.entries.clear()
        self._context.block.set_gauge(self._gauge, -1.0)


class FrameRecorder(_Stream):
    """The raw frames of one exchange's feed."""

    def __init__(self, context: ProcessContext, settings: RecordSettings, exchange: str) -> None:
        super().__init__(context, settings, exchange, list)

    def opened(self, connection: int) -> None:
        """A connection is there."""
        if self.is_on:
            self.entries.append(Opened(connection))

    def frame(self, connection: int, at_ns: int, wall_ns: int, frame: bytes) -> None:
        self.entries.append(Frame(connection, at_ns, wall_ns, frame))

    def answer(self, request: RestRequest, status: int, body: bytes, at_ns: int, wall_ns: int) -> None:
        self.entries.append(RecordedAnswer(request.path, request.symbols, status, body, at_ns, wall_ns))


class DecisionRecorder(_Stream):
    """What the consensus process read and decided."""

    def __init__(
        self,
        context: ProcessContext,
        settings: RecordSettings,
    ) -> None:
        super().__init__(context, settings, CONSENSUS_STREAM, self._checkpoint)
        self._facts: TurnFacts | None = None
        self._quotes: dict[tuple[int, int], StoredQuote | None] = {}
        self._checkpoint_at_ns = 0

    @property
    def wants_each_turn(self) -> bool:
        return self.is_on

    def on_turn(self, facts: TurnFacts) -> None:
        """Record the turn; then begin, end, write, and start a chunk with a checkpoint when one is due."""
        self._facts = facts
        if self.is_on:
            self._record(facts)
        now_ns = facts.now_ns
        self.follow(now_ns)
        if self.is_on and now_ns - self._checkpoint_at_ns >= CHECKPOINT_NS:
            self.flush(now_ns)
            if self.is_on and not self.entries:
                self.entries = self._checkpoint()

    def _record(self, facts: TurnFacts) -> None:
        market = facts.market
        inputs = tuple(self._input(market, asset, exchange) for asset, exchange in market.read())
        results = tuple(_result_of(market, asset) for asset in facts.published["asset"].tolist())
        order = tuple(market.reviewed())
        self.entries.append(Turn(facts.now_ns, facts.wall_ns, inputs, order, results, facts.is_measured))

    def _input(self, market: MarketState, asset: int, exchange: int) -> RowInput:
        key, quote = (exchange, asset), market.quote(asset, exchange)
        is_same = self._quotes.get(key) == quote
        self._quotes[key] = quote
        return RowInput(exchange, asset, market.row_state(asset, exchange), None if is_same else quote, is_same)

    def _checkpoint(self) -> list[Entry]:
        clock, facts = self._context.clock, self._facts
        assert facts is not None, "a recording begins after a turn"
        self._checkpoint_at_ns = clock.monotonic_ns()
        market = facts.market
        rows = [
            RowInput(
                listing.exchange,
                asset,
                market.row_state(asset, listing.exchange),
                market.quote(asset, listing.exchange),
            )
            for asset, listings in enumerate(market.listings)
            for listing in listings
        ]
        self._quotes = {(row.exchange, row.asset): row.quote for row in rows}
        return [
            Checkpoint(
                self._checkpoint_at_ns,
                clock.wall_ns(),
                tuple(rows),
                tuple(_state_of(market, asset) for asset in range(len(market.assets))),
                dict(facts.indexes),
                dict(facts.held),
            )
        ]


def result_of(asset: int, outcome: ReviewOutcome, answer: NDArray[np.void]) -> Result:
    """What is compared of a published decision; the digest is of the whole answer record."""
    digest = blake2b(answer.tobytes(), digest_size=8).digest()
    return Result(asset, int(outcome.state), *outcome[1:], digest)


def _result_of(market: MarketState, asset: int) -> Result:
    answer = market.answers.read(market.answers.row_of(asset))
    assert answer is not None, "it was published"
    return result_of(asset, market.outcome(asset), answer)


def _state_of(market: MarketState, asset: int) -> AssetState:
    outcome = market.outcome(asset)
    return AssetState(market.carried(asset), market.last_good(asset), outcome.state, outcome.valid_until_ns)


def _boot() -> str:
    """Which boot of the machine: monotonic times of two are not comparable."""
    return _BOOT_ID.read_text().strip()
