"""The recorded frames of one exchange, decoded again, in order: does a quote that was read stand in one of them?

Rules: the decoders are the feeds' own. A segment stands alone: it begins with what each connection's decoder carried.
A quote is named by its asset and the two times of its frame's receipt; a frame may hold several of one asset. Frames
are looked through once, forwards: the consensus reads a quote right after its frame.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from feeds.recording.entries import Answer, Entry, Frame, Header, Opened
from feeds.recording.segments import SegmentInfo, read_chunks, read_segment
from feeds.registry import EXCHANGE_MODULES
from feeds.wire import Decoder, Event, Quote, RestRequest
from trinity.clock import NS_PER_SECOND
from trinity.markets import Catalog
from trinity.memory.price_table import StoredQuote, Via, mantissa_of, scale_of

# The consensus reads a quote within milliseconds; a process that was stopped may be later.
KEPT_NS = 60 * NS_PER_SECOND
_FORGET_EVERY = 10_000


class Search(Enum):
    """What became of the search for a quote."""

    FOUND = "found"
    OTHER = "other"  # its frame says something else
    MISSING = "missing"  # no frame of that moment, although frames were recorded then
    UNRECORDED = "unrecorded"  # frames of that moment were not recorded, or died with their process


class Found(NamedTuple):
    """`quotes` are what the frame of that moment says of the asset."""

    search: Search
    quotes: tuple[StoredQuote, ...] = ()


class FrameSource:
    """The frames of one exchange within one boot of the machine; `segments` in the order of their beginning.

    Nothing older than `from_ns` (monotonic) will be looked for.
    """

    def __init__(
        self, exchange: str, catalog: Catalog, segments: Sequence[tuple[SegmentInfo, Header]], from_ns: int = 0
    ) -> None:
        self._module = EXCHANGE_MODULES[exchange]
        self._assets = {
            self._module.symbol_of(market): catalog.asset_index(market.asset) for market in catalog.markets_of(exchange)
        }
        spans = [(pair, _span_of(*pair)) for pair in segments]
        needed = [(pair, span) for pair, span in spans if span[1] >= from_ns]
        self._spans = [span for _, span in needed]
        self._frames = self._decoded([pair for pair, _ in needed])
        self._ahead = next(self._frames, None)
        self._quotes: dict[tuple[int, int, int], tuple[StoredQuote, ...]] = {}
        self.frames = 0

    def find(self, asset: int, quote: StoredQuote) -> Found:
        """Look for a quote that the consensus read."""
        while self._ahead is not None and self._ahead[0] <= quote.received_at_ns:
            self._keep(self._ahead[1])
            self._ahead = next(self._frames, None)
        said = self._quotes.get((asset, quote.received_at_ns, quote.received_wall_ns))
        if said is not None:
            return Found(Search.FOUND if quote in said else Search.OTHER, said)
        if any(start_ns <= quote.received_at_ns <= end_ns for start_ns, end_ns in self._spans):
            return Found(Search.MISSING)
        return Found(Search.UNRECORDED)

    def _keep(self, quotes: list[tuple[int, StoredQuote]]) -> None:
        for asset, quote in quotes:
            key = (asset, quote.received_at_ns, quote.received_wall_ns)
            self._quotes[key] = (*self._quotes.get(key, ()), quote)
        self.frames += 1
        if self.frames % _FORGET_EVERY == 0 and quotes:
            oldest_ns = quotes[-1][1].received_at_ns - KEPT_NS
            self._quotes = {key: said for key, said in self._quotes.items() if key[1] >= oldest_ns}

    def _decoded(
        self, segments: Sequence[tuple[SegmentInfo, Header]]
    ) -> Iterator[tuple[int, list[tuple[int, StoredQuote]]]]:
        """Receipt time and quotes of each frame and each REST answer."""
        for info, _ in segments:
            decoders: dict[int, Decoder] = {}
            for _, entries in read_segment(info.path):
                for entry in entries:
                    if isinstance(entry, Opened):
                        decoders[entry.connection] = self._module.new_decoder(entry.quotes)
                    else:
                        yield from self._decode(entry, decoders)

    def _decode(
        self, entry: Entry, decoders: dict[int, Decoder]
    ) -> Iterator[tuple[int, list[tuple[int, StoredQuote]]]]:
        events: list[Event]
        if isinstance(entry, Frame):
            decoder = decoders.get(entry.connection)
            if decoder is None:
                decoder = decoders[entry.connection] = self._module.new_decoder()
            events, via = decoder.on_frame(entry.frame), Via.WS
        elif isinstance(entry, Answer):
            request = RestRequest(entry.path, entry.symbols)
            events, via = self._module.on_rest(request, entry.status, entry.body), Via.REST
        else:
            return
        yield (
            entry.at_ns,
            [
                (self._assets[event.symbol], as_stored(event, entry.at_ns, entry.wall_ns, via))
                for event in events
                if isinstance(event, Quote) and event.symbol in self._assets
            ],
        )


def _span_of(info: SegmentInfo, header: Header) -> tuple[int, int]:
    """From when to when a segment has every frame."""
    return header.at_ns, max((chunk.at_ns for chunk in read_chunks(info.path)), default=header.at_ns)


def as_stored(quote: Quote, at_ns: int, wall_ns: int, via: Via) -> StoredQuote:
    """The quote as the price table gives it back: all prices with the digits of the finest."""
    prices = (quote.bid, quote.ask, quote.last)
    scale = max(scale_of(price) for price in prices if price is not None)
    bid, ask, last = (
        Decimal(mantissa_of(price, scale)).scaleb(-scale) if price is not None else None for price in prices
    )
    return StoredQuote(bid, ask, last, quote.exchange_time_ns, at_ns, wall_ns, via)
