"""The recorded frames of one exchange, decoded again, in order: does a quote that was read stand in one of them?

Rules: the decoders are the feeds' own, and no price of one frame depends on another. Each side of a quote is looked for
by itself, in the frame that its own two times of receipt name; a frame may hold several quotes of one asset. Frames are
looked through once, forwards: the consensus reads a quote right after its newest frame, and no side of it is older than
the asset's age limit.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from feeds.audit.entries import Frame, Header, Opened, RecordedAnswer
from feeds.audit.segments import SegmentInfo, read_chunks, read_segment
from feeds.exchanges.contract import Decoder, Event, ExactPrice, Quote, RestRequest
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.markets import Catalog
from trinity.memory.price_table import Side, StoredQuote, Via

# The consensus reads a quote within milliseconds; a process that was stopped may be later.
_LATE_NS = 60 * NS_PER_SECOND
_FORGET_EVERY = 10_000


class Search(Enum):
    """What became of the search for a quote."""

    FOUND = "found"
    OTHER = "other"  # its frame says something else
    MISSING = "missing"  # no frame of that moment, although frames were recorded then
    UNRECORDED = "unrecorded"  # frames of that moment were not recorded, or died with their process


class Found(NamedTuple):
    """`quotes` are what the frames of its sides' moments say of the asset."""

    search: Search
    quotes: tuple[Quote, ...] = ()


class _Decoded(NamedTuple):
    """One frame: when and how it was received, and its quotes by asset."""

    at_ns: int
    wall_ns: int
    via: Via
    quotes: list[tuple[int, Quote]]


# A quote is what the worst found of its sides is.
_WORST_FIRST = (Search.OTHER, Search.MISSING, Search.UNRECORDED)
_SIDES = ("bid", "ask", "last")


class FrameSource:
    """The frames of one exchange within one boot of the machine; `segments` in the order of their beginning.

    No quote from before `from_ns` (monotonic) will be looked for.
    """

    def __init__(
        self, exchange: str, catalog: Catalog, segments: Sequence[tuple[SegmentInfo, Header]], from_ns: int = 0
    ) -> None:
        self._module = EXCHANGE_MODULES[exchange]
        self._assets = {
            self._module.symbol_of(market): catalog.asset_index(market.asset) for market in catalog.markets_of(exchange)
        }
        self._kept_ns = _LATE_NS + max(asset.rules.max_age_ms for asset in catalog.assets) * NS_PER_MS
        spans = [(pair, _span_of(*pair)) for pair in segments]
        needed = [(pair, span) for pair, span in spans if span[1] >= from_ns - self._kept_ns]
        self._spans = [span for _, span in needed]
        self._frames = self._decoded([pair for pair, _ in needed])
        self._ahead = next(self._frames, None)
        self._quotes: dict[tuple[int, int, int], tuple[tuple[Via, Quote], ...]] = {}
        self.frames = 0

    def find(self, asset: int, quote: StoredQuote) -> Found:
        """Look for a quote that the consensus read."""
        sides = [(name, side) for name, side in zip(_SIDES, quote[:3], strict=True) if side is not None]
        newest_ns = max((side.received_at_ns for _, side in sides), default=0)
        while self._ahead is not None and self._ahead.at_ns <= newest_ns:
            self._keep(self._ahead)
            self._ahead = next(self._frames, None)
        found = [
            self._find_side(asset, name, side, quote.via if side.received_at_ns == newest_ns else None)
            for name, side in sides
        ]
        said = tuple(dict.fromkeys(quote for one in found for quote in one.quotes))
        kinds = {one.search for one in found}
        return Found(next((kind for kind in _WORST_FIRST if kind in kinds), Search.FOUND), said)

    def _find_side(self, asset: int, name: str, side: Side, via: Via | None) -> Found:
        """`via` is None where the table no longer knows how the side came."""
        said = self._quotes.get((asset, side.received_at_ns, side.received_wall_ns))
        if said is not None:
            wanted = (side.price, side.exchange_time_ns)
            is_there = any(_said(quote, name) == wanted and via in (None, came) for came, quote in said)
            return Found(Search.FOUND if is_there else Search.OTHER, tuple(quote for _, quote in said))
        if any(start_ns <= side.received_at_ns <= end_ns for start_ns, end_ns in self._spans):
            return Found(Search.MISSING)
        return Found(Search.UNRECORDED)

    def _keep(self, frame: _Decoded) -> None:
        for asset, quote in frame.quotes:
            key = (asset, frame.at_ns, frame.wall_ns)
            self._quotes[key] = (*self._quotes.get(key, ()), (frame.via, quote))
        self.frames += 1
        if self.frames % _FORGET_EVERY == 0:
            oldest_ns = frame.at_ns - self._kept_ns
            self._quotes = {key: said for key, said in self._quotes.items() if key[1] >= oldest_ns}

    def _decoded(self, segments: Sequence[tuple[SegmentInfo, Header]]) -> Iterator[_Decoded]:
        """Each frame and each REST answer with its quotes."""
        for info, _ in segments:
            decoders: dict[int, Decoder] = {}
            for _, entries in read_segment(info.path):
                for entry in entries:
                    if isinstance(entry, Opened):
                        decoders[entry.connection] = self._module.new_decoder()
                    elif isinstance(entry, Frame | RecordedAnswer):
                        events = self._events_of(entry, decoders)
                        quotes = [
                            (self._assets[event.symbol], event)
                            for event in events
                            if isinstance(event, Quote) and event.symbol in self._assets
                        ]
                        via = Via.REST if isinstance(entry, RecordedAnswer) else Via.WS
                        yield _Decoded(entry.at_ns, entry.wall_ns, via, quotes)

    def _events_of(self, entry: Frame | RecordedAnswer, decoders: dict[int, Decoder]) -> list[Event]:
        if isinstance(entry, RecordedAnswer):
            return self._module.on_rest(RestRequest(entry.path, entry.symbols), entry.status, entry.body)
        decoder = decoders.get(entry.connection)
        if decoder is None:
            decoder = decoders[entry.connection] = self._module.new_decoder()
        return decoder.on_frame(entry.frame)


def _said(quote: Quote, name: str) -> tuple[Decimal | None, int | None]:
    price: ExactPrice | None = getattr(quote, name)
    return (price.decimal if price is not None else None), quote.exchange_time_ns


def _span_of(info: SegmentInfo, header: Header) -> tuple[int, int]:
    """From when to when a segment has every frame."""
    return header.at_ns, max((chunk.at_ns for chunk in read_chunks(info.path)), default=header.at_ns)
