"""HTTP/2 on one connection: many POSTs at a time, each on a stream of its own.

Rules: h2 knows the frames; this keeps the bounds. A stream's window is REPLY_BODY_BYTES_MAX and never grows, so a
receiver cannot send more of a body than is read, and its stream then ends with CANCEL. Bodies that do not fit the
receiver's window wait for it. A connection that says GOAWAY takes no new streams; those that it names as unread are
told as `reset` without an answer begun, so that they can be sent again. One time-out ends one stream; when nothing at
all has come since that stream began, the connection is taken for dead and gets no new ones.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from trinity.errors import DeliveryError
from trinity.limits import (
    HTTP2_BESIDE_BYTES_MAX,
    HTTP2_STREAMS_MAX,
    REPLY_BODY_BYTES_MAX,
    REPLY_HEAD_BYTES_MAX,
)
from trinity.net.egress import clean
from trinity.push.targets import Target
from workers.push.https.answer import IncomingReply
from workers.push.https.http1 import USER_AGENT
from workers.push.https.tls import SecureLine

_ANSWER_BYTES_MAX = REPLY_HEAD_BYTES_MAX + REPLY_BODY_BYTES_MAX + HTTP2_BESIDE_BYTES_MAX
_CONFIG = h2.config.H2Configuration(client_side=True, header_encoding=None)
_SETTINGS = {
    h2.settings.SettingCodes.ENABLE_PUSH: 0,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: REPLY_BODY_BYTES_MAX + 1,  # one byte more tells that it is too long
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: REPLY_HEAD_BYTES_MAX,
}
_OPEN = h2.connection.ConnectionState.CLIENT_OPEN
_TRANSITIONS = h2.connection.H2ConnectionStateMachine._transitions | {  # noqa: SLF001 - there is no public way
    (_OPEN, h2.connection.ConnectionInputs.RECV_GOAWAY): (None, _OPEN)
}


class _Machine(h2.connection.H2ConnectionStateMachine):
    """h2's own, but that a GOAWAY leaves the streams that are under way (RFC 9113, 6.8): h2 forgets them."""

    def __init__(self) -> None:
        super().__init__()
        self._transitions = _TRANSITIONS


class _Stream(NamedTuple):
    answer: IncomingReply
    began_at_read: int
    unsent: bytearray


class Http2Talk:
    """A connection that takes up to HTTP2_STREAMS_MAX POSTs at a time."""

    def __init__(self, line: SecureLine, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._h2 = h2.connection.H2Connection(_CONFIG)
        self._h2.state_machine = _Machine()
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=_SETTINGS)
        self._h2.decoder.max_header_list_size = REPLY_HEAD_BYTES_MAX
        self._h2.max_inbound_frame_size = self._h2.local_settings.max_frame_size
        self._streams: dict[int, _Stream] = {}
        self._blocked: dict[int, None] = {}  # streams with a body that the receiver's window has no room for
        self._is_leaving = False
        self._reads = 0
        self.retire_at_ns = 0
        self.on_end: Callable[[], None] | None = None
        self.error: DeliveryError | None = None  # why the connection ended
        self._h2.initiate_connection()
        self._send()
        line.expect(_ANSWER_BYTES_MAX)
        line.start(self)

    @property
    def is_open(self) -> bool:
        return not self._line.is_closed and not self._is_leaving

    @property
    def in_flight(self) -> int:
        """How many POSTs wait for their answers."""
        return len(self._streams)

    @property
    def room(self) -> int:
        """How many more POSTs it takes now."""
        if not self.is_open:
            return 0
        return min(HTTP2_STREAMS_MAX, self._h2.remote_settings.max_concurrent_streams) - len(self._streams)

    def post(self, target: Target, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> IncomingReply:
        """Send; the answer's `done` tells the end."""
        answer = IncomingReply(self._loop.create_future())
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream_id,
            [
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":authority", target.authority.encode()),
                (b":path", target.path.encode()),
                (b"user-agent", USER_AGENT),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        )
        self._streams[stream_id] = _Stream(answer, self._reads, bytearray(body))
        self._line.expect(_ANSWER_BYTES_MAX * len(self._streams))
        self._send_body(stream_id)
        self._send()
        return answer

    def give_up(self, answer: IncomingReply, error: DeliveryError) -> None:
        """Nobody waits for this answer any longer: its stream ends, and the connection if it seems dead."""
        stream_id = next((number for number, stream in self._streams.items() if stream.answer is answer), None)
        if stream_id is None:
            return
        if self._streams[stream_id].began_at_read == self._reads:
            self._is_leaving = True
        self._cancel(stream_id)
        answer.fail(error)
        self._send()
        self._close_if_left()

    def close(self) -> None:
        self._line.close()

    def received(self, data: bytes) -> None:
        self._reads += 1
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except (h2.exceptions.H2Error, ValueError, KeyError, IndexError) as error:
            self._send()  # why it is left, as h2 has it
            self._line.abort(DeliveryError("protocol", clean(f"no HTTP/2: {type(error).__name__}: {error}")))
            return
        for stream_id in list(self._blocked):
            self._send_body(stream_id)
        self._send()
        self._close_if_left()

    def ended(self, error: DeliveryError, is_clean: bool) -> None:  # noqa: ARG002 - HTTP/2 says where a body ends
        streams, self._streams = self._streams, {}
        self._blocked.clear()
        for stream in streams.values():
            stream.answer.fail(error)
        self.error = error
        if self.on_end is not None:
            self.on_end()

    def _send(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._line.is_closed:
            self._line.write(data)

    def _send_body(self, stream_id: int) -> None:
        """As much as the receiver's window takes."""
        unsent = self._streams[stream_id].unsent
        while unsent:
            size = min(len(unsent), self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if size <= 0:
                self._blocked[stream_id] = None
                return
            self._h2.send_data(stream_id, bytes(unsent[:size]), end_stream=size == len(unsent))
            del unsent[:size]
        self._blocked.pop(stream_id, None)

    def _cancel(self, stream_id: int) -> None:
        """The stream is of no more use; whatever comes of it is ignored by h2."""
        del self._streams[stream_id]
        self._blocked.pop(stream_id, None)
        self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)

    def _close_if_left(self) -> None:
        if self._is_leaving and not self._streams:
            self._line.close()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._on_response(event)
            case h2.events.DataReceived():
                self._on_data(event)
            case h2.events.StreamEnded():
                self._on_end(event)
            case h2.events.StreamReset():
                self._on_reset(event)
            case h2.events.ConnectionTerminated():
                self._on_goaway(event)

    def _on_response(self, event: h2.events.ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.answer.has_begun = True
        for name, value in event.headers:
            if name == b":status":
                stream.answer.status = int(value)
            else:
                stream.answer.add_header(bytes(name), bytes(value))

    def _on_data(self, event: h2.events.DataReceived) -> None:
        # The connection's window is given back, the stream's is not: a body longer than that is not read.
        if event.flow_controlled_length:
            self._h2.increment_flow_control_window(event.flow_controlled_length)
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.answer.add_body(bytes(event.data))
        if stream.answer.is_cut:
            self._cancel(event.stream_id)
            stream.answer.finish()

    def _on_end(self, event: h2.events.StreamEnded) -> None:
        stream = self._streams.pop(event.stream_id, None)
        if stream is None:
            return
        if stream.unsent:  # answered before it had read the message: RFC 9113, 8.1
            self._blocked.pop(event.stream_id, None)
            self._h2.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
        stream.answer.finish()

    def _on_reset(self, event: h2.events.StreamReset) -> None:
        stream = self._streams.pop(event.stream_id, None)
        self._blocked.pop(event.stream_id, None)
        if stream is not None:
            if event.error_code != h2.errors.ErrorCodes.REFUSED_STREAM:
                stream.answer.has_begun = True  # it may have been read: not to be sent again by itself
            stream.answer.fail(DeliveryError("reset", f"the receiver ended the stream: {event.error_code!r}"))

    def _on_goaway(self, event: h2.events.ConnectionTerminated) -> None:
        self._is_leaving = True
        last = event.last_stream_id or 0
        for stream_id in [number for number in self._streams if number > last]:
            stream = self._streams.pop(stream_id)
            self._blocked.pop(stream_id, None)
            stream.answer.fail(DeliveryError("reset", "the receiver takes no more on this connection"))
