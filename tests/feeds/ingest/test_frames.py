"""Whatever a server sends, in whatever pieces: the messages are those that the library alone would give, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from feeds.ingest.frames import FrameSocket
from tests.support.messages import taking
from trinity.limits import FRAME_BYTES_MAX
from trinity.native.octets import Octets

Until = Callable[..., Awaitable[None]]
URI = parse_uri("ws://exchange.example/")


class StandInTransport(asyncio.Transport):
    """Remembers what was done to it; nothing is sent anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False
        self.reads = True

    def write(self, data: Any) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_aborted

    def is_reading(self) -> bool:
        return self.reads

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Pair:
    """A FrameSocket, and the server's side of it as bytes."""

    def __init__(self) -> None:
        self.transport = StandInTransport()
        protocol = ClientProtocol(URI, max_size=FRAME_BYTES_MAX)
        self.socket = FrameSocket(protocol, ping_interval=None, max_queue=None)
        self.socket.connection_made(self.transport)
        self.socket.request = protocol.connect()
        protocol.send_request(self.socket.request)
        server = ServerProtocol()
        server.receive_data(b"".join(protocol.data_to_send()))
        (request,) = server.events_received()
        server.send_response(server.accept(request))  # type: ignore[arg-type]
        self.handshake = b"".join(server.data_to_send())

    def receive(self, octets: bytes, cuts: list[int]) -> None:
        """Give it these octets, cut at these places."""
        places = [0, *sorted({cut % (len(octets) + 1) for cut in cuts}), len(octets)]
        for start, end in pairwise(places):
            if end > start:
                self.socket.data_received(octets[start:end])

    async def rest(self) -> list[bytes]:
        """What the library has."""
        messages = []
        while any(frame.fin for frame in self.socket.recv_messages.frames.queue):
            messages.append(await self.socket.next_message())
        return messages


def frame(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


whole = st.binary(max_size=300).map(lambda payload: ([payload], frame(Opcode.TEXT, payload)))
large = st.sampled_from([125, 126, 127, 65_535, 65_536, 70_000]).map(
    lambda size: ([b"x" * size], frame(Opcode.BINARY, b"x" * size))
)
control = st.binary(max_size=125).flatmap(
    lambda payload: st.sampled_from([Opcode.PING, Opcode.PONG]).map(lambda kind: ([], frame(kind, payload)))
)
in_parts = st.lists(st.binary(max_size=40), min_size=2, max_size=4).map(
    lambda parts: (
        [b"".join(parts)],
        b"".join(
            frame(Opcode.CONT if i else Opcode.TEXT, part, i == len(parts) - 1) + frame(Opcode.PING, b"between")
            for i, part in enumerate(parts)
        ),
    )
)
sent = st.lists(whole | large | control | in_parts, max_size=12)


@given(sent, st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 12))
async def test_messages_come_whole_and_in_order(
    pieces: list[tuple[list[bytes], bytes]], cuts: list[int], ready_after: int
) -> None:
    """Any mixture of whole, large and fragmented messages and pings, cut anywhere, handed out from any moment on."""
    pair = Pair()
    got: list[bytes] = []
    expected = [message for messages, _ in pieces for message in messages]
    octets = [octets for _, octets in pieces]
    pair.receive(pair.handshake + b"".join(octets[:ready_after]), cuts)
    assert not got, "nobody takes them yet"
    pair.socket.deliver = taking(got)
    for one in octets[ready_after:]:
        got += await pair.rest()
        pair.receive(one, cuts)
    got += await pair.rest()
    assert got == expected
    assert pair.socket.fault is None


@given(st.binary(max_size=200), st.binary(max_size=60), st.lists(st.integers(0, 300), max_size=6))
async def test_garbage_ends_the_connection_as_it_ends_it_for_the_library(
    garbage: bytes, payload: bytes, cuts: list[int]
) -> None:
    """The close code and its reason are those of `websockets` alone, and no message is made of garbage."""
    pair, alone = Pair(), Pair()
    got: list[bytes] = []
    pair.socket.deliver = taking(got)
    octets = frame(Opcode.TEXT, payload) + garbage
    pair.receive(pair.handshake + octets, cuts)
    alone.socket.protocol.receive_data(alone.handshake + octets)
    events = alone.socket.protocol.events_received()[1:]
    assert pair.socket.protocol.close_sent == alone.socket.protocol.close_sent
    got += await pair.rest()
    assert got[0] == payload
    messages = [event for event in events if isinstance(event, Frame) and event.opcode in (1, 2) and event.fin]
    assert len(got) == len(messages)


async def test_what_the_taker_raises_is_kept_and_cuts_the_line() -> None:
    """A bug of ours is not lost in the event loop's log: it is there for the task, and no later message is taken."""
    pair = Pair()
    taken: list[bytes] = []

    def take(octets: Octets, at: int, size: int) -> int:
        taken.append(octets[at:size].tobytes())
        raise ZeroDivisionError

    pair.socket.deliver = take
    pair.receive(pair.handshake + frame(Opcode.TEXT, b"1") + frame(Opcode.PING, b"") + frame(Opcode.TEXT, b"2"), [])
    pair.socket.data_received(frame(Opcode.TEXT, b"3"))
    assert len(taken) == 1
    assert isinstance(pair.socket.fault, ZeroDivisionError)
    assert pair.transport.is_aborted


async def test_reading_stops_and_goes_on() -> None:
    """Twice is once, in both directions, and the library's own pause is not lifted."""
    pair = Pair()
    for _ in range(2):
        pair.socket.stop_reading()
        assert not pair.transport.reads
    for _ in range(2):
        pair.socket.go_on_reading()
        assert pair.transport.reads
    pair.socket.stop_reading()
    pair.socket.recv_messages.paused = True
    pair.socket.go_on_reading()
    assert not pair.transport.reads


async def test_one_read_is_handed_out_in_one_call(venue: Any, until: Until) -> None:
    """Over a real socket: what was sent in one go arrives in order, and fewer calls than messages."""
    calls: list[list[bytes]] = []

    def deliver(octets: Octets, at: int, size: int) -> int:
        calls.append([])
        return taking(calls[-1])(octets, at, size)

    async with connect(venue.ws_base, create_connection=FrameSocket, compression=None) as socket:
        assert isinstance(socket, FrameSocket)
        socket.deliver = deliver
        await until(lambda: venue.sockets)
        line = venue.sockets[0]
        line.transport.write(b"".join(frame(Opcode.TEXT, b"%d" % number) for number in range(100)))
        await until(lambda: sum(map(len, calls)) == 100)
        assert [message for call in calls for message in call] == [b"%d" % number for number in range(100)]
        assert len(calls) < 100
        await line.close(1012, "restart")
        with pytest.raises(ConnectionClosed, match="1012"):
            await socket.next_message()
