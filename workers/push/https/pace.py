"""How many dials go on at once, and how much of the processor their handshakes may take.

A TLS handshake costs a client 1 to 3 ms, half of it in one step, and handshakes come in bundles: after a restart, when
a proxy closes its idle connections, whenever many receivers fail together. One that is taken as soon as its bytes are
there delays every delivery behind it by as much.

Rules: a step of a handshake is run alone, between two turns of the event loop, and after it the lane rests for as long
as the step took times `rest`. So handshakes take at most 1 / (1 + rest) of a processor, and a delivery over a
connection that stands waits for one step at most. Receivers that fail have a lane of their own, which is narrow and
rests long: their probes never stand before the dials of the others.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable

from trinity.clock import NS_PER_SECOND, Clock


class Lane:
    """Slots for dials, and a queue of handshake steps."""

    def __init__(self, slots: int, rest: float, clock: Clock) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._rest = rest
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._steps: deque[Callable[[], None]] = deque()
        self._is_running = False

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """While a dial goes on."""
        async with self._slots:
            yield

    def submit(self, step: Callable[[], None]) -> None:
        """Run a step of a handshake when it is its turn."""
        self._steps.append(step)
        if not self._is_running:
            self._is_running = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        if not self._steps:
            self._is_running = False
            return
        began_ns = self._clock.monotonic_ns()
        try:
            self._steps.popleft()()
        finally:
            took_s = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
            self._loop.call_later(took_s * self._rest, self._run)
