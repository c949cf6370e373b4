"""What streams send, tick by tick, over a clock that the test moves."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clocks import ManualClock
from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.live import publish
from trinity.clock import NS_PER_SECOND
from trinity.memory.node import NodeMemory
from workers.api.base.prices import Price, Prices
from workers.api.streams import board as board_module
from workers.api.streams.board import NOTHING_SEEN, PriceBoard, StreamEncoder

LATER_NS = 10**18  # valid for long: the tests say when a price ends
NAMES = [asset.name for asset in CATALOG.assets]
ALL = tuple(range(len(NAMES)))


class Counting:
    """An encoder that counts how often it was asked to render."""

    def __init__(self) -> None:
        self.items = self.frames = 0
        self.encoder = StreamEncoder("counting", self._frame, self._encode_item)

    def _encode_item(self, price: Price) -> bytes:
        self.items += 1
        return f"{price.asset}={price.usd if price.is_fresh else price.code}".encode()

    def _frame(self, cursor: str, items: Sequence[bytes]) -> bytes:
        self.frames += 1
        return b" ".join(items)


@pytest.fixture
def stage() -> Iterator[tuple[NodeMemory, ManualClock, PriceBoard, Counting]]:
    with empty_node() as memory:
        for name in NAMES:
            publish(memory, name, "1", valid_until_ns=LATER_NS)
        clock = ManualClock(1_000_000_000, 0)
        yield memory, clock, PriceBoard(Prices(CATALOG, memory.answers), clock, 77), Counting()


@pytest.fixture(scope="module")
def quiet_board() -> Iterator[PriceBoard]:
    with empty_node() as memory:
        yield PriceBoard(Prices(CATALOG, memory.answers), ManualClock(1_000_000_000, 0), 77)


def test_the_newest_value_wins_and_nothing_is_history(stage: Any) -> None:
    """Who comes late takes one value an asset, the newest."""
    memory, clock, board, counting = stage
    _, seen = board.take(counting.encoder, (0, 1), NOTHING_SEEN)
    for price in ("2", "3", "4"):
        publish(memory, NAMES[0], price, valid_until_ns=LATER_NS)
        clock.now_ns += 1000
        board.poll()
    chunk, seen = board.take(counting.encoder, (0, 1), seen)
    assert chunk == f"{NAMES[0]}=4".encode()
    assert board.take(counting.encoder, (0, 1), seen) == (b"", seen)


def test_a_change_is_rendered_once_for_all_clients(stage: Any) -> None:
    """A thousand clients of one subscription share one chunk; others share its items."""
    memory, clock, board, counting = stage
    seen = board.take(counting.encoder, ALL, NOTHING_SEEN)[1]
    items, frames = counting.items, counting.frames
    publish(memory, NAMES[2], "5", valid_until_ns=LATER_NS)
    clock.now_ns += 1000
    assert board.poll()
    chunks = {id(board.take(counting.encoder, ALL, seen)[0]) for _ in range(1000)}
    assert len(chunks) == 1
    assert board.take(counting.encoder, (2, 3), seen)[0] == f"{NAMES[2]}=5".encode()
    assert (counting.items - items, counting.frames - frames) == (1, 2)


def test_time_alone_turns_a_price_into_a_refusal(stage: Any) -> None:
    """A dead consensus process writes nothing: the stream says so all the same, once."""
    memory, clock, board, counting = stage
    publish(memory, NAMES[0], "9", valid_until_ns=clock.now_ns + NS_PER_SECOND)
    board.poll()
    chunk, seen = board.take(counting.encoder, (0,), NOTHING_SEEN)
    assert chunk == f"{NAMES[0]}=9".encode()
    clock.now_ns += NS_PER_SECOND
    assert board.poll()
    assert board.take(counting.encoder, (0,), seen)[0] == f"{NAMES[0]}=stale_price".encode()
    assert not board.poll()


def test_what_was_added_is_sent_although_it_did_not_change(stage: Any) -> None:
    """A new subscription gets its newest values at once."""
    _, _, board, counting = stage
    seen = board.take(counting.encoder, (0,), NOTHING_SEEN)[1]
    assert board.take(counting.encoder, (0, 1), seen, frozenset({1}))[0] == f"{NAMES[1]}=1".encode()
    assert board.take(counting.encoder, (0, 1), seen)[0] == b""


def test_a_mark_continues_in_another_process_of_the_node(stage: Any) -> None:
    """Nothing that changed since is left out, and nothing that did not is sent again."""
    memory, clock, board, counting = stage
    clock.now_ns += 1000
    twin = PriceBoard(Prices(CATALOG, memory.answers), clock, 77)
    publish(memory, NAMES[0], "2", valid_until_ns=LATER_NS)
    clock.now_ns += 1000
    board.poll()
    twin.poll()
    cursor = board.cursor((0, 1))
    clock.now_ns += 1000
    publish(memory, NAMES[1], "3", valid_until_ns=LATER_NS)
    twin.poll()
    assert twin.take(counting.encoder, (0, 1), twin.seen_by(cursor, (0, 1)))[0] == f"{NAMES[1]}=3".encode()


def test_a_mark_that_is_not_of_this_subscription_and_life_has_seen_nothing(stage: Any) -> None:
    """Everything is sent then, so nobody misses anything."""
    memory, clock, board, _ = stage
    cursor = board.cursor((0, 1))
    assert board.seen_by(cursor, (0, 1)) == board.tick
    assert board.seen_by(cursor, (0, 1, 2)) == NOTHING_SEEN
    assert PriceBoard(Prices(CATALOG, memory.answers), clock, 78).seen_by(cursor, (0, 1)) == NOTHING_SEEN
    ahead = cursor.rpartition("-")[0] + f"-{clock.now_ns + 1:x}"
    assert board.seen_by(ahead, (0, 1)) == NOTHING_SEEN


@settings(max_examples=50)
@given(st.text() | st.from_regex(r"\A[0-9a-f_ +-]*-[0-9a-f]*-[0-9a-fx_ -]*\Z"))
def test_foreign_cursors_do_no_harm(quiet_board: PriceBoard, cursor: str) -> None:
    """Whatever a client sends as Last-Event-ID."""
    assert quiet_board.seen_by(cursor, (0,)) == NOTHING_SEEN


async def test_the_end_wakes_everybody(stage: Any) -> None:
    """A drain does not wait for a change."""
    _, _, board, _ = stage
    draining = asyncio.Event()
    running = asyncio.create_task(board.run(draining))
    waiting = asyncio.create_task(board.turn())
    draining.set()
    async with asyncio.timeout(60):
        await asyncio.gather(running, waiting)
    assert board.is_closed


def test_made_up_marks_fill_no_memory(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cursor is another chunk; what is shared is bounded, and beyond that everybody is still served."""
    _, clock, board, counting = stage
    monkeypatch.setattr(board_module, "CHUNKS_BYTES_MAX", 10_000)
    clock.now_ns += 10**9
    for seen in range(1, 1000):
        chunk, _ = board.take(counting.encoder, ALL, seen)
        assert chunk.count(b"=") == len(ALL)
    assert sum(map(len, board._chunks.values())) <= 10_000
