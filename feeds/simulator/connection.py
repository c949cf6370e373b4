"""One WebSocket of a simulated exchange: its session, its outbox and the task that sends.

Rules: only pumps. The market never waits for a client: frames go into a bounded outbox, and a client that does not
read is cut, as the real exchanges do.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from aiohttp import WSCloseCode, web

from feeds.simulator.venue import Out, SendPing, Session

# 4 s of the whole market at its highest rate; a client that is further behind has stopped reading.
OUTBOX_MAX = 20_000
CLOSE_SECONDS_MAX = 1.0


class SimulatedConnection:
    """A client's socket; `send_all` runs as a task as long as the socket is open."""

    def __init__(self, session: Session, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.session = session
        self._socket = socket
        self._transport = transport
        self._outbox: deque[Out] = deque()
        self._filled = asyncio.Event()

    def post(self, frames: Iterable[Out]) -> None:
        """Put frames into the outbox; never waits."""
        self._outbox.extend(frames)
        if len(self._outbox) > OUTBOX_MAX:
            self._outbox.clear()
            self.abort()
        if self._outbox:
            self._filled.set()

    def abort(self) -> None:
        """End the connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    async def send_all(self) -> None:
        """Send what is in the outbox until the connection ends."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                frame = self._outbox.popleft()
                try:
                    if not await self._send(frame):
                        return
                except ConnectionError:
                    return  # the client is gone: the reading task ends by itself

    async def close(self, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        await self._socket.close(code=code, message=reason.encode())

    async def _send(self, frame: Out) -> bool:
        """Send one frame; False when it was the last one."""
        if isinstance(frame, str):
            await self._socket.send_str(frame)
        elif isinstance(frame, SendPing):
            await self._socket.ping()
        elif frame.code is None:
            self.abort()
            return False
        else:
            await self.close(frame.code, frame.reason)
            return False
        return True
