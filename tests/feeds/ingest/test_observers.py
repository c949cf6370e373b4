"""feeds/ingest/observers.py: a feed over real sockets tells its observer what it receives."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from feeds.audit.recorder import FrameRecorder, RecordSettings
from feeds.exchanges.contract import RestRequest
from feeds.ingest.observers import FrameObserver
from feeds.ingest.process import Feed
from tests.support.contexts import OpenContext
from trinity.config import FeedsSection

Until = Callable[..., Awaitable[None]]


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on
        self.connections: list[int] = []
        self.frames: list[tuple[int, bytes]] = []
        self.answers: list[tuple[str, int]] = []
        self.followed = 0
        self.closed = 0

    def opened(self, connection: int) -> None:
        self.connections.append(connection)

    def frame(self, connection: int, at_ns: int, wall_ns: int, frame: bytes) -> None:
        assert 0 < at_ns < wall_ns
        self.frames.append((connection, frame))

    def answer(self, request: RestRequest, status: int, body: bytes, at_ns: int, wall_ns: int) -> None:
        assert body
        self.answers.append((request.path, status))

    def follow(self, now_ns: int) -> None:
        self.followed += 1

    def close(self, now_ns: int) -> None:
        self.closed += 1


def feed_of(context: OpenContext, venue: Any, exchange: Any, observer: FrameObserver) -> Feed:
    config = FeedsSection(
        simulated=True, ws_base_urls={"kraken": venue.ws_base}, rest_base_urls={"kraken": venue.rest_base}
    )
    return Feed(context, context.of_feed, config, "kraken", exchange, Random(1), observer)


async def test_everything_received_is_told_also_what_no_decoder_knows(
    venue: Any, make_context: Callable[..., OpenContext], stub_exchange: Any, until: Until
) -> None:
    """Each frame as its bytes with its connection, each REST answer, and the end once."""
    notes = Notes(is_on=True)
    venue.is_sending = False
    feed = feed_of(make_context(), venue, stub_exchange, notes)
    serving = asyncio.create_task(feed.serve())
    await until(lambda: venue.sockets and notes.answers)
    await venue.sockets[0].send("no JSON at all")
    await until(lambda: (1, b"no JSON at all") in notes.frames)
    feed.stop()
    await serving

    assert notes.connections == [1]
    assert notes.answers[0][1] == 200
    assert notes.followed > 0
    assert notes.closed == 1


async def test_who_is_off_is_not_told_of_frames(
    venue: Any, make_context: Callable[..., OpenContext], stub_exchange: Any, until: Until
) -> None:
    """No frame and no answer reaches it; it is asked to follow all the same, to begin when it likes."""
    notes = Notes(is_on=False)
    context = make_context()
    feed = feed_of(context, venue, stub_exchange, notes)
    serving = asyncio.create_task(feed.serve())
    await until(lambda: context.prices.read(0, 0) is not None and notes.followed > 2)
    feed.stop()
    await serving

    assert notes.frames == []
    assert notes.answers == []
    assert notes.closed == 1


def test_the_frame_recorder_is_one(make_context: Callable[..., OpenContext], tmp_path: Path) -> None:
    """What the node hands in has the shape that a feed asks for, off until it is switched on."""
    recorder: FrameObserver = FrameRecorder(make_context(), RecordSettings(tmp_path, 1 << 20), "kraken")
    assert recorder.is_on is False
