"""A WebSocket whose messages are handed out where they arrive: all that one read brought, in one call.

`websockets` does everything that is rare: the handshake, proxies, TLS, pings, fragments, closing, and the judgement on
whatever is wrong. What is frequent, a whole message in one frame, is cut out of the stream here, without a queue, a
future and a switch of tasks for each: 2 us instead of 35.

Rules: the library is given whole frames, or everything from a wrong one on, so the first byte of the next frame is
always known. Messages are handed out in the order in which they came: while the library still has one, which
`next_message` gives, those behind it go through the library too.
"""

from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

from trinity.limits import FRAME_BYTES_MAX

Deliver = Callable[[list[bytes]], None]

# RFC 6455, 5.2. The first byte of a message that is whole in one frame, text or binary, without an extension's bits.
_WHOLE_MESSAGE = (0x81, 0x82)
_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_DATA_OPCODES, _CONTROL_OPCODES = (0, 1, 2), (8, 9, 10)
# A length up to 125 stands in the second byte; these two say that it stands in the next 2 or 8 bytes.
_LENGTH_IN_2, _LENGTH_IN_8 = 126, 127
_HEAD_END = b"\r\n\r\n"
WRONG = -1


class FrameSocket(ClientConnection):
    """`deliver` gets messages once it is set; until then, and for what is rare, `next_message` has them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.deliver: Deliver | None = None
        self.fault: Exception | None = None  # what `deliver` raised; the connection is cut then
        self._head_tail = b""  # the handshake's last bytes, for its end may be cut in two
        self._tail = b""
        self._owed = 0  # messages that the library has, or has a part of
        self._is_in_parts = False

    async def next_message(self) -> bytes:
        """A message that the library has put together; raises what its `recv` raises."""
        message = await self.recv(decode=False)
        self._owed -= 1
        return message

    def data_received(self, data: bytes) -> None:
        """What one read brought."""
        if self.response is None:
            data = self._take_handshake(data)
            if not data:
                return
        if self._tail:
            data, self._tail = self._tail + data, b""
        messages: list[bytes] = []
        at, size = 0, len(data)
        while self.protocol.state is OPEN and self.fault is None:
            start, end = extent_of(data, at)
            if end > size:
                break
            if start != WRONG and not self._owed and self.deliver is not None and data[at] in _WHOLE_MESSAGE:
                messages.append(data[start:end])
            else:
                self._hand_out(messages)
                messages = []
                self._give_library(data[at:end])
            at = end
        self._hand_out(messages)
        if self.protocol.state is OPEN:
            self._tail = data[at:]
        elif at < size:
            super().data_received(data[at:])

    def stop_reading(self) -> None:
        """Let the peer wait: what it sends stays in the kernel until `go_on_reading`."""
        if self.transport.is_reading():
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        if not self.transport.is_reading() and not self.recv_messages.paused:
            self.transport.resume_reading()

    def _take_handshake(self, data: bytes) -> bytes:
        """Give the library the head of the answer alone; returns what came behind it."""
        seen = self._head_tail + data
        self._head_tail = seen[1 - len(_HEAD_END) :]
        _, _, rest = seen.partition(_HEAD_END)
        super().data_received(data[: len(data) - len(rest)])
        return rest

    def _give_library(self, frame: bytes) -> None:
        if frame[0] & ~(_FIN | _RESERVED) in _DATA_OPCODES:
            self._owed += not self._is_in_parts
            self._is_in_parts = not frame[0] & _FIN
        super().data_received(frame)

    def _hand_out(self, messages: list[bytes]) -> None:
        """What `deliver` raises is a bug of ours: it is kept for the task that reads, and ends the connection."""
        if not messages or self.fault is not None:
            return
        assert self.deliver is not None
        try:
            self.deliver(messages)
        except Exception as error:  # noqa: BLE001 - raised again by the task; the event loop would only log it
            self.fault = error
            self.transport.abort()


def extent_of(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame at `at` begins and ends; the end is behind the data while not all of it is there.

    A frame that no server may send, or that is too large, begins at WRONG and has all the data.
    """
    size = len(data)
    if size - at < 2:
        return at, size + 1
    head, length, start = data[at], data[at + 1], at + 2
    if length >= _LENGTH_IN_2:
        if length & _MASKED:
            return WRONG, size
        start += 2 if length == _LENGTH_IN_2 else 8
        if start > size:
            return at, size + 1
        length = int.from_bytes(data[at + 2 : start], "big")
    if length > FRAME_BYTES_MAX or (head not in _WHOLE_MESSAGE and _is_wrong(head, length)):
        return WRONG, size
    return start, start + length


def _is_wrong(head: int, length: int) -> bool:
    opcode = head & ~(_FIN | _RESERVED)
    is_control = opcode in _CONTROL_OPCODES and head & _FIN and length < _LENGTH_IN_2
    return bool(head & _RESERVED) or not (is_control or opcode in _DATA_OPCODES)
