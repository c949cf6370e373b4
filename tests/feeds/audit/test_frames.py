"""Frames found again: by their moment, over all segments, and what it means when they are not."""

from decimal import Decimal
from pathlib import Path

from feeds.audit.frames import FrameSource, Search
from feeds.audit.segments import FOLDER, header_of, list_segments
from tests.feeds.audit.small_node import small_node
from tests.feeds.consensus.cases import catalog_of
from trinity.memory.price_table import Via

SOL = 1


def source_of(data_dir: Path, exchange: str) -> FrameSource:
    infos = [info for info in list_segments(data_dir / FOLDER) if info.stream == exchange]
    return FrameSource(exchange, catalog_of(), [(info, header_of(info.path)) for info in infos])  # type: ignore[misc]


def test_a_quote_is_found_in_the_frame_of_its_moment(tmp_path: Path) -> None:
    """Each half of a Gemini quote stands in the frame of its own moment."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.send("gemini", "200.5")
        node.turn()
        node.send("gemini", "200.7", trade=True)
        read = node.context.prices.read(1, SOL)
        assert read is not None
        node.turn()
        node.close()
    source = source_of(tmp_path, "gemini")

    assert read.bid is not None
    assert read.last is not None
    assert (read.bid.price, read.last.price) == (Decimal("200.5"), Decimal("200.7"))
    assert read.bid.received_at_ns < read.last.received_at_ns
    assert source.find(SOL, read).search is Search.FOUND
    assert source.find(SOL, read._replace(bid=read.bid._replace(price=Decimal(1)))).search is Search.OTHER
    assert source.find(SOL, read._replace(bid=read.last._replace(price=Decimal("200.5")))).search is Search.OTHER
    assert source.find(SOL, read._replace(ask=read.bid._replace(exchange_time_ns=7))).search is Search.OTHER
    assert source.find(0, read).search is Search.MISSING
    later = read._replace(last=read.last._replace(received_at_ns=read.last.received_at_ns + 10**12))
    assert source.find(SOL, later).search is Search.UNRECORDED
    assert source.frames == 2


def test_a_half_from_before_the_recording_is_told(tmp_path: Path) -> None:
    """The book came unrecorded, the trade's frame is there: the quote is not proved, and not refuted."""
    with small_node(tmp_path) as node:
        node.send("gemini", "200.5")
        node.turn()
        node.switch(True)
        node.send("gemini", "200.7", trade=True)
        read = node.context.prices.read(1, SOL)
        assert read is not None
        node.turn()
        node.close()
    assert source_of(tmp_path, "gemini").find(SOL, read).search is Search.UNRECORDED


def test_the_kind_of_receipt_belongs_to_the_quote(tmp_path: Path) -> None:
    """A REST answer is not a WebSocket frame, although both say the same."""
    with small_node(tmp_path) as node:
        node.switch(True)
        node.answer("200.5")
        read = node.context.prices.read(2, SOL)
        assert read is not None
        node.turn()
        node.close()
    source = source_of(tmp_path, "kraken")

    assert source.find(SOL, read).search is Search.FOUND
    assert source.find(SOL, read._replace(via=Via.WS)).search is Search.OTHER
