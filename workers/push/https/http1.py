"""HTTP/1.1 on one connection: a POST, its answer, and the next POST.

Rules: llhttp (httptools) parses; this keeps its bounds. One POST at a time, for a receiver may answer in its own time
and nothing tells two answers apart. A connection is used again only after an answer that was whole, said nothing of
closing and had nothing behind it. What comes while nobody has asked ends the connection: it would be taken for the
answer to the next message.
"""

import asyncio
from collections.abc import Callable, Sequence

import httptools

from trinity.errors import DeliveryError
from trinity.limits import HTTP2_BESIDE_BYTES_MAX, REPLY_BODY_BYTES_MAX, REPLY_HEAD_BYTES_MAX
from trinity.net.egress import clean
from trinity.push.targets import Target
from trinity.version import version
from workers.push.https.answer import IncomingReply
from workers.push.https.tls import SecureLine

USER_AGENT = f"Trinity/{version()}".encode()
_ANSWER_BYTES_MAX = REPLY_HEAD_BYTES_MAX + REPLY_BODY_BYTES_MAX + HTTP2_BESIDE_BYTES_MAX
_INFORMATIONAL = range(100, 200)
_SWITCHING = 101


class Http1Talk:
    """A connection that takes one POST at a time."""

    def __init__(self, line: SecureLine, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._answer: IncomingReply | None = None
        self._has_head = False
        self._is_whole = False
        self._is_dirty = False
        self._must_close = False
        self.retire_at_ns = 0
        self.on_end: Callable[[], None] | None = None
        self.error: DeliveryError | None = None  # why the connection ended
        line.start(self)

    @property
    def is_open(self) -> bool:
        return not self._line.is_closed

    @property
    def in_flight(self) -> int:
        """How many POSTs wait for their answers."""
        return int(self._answer is not None)

    def post(self, target: Target, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> IncomingReply:
        """Send; the answer's `done` tells the end."""
        assert self._answer is None
        answer = self._answer = IncomingReply(self._loop.create_future())
        self._has_head = self._is_whole = False
        self._line.expect(_ANSWER_BYTES_MAX)
        self._line.write(
            b"POST %b HTTP/1.1\r\nhost: %b\r\nuser-agent: %b\r\ncontent-type: application/json\r\n%b"
            b"content-length: %d\r\n\r\n%b"
            % (
                target.path.encode(),
                target.authority.encode(),
                USER_AGENT,
                b"".join([b"%b: %b\r\n" % header for header in headers]),
                len(body),
                body,
            )
        )
        return answer

    def give_up(self, answer: IncomingReply, error: DeliveryError) -> None:
        """Nobody waits for this answer any longer: the connection is of no more use."""
        if answer is self._answer:
            self._line.abort(error)

    def close(self) -> None:
        self._line.close()

    def received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self._line.abort(DeliveryError("protocol", "it sends without being asked"))
            return
        answer.has_begun = True
        if not self._has_head:
            answer.head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._is_whole:
                self._line.abort(DeliveryError("protocol", clean(f"no HTTP/1.1 answer: {error}")))
                return
            self._is_dirty = True
        if self._is_whole:
            self._finish(answer, self._must_close or self._is_dirty)
        elif answer.is_cut:
            self._finish(answer, must_close=True)
        elif not self._has_head and answer.is_head_too_long:
            self._line.abort(DeliveryError("protocol", f"its headers are longer than {REPLY_HEAD_BYTES_MAX} bytes"))

    def ended(self, error: DeliveryError, is_clean: bool) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            if is_clean and self._has_head and self._must_close:
                answer.finish()  # RFC 9112 6.3: a body without a length ends with the connection
            else:
                answer.fail(error)
        self.error = error
        if self.on_end is not None:
            self.on_end()

    def _finish(self, answer: IncomingReply, must_close: bool) -> None:
        self._answer = None
        answer.finish()
        if answer.is_cut:
            self._line.abort(DeliveryError("reset", "the rest of the answer is not read"))
        elif must_close:
            self._line.close()
        else:
            self._line.expect(HTTP2_BESIDE_BYTES_MAX)

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._is_dirty = self._is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is not None and not self._has_head and not self._is_whole:
            self._answer.add_header(name.lower(), value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        answer = self._answer
        if answer is None or self._is_whole:
            return
        if status in _INFORMATIONAL:
            answer.headers.clear()
            return
        answer.status = status
        self._has_head = True
        self._must_close = not self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self._answer is not None and not self._is_whole:
            self._answer.add_body(data)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._is_whole = True
