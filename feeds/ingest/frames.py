"""A WebSocket whose messages are handed out where they arrive: all that one read brought, in one call.

`websockets` does everything that is rare: the handshake, proxies, TLS, pings, fragments, closing, and the judgement on
whatever is wrong. What is frequent, a whole message in one frame, is handed out as a part of the stream's own bytes,
without a queue, a future and a switch of tasks for each: who takes them cuts them with `extent_of`.

Rules: the library is given whole frames, or everything from a wrong one on, so the first byte of the next frame is
always known. Messages are handed out in the order in which they came: while the library still has one, which
`next_message` gives, those behind it go through the library too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

from feeds.ingest.extent import extent_of
from trinity.limits import FRAME_BYTES_MAX
from trinity.native.octets import Octets

# Takes the whole messages in front of octets[at:size]; returns where the first thing that is none begins.
Deliver = Callable[[Octets, int, int], int]

_FIN, _RESERVED = 0x80, 0x70  # RFC 6455, 5.2
_DATA_OPCODES = (0, 1, 2)
_HEAD_END = b"\r\n\r\n"
_HEAD_BYTES_MAX = 10
# What is taken of a read in one go; uvloop reads as much at the most. The unfinished frame before it is in front.
_STEP_BYTES = 256 * 1024
_BUFFER_BYTES = _HEAD_BYTES_MAX + FRAME_BYTES_MAX + _STEP_BYTES


class FrameSocket(ClientConnection):
    """`deliver` gets messages once it is set; until then, and for what is rare, `next_message` has them.

    What `deliver` raises is a bug of ours: it is kept for the task that reads, and ends the connection.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.deliver: Deliver | None = None
        self.fault: Exception | None = None  # what `deliver` raised
        self._head_tail = b""  # the handshake's last bytes, for its end may be cut in two
        self._octets: Octets = np.empty(_BUFFER_BYTES, dtype=np.uint8)  # memory that nothing came into costs nothing
        self._view = self._octets.data
        self._size = 0  # of the unfinished frame in front of the buffer
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
        while len(data) > _STEP_BYTES:
            self._take(data[:_STEP_BYTES])
            data = data[_STEP_BYTES:]
        if data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        size = self._size + len(data)
        self._view[self._size : size] = data
        at = 0
        while at < size and self.protocol.state is OPEN and self.fault is None:
            if self.deliver is not None and not self._owed:
                try:
                    at = self.deliver(self._octets, at, size)
                except Exception as error:  # noqa: BLE001 - raised again by the task; the event loop would only log it
                    self.fault = error
                    self.transport.abort()
                if at == size or self.fault is not None:
                    break
            _, end = extent_of(self._octets, at, size)
            if end > size:
                break
            self._give_library(bytes(self._view[at:end]))
            at = end
        self._size = 0
        if at < size:
            self._keep(bytes(self._view[at:size]))

    def _keep(self, rest: bytes) -> None:
        """What is no whole frame yet; behind the end of the connection all is the library's."""
        if self.protocol.state is not OPEN:
            super().data_received(rest)
        elif self.fault is None:
            self._size = len(rest)
            self._view[: self._size] = rest

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
