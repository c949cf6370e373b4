"""A stand-in for Kraken that sends one asset, PROBE, and writes down when each of its frames went out.

    python -m benchmarks.probe_exchange PORT TIMES_FILE PROBES_PER_SECOND

Rules: it speaks as much of Kraken's WebSocket v2 as a client needs to subscribe ("Spot WebSockets v2: Ticker"). The
n-th frame has a price that no other has, `price_of(n)`, and word n of the file holds the monotonic nanoseconds right
before it was written to the socket, 0 until then. Frames are spread evenly, so that they meet every phase of the node.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve

from trinity.clock import NS_PER_SECOND, Clock, SystemClock

ASSET = "PROBE"
SYMBOL = f"{ASSET}/USD"
# One word a frame: half an hour at 50 frames/s.
FRAMES_MAX = 100_000
# Mantissa at four places. A step is 2 of 1,000,000 (0.02 bps), so no rule of the consensus takes it for a jump.
SCALE = 4
FIRST_MANTISSA = 1_000_001
STEP = 2
_HALF_SPREAD = 1


def mantissa_of(number: int) -> int:
    """The price of the n-th frame, in 1/10,000."""
    return FIRST_MANTISSA + STEP * number


def frame_of(number: int, wall_ns: int) -> str:
    """The n-th frame: the middle of its book is the probe's price."""
    mantissa = mantissa_of(number)
    bid, ask, last = (_text_of(mantissa + offset) for offset in (-_HALF_SPREAD, _HALF_SPREAD, 0))
    time = datetime.fromtimestamp(wall_ns / NS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    row = f'{{"symbol":"{SYMBOL}","bid":{bid},"ask":{ask},"last":{last},"timestamp":"{time}"}}'
    return f'{{"channel":"ticker","type":"update","data":[{row}]}}'


def _text_of(mantissa: int) -> str:
    return f"{mantissa // 10**SCALE}.{mantissa % 10**SCALE:0{SCALE}}"


def open_times(path: Path, mode: str) -> "np.memmap[tuple[int], np.dtype[np.int64]]":
    """The file of send times: `w+` makes it, all zero; `r` reads it."""
    return np.memmap(path, dtype=np.int64, mode=mode, shape=(FRAMES_MAX,))  # type: ignore[call-overload,no-any-return]


class ProbeExchange:
    """Numbers its frames over all connections; a second connection takes over from the first."""

    def __init__(self, times: NDArray[np.int64], per_second: float, clock: Clock) -> None:
        self._times = times
        self._gap_seconds = 1 / per_second
        self._clock = clock
        self._next = 0

    async def talk(self, connection: ServerConnection) -> None:
        """One client: acknowledge what it asks, and send frames from its first subscription on."""
        sender: asyncio.Task[None] | None = None
        try:
            async for received in connection:
                message = json.loads(received)
                reply = {"method": message.get("method"), "success": True, "req_id": message.get("req_id")}
                if message.get("method") == "subscribe":
                    reply["result"] = {"channel": "ticker", "symbol": SYMBOL, "event_trigger": "bbo", "snapshot": True}
                    sender = sender or asyncio.create_task(self._send(connection))
                await connection.send(json.dumps(reply))
        finally:
            if sender is not None:
                sender.cancel()

    async def _send(self, connection: ServerConnection) -> None:
        while self._next < FRAMES_MAX:
            number = self._next
            self._next += 1
            frame = frame_of(number, self._clock.wall_ns())
            self._times[number] = self._clock.monotonic_ns()
            await connection.send(frame)
            await asyncio.sleep(self._gap_seconds)


async def _serve(port: int, times: NDArray[np.int64], per_second: float) -> None:
    exchange = ProbeExchange(times, per_second, SystemClock())
    async with serve(exchange.talk, "127.0.0.1", port):
        await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    port, times_file, per_second = arguments
    asyncio.run(_serve(int(port), open_times(Path(times_file), "r+"), float(per_second)))


if __name__ == "__main__":
    main(sys.argv[1:])
