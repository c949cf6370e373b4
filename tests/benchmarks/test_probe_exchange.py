"""The probing exchange speaks enough of Kraken's protocol, and notes when each frame went out."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from benchmarks.probe_exchange import ProbeExchange, frame_of, mantissa_of, open_times
from feeds.exchanges import kraken
from feeds.exchanges.contract import Quote
from trinity.clock import SystemClock


@pytest.mark.parametrize("number", [0, 1, 12_345])
def test_a_frame_is_a_quote_of_the_real_decoder_with_its_own_price(number: int) -> None:
    """The node's own Kraken decoder reads the frame; the middle of its book tells the frame's number."""
    (quote,) = kraken.new_decoder().on_frame(frame_of(number, 1_760_000_000_123_456_000).encode())
    assert isinstance(quote, Quote)
    assert quote.bid is not None
    assert quote.ask is not None
    assert (quote.bid.decimal + quote.ask.decimal) / 2 * 10_000 == mantissa_of(number)
    assert quote.symbol == "PROBE/USD"


async def test_frames_come_after_the_subscription_and_their_times_are_noted(tmp_path: Path) -> None:
    """A client that subscribes gets an acknowledgement and then frames in order, each sent before it arrived."""
    times, clock = open_times(tmp_path / "times", "w+"), SystemClock()
    exchange = ProbeExchange(times, 500.0, clock)
    async with serve(exchange.talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with asyncio.timeout(10), connect(f"ws://127.0.0.1:{port}/v2") as client:
            await client.send(json.dumps({"method": "subscribe", "params": {"channel": "ticker"}, "req_id": 1}))
            assert json.loads(await client.recv())["success"] is True
            for number in range(5):
                frame = json.loads(await client.recv())
                assert round((frame["data"][0]["last"]) * 10_000) == mantissa_of(number)
                assert 0 < times[number] <= clock.monotonic_ns()
    assert np.all(np.diff(times[:5]) > 0)
