"""The sender speaks each exchange's dialect at the rate that is wanted."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.sync.client import connect

from benchmarks.feeds.control import SENT, WANTED, open_control
from benchmarks.feeds.sender import QuoteSource
from benchmarks.servers.processes import free_port
from feeds.exchanges.contract import Quote, Refusal
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.markets import load_catalog
from trinity.vocabulary import EXCHANGES


def test_every_quote_has_another_price_and_the_present_time() -> None:
    """All markets come in turn, and after a round of fifty quotes each has moved by a tick."""
    clock = SystemClock()
    source = QuoteSource("okx", load_catalog(), clock)
    seen: dict[str, set[float]] = {}
    for (quote, instant), _ in zip(source.quotes(), range(500), strict=False):
        seen.setdefault(quote.row.symbol, set()).add(quote.bid)
        assert quote.bid < quote.ask
        assert abs(clock.wall_ns() - instant.wall_ns) < NS_PER_SECOND
    assert set(seen) == set(source.board.rows)
    assert min(len(prices) for prices in seen.values()) > 5


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_exchange_s_own_decoder_reads_all_that_it_sends(tmp_path: Path, exchange: str) -> None:
    """A subscription over a real socket brings frames at the rate that is wanted, and none is refused."""
    module, port, file = EXCHANGE_MODULES[exchange], free_port(), tmp_path / "control"
    control = open_control(file, "w+")
    sender = subprocess.Popen([sys.executable, "-m", "benchmarks.feeds.sender", exchange, str(port), str(file)])
    try:
        _wait_for(port)
        decoder, clock = module.new_decoder(), SystemClock()
        symbols = [module.symbol_of(market) for market in load_catalog().markets_of(exchange)]
        with connect(f"ws://127.0.0.1:{port}/{exchange}{module.PROFILE.ws_path}") as client:
            for frame in decoder.subscribe(symbols, clock.wall_ns()):
                client.send(frame)
            control[WANTED] = 500
            events = [event for _ in range(300) for event in decoder.on_frame(client.recv(10, decode=False))]
        assert {event.symbol for event in events if isinstance(event, Quote)} == set(symbols)
        assert not [event for event in events if isinstance(event, Refusal)]
        assert control[SENT] >= 200
    finally:
        sender.terminate()
        sender.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)
        else:
            return
