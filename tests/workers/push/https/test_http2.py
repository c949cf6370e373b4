"""HTTP/2: each stream ends by itself, windows and GOAWAY are kept to, and no bytes raise anything untyped."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import cast

import h2.connection
import h2.errors
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receivers import BODY, HEADERS, Http2Receiver, Receiver, pool_for, receiver
from trinity.errors import DeliveryError
from trinity.limits import REPLY_BODY_BYTES_MAX
from trinity.push.targets import parse_target
from workers.push.https.http2 import Http2Talk
from workers.push.https.pool import ConnectionPool
from workers.push.https.tls import SecureLine

LONG, SHORT = 30.0, 0.5
OnRequest = Callable[[h2.connection.H2Connection, int], None]


async def post(pool: ConnectionPool, here: Receiver, body: bytes = BODY, seconds: float = LONG) -> int | str:
    """The status, or the kind of the error."""
    try:
        return (await pool.post(here.target(), HEADERS, body, seconds)).status
    except DeliveryError as error:
        return error.kind


def long_body(connection: h2.connection.H2Connection, stream_id: int) -> None:
    connection.send_headers(stream_id, [(":status", "200")])
    window = connection.local_flow_control_window(stream_id)
    assert window == REPLY_BODY_BYTES_MAX + 1  # no more than this can be sent at all
    while window:
        size = min(window, connection.max_outbound_frame_size)
        connection.send_data(stream_id, b"x" * size)
        window -= size


def reset(connection: h2.connection.H2Connection, stream_id: int) -> None:
    connection.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)


def hints(connection: h2.connection.H2Connection, stream_id: int) -> None:
    connection.send_headers(stream_id, [(":status", "103"), ("retry-after", "9")])
    connection.send_headers(stream_id, [(":status", "503")], end_stream=True)


def nothing(connection: h2.connection.H2Connection, stream_id: int) -> None:
    """Never answers."""


def many_headers(connection: h2.connection.H2Connection, stream_id: int) -> None:
    connection.send_headers(stream_id, [(":status", "200"), *((f"x-{number}", "y" * 90) for number in range(300))])


@pytest.mark.parametrize(
    ("on_request", "expected", "seconds"),
    [
        (long_body, 200, LONG), (reset, "reset", LONG), (hints, 503, LONG), (nothing, "timeout", SHORT),
        (many_headers, "protocol", LONG),
    ],
)  # fmt: skip
async def test_each_bad_kind_ends_its_own_stream(
    authority: trustme.CA, on_request: OnRequest, expected: int | str, seconds: float
) -> None:
    """A body that is too long is an answer; the next message is delivered."""

    def first_is_bad(connection: h2.connection.H2Connection, stream_id: int) -> None:
        (on_request if len(here.requests) == 1 else Http2Receiver.answer)(connection, stream_id)

    async with receiver(Http2Receiver(first_is_bad), authority, protocols=["h2"]) as here, pool_for(authority) as pool:
        assert await post(pool, here, seconds=seconds) == expected
        assert await post(pool, here) == 200


async def test_a_stream_that_is_refused_unread_is_sent_again_and_no_other_is(authority: trustme.CA) -> None:
    """REFUSED_STREAM says that the message was not read (RFC 9113, 8.7)."""

    def refuse_second(connection: h2.connection.H2Connection, stream_id: int) -> None:
        if len(here.requests) == 2:
            connection.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            Http2Receiver.answer(connection, stream_id)

    async with receiver(Http2Receiver(refuse_second), authority, protocols=["h2"]) as here, pool_for(authority) as pool:
        assert [await post(pool, here) for _ in range(2)] == [200, 200]
        assert len(here.requests) == 3


async def test_a_goaway_ends_a_connection_after_the_streams_that_are_under_way(authority: trustme.CA) -> None:
    """Those get their answers; new ones go over a new connection."""
    waiting: list[int] = []

    def leave(connection: h2.connection.H2Connection, stream_id: int) -> None:
        if len(here.requests) < 3:
            waiting.append(stream_id)
        if len(here.requests) == 2:
            connection.send_headers(waiting[0], [(":status", "200")])
            frame = b"\0\0\x08\x07\0\0\0\0\0" + stream_id.to_bytes(4) + bytes(4)
            connection._data_to_send.extend(frame)  # h2's own GOAWAY would end its side at once
            for number in waiting:
                if number != waiting[0]:
                    connection.send_headers(number, [(":status", "200")])
                connection.send_data(number, b"ok", end_stream=True)
        if len(here.requests) > 2:
            Http2Receiver.answer(connection, stream_id)

    async with receiver(Http2Receiver(leave), authority, protocols=["h2"]) as here, pool_for(authority) as pool:
        assert await asyncio.gather(post(pool, here), post(pool, here)) == [200, 200]
        assert await post(pool, here) == 200
        assert here.connections == 2


async def test_a_body_waits_for_the_receiver_s_window(authority: trustme.CA) -> None:
    """Of 1,000 bytes; all of it arrives."""

    body = bytes(range(256)) * 70
    async with receiver(Http2Receiver(window=1_000), authority, protocols=["h2"]) as here, pool_for(authority) as pool:
        assert [await post(pool, here, body) for _ in range(3)] == [200, 200, 200]
        assert [got for _, got in here.requests] == [body] * 3


class Line:
    """A line without a socket."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.talk: Http2Talk | None = None

    def start(self, talk: Http2Talk) -> None:
        self.talk = talk

    def expect(self, byte_count: int) -> None:
        assert byte_count > 0

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.abort(DeliveryError("reset", "closed"))

    def abort(self, error: DeliveryError) -> None:
        if not self.is_closed:
            self.is_closed = True
            assert self.talk is not None
            self.talk.ended(error, False)


class _Loop:
    create_future = staticmethod(Future)


@given(
    st.lists(
        st.binary(max_size=60)
        | st.builds(
            lambda kind, flags, stream, body: len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body,
            st.integers(0, 11), st.sampled_from([0, 1, 4, 5, 8, 32]), st.integers(0, 5),
            st.binary(max_size=40)
            | st.sampled_from([b"\x88", bytes(4), bytes(8), b"\0\3\0\0\0\0", b"\0\4\x7f\xff\xff\xff"]),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_frames_end_in_answers_typed_errors_or_waiting(frames: list[bytes]) -> None:
    """Whatever comes after the settings, in any order."""
    line = Line()
    talk = Http2Talk(cast(SecureLine, line), cast(asyncio.AbstractEventLoop, _Loop()))
    answers = [talk.post(parse_target("https://hooks.example/x"), HEADERS, BODY) for _ in range(2)]
    for data in [b"\0\0\0\4\0\0\0\0\0", *frames]:
        if not line.is_closed:
            talk.received(data)
    for answer in answers:
        if answer.done.done() and (error := answer.done.exception()) is not None:
            assert isinstance(error, DeliveryError)
        else:
            assert answer.status >= 0
    line.abort(DeliveryError("reset", "gone"))
    assert all(answer.done.done() for answer in answers)
