"""Who gets what and when, over a clock and connections that the test moves; real connections are test_events.py's."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clocks import ManualClock
from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.live import publish
from trinity.clock import NS_PER_SECOND
from trinity.memory.node import NodeMemory
from workers.api.base.prices import Price, Prices
from workers.api.base.serving.direct import BodyPiece
from workers.api.streams import fanout as module
from workers.api.streams.board import NOTHING_SEEN, TICK_SECONDS, PriceBoard, StreamEncoder
from workers.api.streams.fanout import HEARTBEAT_NS, STALL_NS, Fanout, Reader, StreamOrder

LATER_NS = 10**18
TICK_NS = int(TICK_SECONDS * NS_PER_SECOND)
NAMES = [asset.name for asset in CATALOG.assets]
ENCODER = StreamEncoder(
    "plain",
    lambda _, items: b" ".join(items),
    lambda price: f"{price.asset}={price.usd}".encode(),
    b"heartbeat",
)


class Line:
    """A connection whose other end reads when the test says so."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.waiting_bytes = 0
        self.is_open = True  # takes what it is given
        self.is_gone = False

    def write(self, piece: BodyPiece) -> None:
        assert self.waiting_bytes == 0, "nothing is queued behind what waits"
        self.pieces.append(piece.body)
        self.waiting_bytes = 0 if self.is_open else len(piece.framed)

    def flush(self) -> int:
        if self.is_open:
            self.waiting_bytes = 0
        return self.waiting_bytes


class Stage:
    """A fanout over a board of prices that the test publishes."""

    def __init__(self, memory: NodeMemory) -> None:
        self.memory = memory
        self.clock = ManualClock()
        for name in NAMES:
            self.publish(name, "1")
        self.rendered: list[str] = []
        self.board = PriceBoard(Prices(CATALOG, memory.answers), self.clock, 77)
        self.fanout = Fanout(self.board, self.clock)

    def publish(self, name: str, price: str) -> None:
        publish(self.memory, name, price, valid_until_ns=LATER_NS)

    def add(self, *assets: int, interval_ns: int = 0, encoder: StreamEncoder = ENCODER) -> tuple[Line, Reader]:
        line: Any = Line()
        return line, self.fanout.add(line, StreamOrder(encoder, assets, interval_ns), NOTHING_SEEN)

    async def turn(self, seconds: float = TICK_SECONDS) -> float:
        """So much later: a turn; in how many seconds the next one is due."""
        self.clock.advance(seconds)
        due_ns = await self.fanout._serve_all()
        return self.fanout._seconds_until(due_ns)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with empty_node() as memory:
        yield Stage(memory)


async def test_a_newcomer_gets_all_at_once_and_then_what_changes(stage: Stage) -> None:
    """Each in one piece, the newest value only."""
    line, _ = stage.add(0, 1)
    assert line.pieces == [f"{NAMES[0]}=1 {NAMES[1]}=1".encode()]
    for price in ("2", "3"):
        stage.publish(NAMES[1], price)
    stage.publish(NAMES[2], "4")
    await stage.turn()
    await stage.turn()
    assert line.pieces[1:] == [f"{NAMES[1]}=3".encode()]


async def test_a_chunk_is_made_once_for_all_who_have_seen_the_same(stage: Stage) -> None:
    """However many they are."""
    rendered: list[str] = []

    def encode(price: Price) -> bytes:
        rendered.append(price.asset)
        return price.asset.encode()

    encoder = ENCODER._replace(name="counting", encode_item=encode)
    lines = [stage.add(0, 1, 2, encoder=encoder)[0] for _ in range(120)]
    stage.publish(NAMES[1], "2")
    rendered.clear()
    await stage.turn()
    assert rendered == [NAMES[1]]
    assert len({id(line.pieces[1]) for line in lines}) == 1


async def test_who_comes_late_in_a_turn_gets_what_is_newest_then(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price that changes in the middle of a turn is not held back until the next."""
    monkeypatch.setattr(module, "_WRITES_AT_ONCE", 2)
    lines = [stage.add(0)[0] for _ in range(4)]
    stage.publish(NAMES[0], "2")
    asyncio.get_running_loop().call_soon(stage.publish, NAMES[0], "3")
    await stage.turn()
    assert [line.pieces[1:] for line in lines] == [[f"{NAMES[0]}={price}".encode()] for price in (2, 2, 3, 3)]
    await stage.turn()
    assert [line.pieces[-1] for line in lines] == [f"{NAMES[0]}=3".encode()] * 4
    assert [len(line.pieces) for line in lines] == [3, 3, 2, 2]


async def test_a_slow_reader_gets_the_newest_when_it_reads_and_nothing_is_queued(stage: Stage) -> None:
    """Others are not held up; it is tried again although nothing changed."""
    slow, _ = stage.add(0)
    quick, _ = stage.add(0)
    slow.is_open = False
    for price in range(2, 6):
        stage.publish(NAMES[0], str(price))
        assert await stage.turn() == (module.QUIET_SECONDS if price == 2 else 0)
    assert (len(slow.pieces), len(quick.pieces)) == (2, 5)
    slow.is_open = True
    await stage.turn()
    assert len(slow.pieces) == 2
    await stage.turn()
    assert slow.pieces[2:] == [f"{NAMES[0]}=5".encode()]


async def test_a_reader_that_takes_nothing_for_long_is_ended(stage: Stage) -> None:
    """From its last byte on; and one that is gone at once."""
    (stalled, ends), (left, leaves) = stage.add(0), stage.add(0)
    stalled.is_open = False
    stage.publish(NAMES[0], "2")
    await stage.turn()
    await stage.turn(STALL_NS / NS_PER_SECOND - 1)
    assert not ends.ended.done()
    left.is_gone = True
    await stage.turn(1)
    assert ends.ended.done()
    assert leaves.ended.done()
    for reader in (ends, leaves):
        stage.fanout.remove(reader)
    got = len(left.pieces)
    stage.publish(NAMES[0], "3")
    await stage.turn()
    assert len(left.pieces) == got


async def test_an_interval_holds_back_and_is_due_in_time(stage: Stage) -> None:
    """The next turn is when the pause ends, not with the next change."""
    line, _ = stage.add(0, interval_ns=NS_PER_SECOND)
    stage.publish(NAMES[0], "2")
    assert await stage.turn(0.4) == pytest.approx(0.6)
    stage.publish(NAMES[0], "3")
    assert await stage.turn(0.4) == pytest.approx(0.2)
    assert len(line.pieces) == 1
    await stage.turn(0.2)
    assert line.pieces[1:] == [f"{NAMES[0]}=3".encode()]


async def test_silence_is_filled(stage: Stage) -> None:
    """Also while an interval lasts; not when there was something to say."""
    line, _ = stage.add(0)
    paused, _ = stage.add(1, interval_ns=3 * HEARTBEAT_NS)
    await stage.turn(HEARTBEAT_NS / NS_PER_SECOND - 1)
    assert len(line.pieces) == 1
    stage.publish(NAMES[0], "2")
    await stage.turn(1)
    assert line.pieces[1:] == [f"{NAMES[0]}=2".encode()]
    assert paused.pieces[1:] == [b"heartbeat"]
    await stage.turn(HEARTBEAT_NS / NS_PER_SECOND)
    assert line.pieces[2:] == [b"heartbeat"]


async def test_all_end_with_the_board(stage: Stage) -> None:
    """A drain waits for no change."""
    _, reader = stage.add(0)
    draining = asyncio.Event()
    running = [asyncio.create_task(one) for one in (stage.board.run(draining), stage.fanout.run())]
    draining.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*running, reader.ended)
