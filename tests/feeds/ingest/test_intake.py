"""The compiled way into the table beside Python's: the same frames make the same cells, rows, counters, refusals."""

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from feeds.exchanges import kraken
from feeds.exchanges.contract import Quote
from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.exchanges.walk import make_form
from feeds.ingest import intake
from feeds.ingest.connection import Connection
from feeds.ingest.counters import FeedCounters
from feeds.ingest.rows import Rows
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext, open_context
from trinity.clock import NS_PER_MS
from trinity.compiled import jit_enabled
from trinity.markets import load_catalog
from trinity.memory.price_table import RowState, Via
from trinity.native.octets import octets_of
from trinity.observe.metrics import FEED
from trinity.vocabulary import REFUSAL_REASONS

pytestmark = pytest.mark.uncompiled


class Notes:
    """An observer that keeps the frames."""

    is_on = True

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []

    def frame(self, connection: int, at_ns: int, wall_ns: int, frame: bytes) -> None:
        self.frames.append((connection, at_ns, frame))


class Slow:
    """An exchange whose frames are all left to its decoder."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.FREQUENT = make_form({})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class Side:
    """One exchange's rows and two connections over a node's memory of their own."""

    def __init__(self, context: OpenContext, clock: ManualClock, name: str, exchange: Any) -> None:
        self.context, self.clock, self.notes = context, clock, Notes()
        self.index = context.catalog.exchange_index(name)
        self.counters = FeedCounters(context.block, context.log, clock.monotonic_ns())
        self.rows = Rows(context, context.of_feed, name, exchange, self.counters, Random(1))
        self.lines = [
            Connection(context, context.wake_fd, exchange, "x", self.rows, self.counters, serial, self.notes)  # type: ignore[arg-type]
            for serial in (1, 2)
        ]
        for line in self.lines:
            line._pace.wait_ns = lambda *_: 0  # type: ignore[method-assign]
            line.watch.on_open(clock.monotonic_ns())

    def read(self, frames: Sequence[bytes], line: int = 0, tail: bytes = b"") -> None:
        octets = b"".join(Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in frames)
        taken = self.lines[line]._take_read(octets_of(octets + tail), 0, len(octets + tail))
        assert taken == len(octets)

    def standing(self) -> dict[str, Any]:
        """All that can be seen of it."""
        self.counters.check(self.clock.monotonic_ns())
        block, prices = self.context.block, self.context.prices
        cells = [(prices.read(self.index, row.asset_index), row.state, row.connection_serial) for row in self.rows]
        watches = [(line.watch.quote_at_ns, line.watch.first_quote_ns, line.watch.frame_at_ns) for line in self.lines]
        return {
            "cells": cells,
            "versions": prices.versions().tolist(),
            "states": prices.states().tolist(),
            "rows": self.rows.intake.feed["rows"].tolist(),
            "lines": [line.watch.line.tolist() for line in self.lines],
            "watches": watches,
            "frames": block.read_counter(FEED.index("frames_total")),
            "quotes": block.read_counter(FEED.index("quotes_total", "ws")),
            "refusals": [block.read_counter(FEED.index("parse_errors_total", name)) for name in REFUSAL_REASONS],
            "seen": self.notes.frames,
            "replace": [line.replace for line in self.lines],
            "sequence": [int(line._decoder.memory[0]) for line in self.lines],
        }


class Both:
    """The same exchange with and without the compiled reader."""

    def __init__(self, contexts: list[OpenContext], clock: ManualClock, name: str) -> None:
        module = EXCHANGE_MODULES[name]
        self.clock = clock
        self.fast = Side(contexts[0], clock, name, module)
        self.slow = Side(contexts[1], clock, name, Slow(module))

    def read(self, frames: Sequence[bytes], line: int = 0, tail: bytes = b"") -> None:
        for side in (self.fast, self.slow):
            side.read(frames, line, tail)
        fast, slow = self.fast.standing(), self.slow.standing()
        if pickle.dumps(fast) != pickle.dumps(slow):  # numpy goes through some 10,000 values one by one
            for name, value in fast.items():
                np.testing.assert_equal(value, slow[name], err_msg=name)  # NaN is NaN


CATALOG = load_catalog()


@pytest.fixture
def make_both(clock: ManualClock) -> Iterator[Callable[[str], Both]]:
    """Two nodes of the whole catalog on one manual clock."""
    with (
        open_context("feed-a", "feed", CATALOG, clock) as first,
        open_context("feed-b", "feed", CATALOG, clock) as second,
    ):
        yield lambda name: Both([first, second], clock, name)


def frame_of(name: str, symbol: str, number: int, wall_ns: int, sequence: int) -> bytes:
    """A frequent frame with another price for each number."""
    bid, last, ask = (f"100.{digit}{number % 100:02}" for digit in "135")
    ms, moment = wall_ns // NS_PER_MS, f"{np.datetime64(wall_ns, 'ns')}Z"
    book = {"u": number, "E": wall_ns, "s": symbol, "b": bid, "B": "1", "a": ask, "A": "2"}
    trade = {"E": wall_ns, "s": symbol, "t": number, "p": last, "q": "1", "m": True}
    of_coinbase = {"type": "ticker", "product_id": symbol, "price": last, "best_bid": bid, "best_ask": ask}
    of_gateio = {"currency_pair": symbol, "last": last, "lowest_ask": ask, "highest_bid": bid}
    of_cryptocom = [{"i": symbol, "b": bid, "k": ask, "a": last, "t": ms}]
    of_kraken = {"symbol": symbol, "bid": float(bid), "ask": float(ask), "last": float(last), "timestamp": moment}
    frames: dict[str, Any] = {
        "coinbase": {
            "channel": "ticker",
            "timestamp": moment,
            "sequence_num": sequence,
            "events": [{"type": "update", "tickers": [of_coinbase]}],
        },
        "gemini": trade if number % 2 else book,
        "kraken": {"channel": "ticker", "type": "update", "data": [of_kraken]},
        "gateio": {"time": 1, "time_ms": ms, "channel": "spot.tickers", "event": "update", "result": of_gateio},
        "cryptocom": {
            "id": -1,
            "method": "subscribe",
            "code": 0,
            "result": {"instrument_name": symbol, "channel": "ticker", "data": of_cryptocom},
        },
        "okx": {
            "arg": {"channel": "tickers", "instId": symbol},
            "data": [{"instId": symbol, "last": last, "askPx": ask, "bidPx": bid, "ts": str(ms)}],
        },
    }
    return json.dumps(frames[name], separators=(",", ":")).encode()


steps = st.lists(
    st.tuples(
        st.sampled_from("ffffffffozujrsl"),
        st.integers(0, 2),
        st.integers(0, 150),
        st.sampled_from([0, 0, 1, 600, 7_000]),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("name", EXCHANGE_MODULES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps, cut=st.integers(1, 6), data=st.data())
def test_both_ways_lead_to_the_same_table(
    make_both: Callable[[str], Both], name: str, steps: list[tuple[str, int, int, int]], cut: int, data: st.DataObject
) -> None:
    """Frames of any age in reads of any length, over two connections, between judgements, REST and rows that come and
    go: cells, versions, states, rows, lines, counters, refusals and what the observer saw are the same."""
    both = make_both(name)
    symbols = [*[row.symbol for row in both.fast.rows][:2], "NOBODY"]
    pending: list[bytes] = []
    sequence = 0
    for number, (kind, which, pause_ms, late_ms) in enumerate(steps):
        both.clock.advance(pause_ms / 1000)
        wall_ns = both.clock.wall_ns() - late_ms * NS_PER_MS
        frame = frame_of(name, symbols[which], number, wall_ns, sequence)
        sequence += 1 + (kind == "s")
        pending += {"o": [frame, b"{}"], "z": [frame.replace(b"100.", b"0.000")], "u": [b"[1]"]}.get(kind, [frame])
        if kind == "j":
            both.clock.advance(4)
        if len(pending) >= cut or kind in "jrl":
            both.read(pending, data.draw(st.integers(0, 1)), b"\x81\x7e\x01"[: which + 1])
            pending = []
        for side in (both.fast, both.slow):
            now_ns, wall = both.clock.monotonic_ns(), both.clock.wall_ns()
            if kind == "j":
                side.rows.judge(now_ns, wall, True, False)
            elif kind == "r":
                side.rows.release(2)
            elif kind == "l" and which < 2:
                side.rows.mark_unknown(symbols[which])
    both.read(pending or [b"{}"])


@pytest.mark.parametrize("name", EXCHANGE_MODULES)
def test_frequent_frames_never_meet_the_decoder(
    make_both: Callable[[str], Both], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the first of each row, whose state is Python's, a read of all rows is one compiled call."""
    side = make_both(name).fast
    symbols = [row.symbol for row in side.rows]
    wall_ns = side.clock.wall_ns()
    side.read([frame_of(name, symbol, 2, wall_ns, i) for i, symbol in enumerate(symbols)])
    assert {row.state for row in side.rows} == {RowState.LIVE}
    monkeypatch.setattr(side.lines[0]._decoder, "on_frame", lambda frame: pytest.fail(frame.decode()))
    frames = [frame_of(name, symbol, 3, wall_ns, i) for i, symbol in enumerate(symbols, len(symbols))]
    side.read(frames)
    assert side.standing()["quotes"] == 2 * len(symbols)
    for row in side.rows:
        stored = side.context.prices.read(side.index, row.asset_index)
        assert stored is not None
        assert stored.last is not None
        assert stored.last.price == Decimal("100.303")


def test_a_repeat_of_nothing_is_written_once(make_context: Callable[..., OpenContext], clock: ManualClock) -> None:
    """A market that has no price any more says so in the table, and is not written again for saying so again."""
    context = make_context(clock)
    side = Side(context, clock, "kraken", kraken)
    dead = (
        '{"channel":"ticker","data":[{"symbol":"BTC/USD","bid":0,"ask":0,"last":1,"timestamp":"1970-01-01T00:00:00Z"}]}'
    )
    side.read([frame_of("kraken", "BTC/USD", 1, clock.wall_ns(), 0)])
    for _ in range(3):
        side.read([dead.encode()])
    assert context.prices.versions()[0, 0] == 2
    stored = context.prices.read(0, 0)
    assert stored is not None
    assert stored[:3] == (None, None, None)
    assert stored.via is Via.WS


def test_what_a_feed_calls_is_compiled_before_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor compiles each root once; without it every feed would."""
    asked: list[str] = []
    monkeypatch.setattr(intake, "compile_for", lambda function, *_: asked.append(function.__name__))
    intake.warm_up()
    assert {"take_frames", "take_quote", "extent_of", "is_message", "look_at", "is_untimely"} == set(asked)


@pytest.mark.skipif(not jit_enabled(), reason="uncompiled there is nothing to compile")
def test_a_feed_calls_nothing_that_was_not_compiled_before(make_both: Callable[[str], Both]) -> None:
    """Whatever it does, the arguments have the types that the supervisor has compiled for."""
    intake.warm_up()
    names = ("take_frames", "take_quote", "extent_of", "is_message", "look_at", "is_untimely")
    roots: list[Any] = [getattr(intake, name) for name in names]
    before = [len(root.signatures) for root in roots]
    side = make_both("kraken").fast
    now_ns, wall_ns = side.clock.monotonic_ns(), side.clock.wall_ns()
    for number in range(3):
        side.read([frame_of("kraken", "BTC/USD", number, wall_ns, 0), b"{}"], tail=b"\x81")
    (event,) = kraken.on_rest(
        kraken.rest_requests(["ETH/USD"])[0], 200, b'{"error":[],"result":{"ETHUSD":{"a":["3"],"b":["1"],"c":["2"]}}}'
    )
    assert isinstance(event, Quote)
    assert side.rows.take_rest(event, now_ns, wall_ns, now_ns)
    stored = side.context.prices.read(side.index, 0)
    assert stored is not None
    side.context.prices.write(1 - min(side.index, 1), 0, stored)
    side.rows.judge(now_ns, wall_ns, True, False)
    Rows(side.context, side.context.of_feed, "kraken", kraken, side.counters, Random(1))
    assert [len(root.signatures) for root in roots] == before
