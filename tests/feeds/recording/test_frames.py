"""Frames found again: by their moment, over all segments, and what it means when they are not."""

from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from feeds.recording.frames import FrameSource, Search, as_stored
from feeds.recording.segments import FOLDER, header_of, list_segments
from feeds.wire import Quote
from tests.feeds.consensus_cases import catalog_of, quote_of, seat_of
from tests.feeds.recording.small_node import small_node
from trinity.clock import SystemClock
from trinity.memory.price_table import StoredQuote, Via

SOL = 1


def source_of(data_dir: Path, exchange: str) -> FrameSource:
    infos = [info for info in list_segments(data_dir / FOLDER) if info.stream == exchange]
    return FrameSource(exchange, catalog_of(), [(info, header_of(info.path)) for info in infos])  # type: ignore[misc]


def test_a_quote_is_found_in_the_frame_of_its_moment(tmp_path: Path) -> None:
    """Gemini's halves are put together again, also when recording began between them."""
    with small_node(tmp_path) as node:
        node.send("gemini", "200.5")
        node.switch(True)
        node.send("gemini", "200.7", trade=True)
        read = node.seat.prices.read(1, SOL)
        assert read is not None
        node.turn()
        node.close()
    source = source_of(tmp_path, "gemini")

    assert (read.bid, read.last) == (Decimal("200.5"), Decimal("200.7"))
    assert source.find(SOL, read).search is Search.FOUND
    assert source.find(SOL, read._replace(bid=Decimal(1))).search is Search.OTHER
    assert source.find(0, read).search is Search.MISSING
    later = read._replace(received_at_ns=read.received_at_ns + 10**12)
    assert source.find(SOL, later).search is Search.UNRECORDED
    assert source.frames == 1


def test_the_kind_of_receipt_belongs_to_the_quote(tmp_path: Path) -> None:
    """A REST answer is not a WebSocket frame, although both say the same."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.answer("200.5")
        read = node.seat.prices.read(2, SOL)
        assert read is not None
        node.turn()
        node.close()
    source = source_of(tmp_path, "kraken")

    assert source.find(SOL, read).search is Search.FOUND
    assert source.find(SOL, read._replace(via=Via.WS)).search is Search.OTHER


PRICES = st.one_of(
    st.none(), st.decimals(min_value=Decimal("1e-9"), max_value=10**6, places=9, allow_nan=False, allow_infinity=False)
)


@given(PRICES, PRICES)
def test_a_stored_quote_is_what_the_table_gives_back(book: Decimal | None, last: Decimal | None) -> None:
    """The table's own round trip and the replay's agree for every quote."""
    if book is None and last is None:
        book = Decimal("1.5")
    quote = Quote("SOL", book, book, last, 7)
    with seat_of(SystemClock()) as seat:
        seat.prices.write(0, SOL, StoredQuote(book, book, last, 7, 5, 6, Via.WS))
        table = seat.prices.read(0, SOL)
    assert table == as_stored(quote, 5, 6, Via.WS)
    assert table != quote_of("1")
