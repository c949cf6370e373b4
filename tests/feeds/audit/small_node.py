"""A node in one process with a clock of its own: frames in, decoded by the real decoders, decided, recorded."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

from feeds.audit.entries import Entry, Frame, Header
from feeds.audit.recorder import DecisionRecorder, FrameRecorder, RecordSettings
from feeds.audit.segments import FOLDER, SegmentWriter, list_segments, read_segment
from feeds.consensus.process import Aggregator
from feeds.exchanges.contract import Quote, RestRequest
from feeds.exchanges.registry import EXCHANGE_MODULES
from tests.feeds.consensus.cases import context_of
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext
from tests.support.quotes import HasQuote
from trinity.clock import NS_PER_MS
from trinity.memory.control import NODE_RECORDING
from trinity.memory.price_table import RowState, Via

BYTES_MAX = 1 << 26
SOL_EXCHANGES = ("coinbase", "gemini", "kraken")


def frame_of(exchange: str, price: str, wall_ns: int, *, trade: bool = False) -> bytes:
    """A ticker of SOL as the exchange sends it."""
    if exchange == "coinbase":
        ticker = {"product_id": "SOL-USD", "price": price, "best_bid": price, "best_ask": price}
        return json.dumps({"channel": "ticker", "events": [{"tickers": [ticker]}]}).encode()
    if exchange == "kraken":
        data = f'[{{"symbol":"SOL/USD","bid":{price},"ask":{price},"last":{price}}}]'
        return f'{{"channel":"ticker","type":"update","data":{data}}}'.encode()
    if trade:
        return json.dumps({"E": wall_ns, "s": "solusd", "t": 1, "p": price, "q": "1", "m": True}).encode()
    return json.dumps({"u": 1, "E": wall_ns, "s": "solusd", "b": price, "B": "1", "a": price, "A": "1"}).encode()


class SmallNode:
    """SOL on three exchanges; every `turn` is one of the consensus process."""

    def __init__(self, context: OpenContext, clock: ManualClock, data_dir: Path, bytes_max: int) -> None:
        self.context = context
        self.clock = clock
        self.settings = RecordSettings(data_dir, bytes_max)
        self.decoders = {name: EXCHANGE_MODULES[name].new_decoder() for name in SOL_EXCHANGES}
        self.recorders = {}
        for name in self.decoders:
            self.recorders[name] = FrameRecorder(dataclasses.replace(context, kind="feed"), self.settings, name)
            self.recorders[name].opened(1)
        self.recorder = DecisionRecorder(context, self.settings)
        self.process = Aggregator(context, context.of_consensus, [self.recorder])

    def switch(self, on: bool) -> None:
        self.context.control.write_node_word(NODE_RECORDING, int(on))
        self.turn()

    def send(self, exchange: str, price: str, *, trade: bool = False) -> None:
        """A frame over the WebSocket."""
        at_ns, wall_ns = self.clock.monotonic_ns(), self.clock.wall_ns()
        frame = frame_of(exchange, price, wall_ns, trade=trade)
        if self.recorders[exchange].is_on:
            self.recorders[exchange].frame(1, at_ns, wall_ns, frame)
        for event in self.decoders[exchange].on_frame(frame):
            self._write(exchange, event, Via.WS)

    def answer(self, price: str) -> None:
        """Kraken answers a REST request."""
        request = RestRequest("/0/public/Ticker?pair=SOL/USD", ("SOL/USD",))
        body = json.dumps({"error": [], "result": {"SOL/USD": {"a": [price], "b": [price], "c": [price]}}}).encode()
        if self.recorders["kraken"].is_on:
            self.recorders["kraken"].answer(request, 200, body, self.clock.monotonic_ns(), self.clock.wall_ns())
        for event in EXCHANGE_MODULES["kraken"].on_rest(request, 200, body):
            self._write("kraken", event, Via.REST)

    def turn(self, seconds: float = 0.5) -> None:
        for recorder in self.recorders.values():
            recorder.follow(self.clock.monotonic_ns())
        self.process.turn()
        self.clock.advance(seconds)

    def restart_consensus(self) -> None:
        """The process was killed: what it had not written is lost."""
        if self.recorder._writer is not None:
            self.recorder._writer.close()
        self.recorder = DecisionRecorder(self.context, self.settings)
        self.process = Aggregator(self.context, self.context.of_consensus, [self.recorder])

    def kill(self) -> None:
        """Nothing more is written, by nobody."""
        for recorder in (self.recorder, *self.recorders.values()):
            if recorder._writer is not None:
                recorder._writer.close()

    def close(self) -> None:
        """A drain: everything in memory is written."""
        self.process.close()
        for recorder in self.recorders.values():
            recorder.close(self.clock.monotonic_ns())

    def trade_a_while(self, turns: int, seed: int = 1) -> None:
        """Prices that wander, an outlier now and then, REST, a frozen row, turns without any frame."""
        random, price = Random(seed), 20_000
        for _ in range(turns):
            price += random.randint(-10, 10)
            for exchange in SOL_EXCHANGES:
                if random.random() < 0.6:
                    told = price * 2 if random.random() < 0.01 else price + random.randint(-3, 3)
                    self.send(exchange, f"{told / 100:.2f}", trade=random.random() < 0.5)
            if random.random() < 0.2:
                self.answer(f"{price / 100:.2f}")
            if random.random() < 0.15:
                state = random.choice([RowState.FROZEN, RowState.LIVE, RowState.LIVE])
                self.context.prices.write_state(2, self.context.catalog.asset_index("SOL"), state)
            self.turn(random.choice([0.1, 0.5, 3.0]))

    def _write(self, exchange: str, event: object, via: Via) -> None:
        if isinstance(event, Quote):
            row = (self.context.catalog.exchange_index(exchange), self.context.catalog.asset_index("SOL"))
            max_age_ns = self.context.catalog.assets[row[1]].rules.max_age_ms * NS_PER_MS
            has = HasQuote(max_age_ns)
            self.context.prices.copy(*row, has.record.view(np.uint64))
            has.take(event, self.clock.monotonic_ns(), self.clock.wall_ns(), via)
            self.context.prices.write(*row, has.stored)


@contextlib.contextmanager
def small_node(data_dir: Path, bytes_max: int = BYTES_MAX) -> Iterator[SmallNode]:
    clock = ManualClock()
    with context_of(clock) as context:
        node = SmallNode(context, clock, data_dir, bytes_max)
        try:
            yield node
        finally:
            node.kill()


def rewrite(data_dir: Path, stream: str, change: Callable[[Entry], Entry | None]) -> None:
    """Write a stream's segments anew, each entry changed (None: left out), with right checksums."""
    for info in list_segments(data_dir / FOLDER):
        if info.stream != stream:
            continue
        chunks = list(read_segment(info.path))
        info.path.unlink()
        header = chunks[0][1][0]
        assert isinstance(header, Header)
        writer = SegmentWriter(data_dir / FOLDER, header, 1 << 40)
        for chunk, entries in chunks[1:]:
            kept = [entry for entry in map(change, entries) if entry is not None]
            if kept:
                writer.write(kept, chunk.at_ns, chunk.wall_ns)
        writer.close()


def frames_of(data_dir: Path, stream: str) -> list[Frame]:
    return [
        entry
        for info in list_segments(data_dir / FOLDER)
        if info.stream == stream
        for _, entries in read_segment(info.path)
        for entry in entries
        if isinstance(entry, Frame)
    ]
