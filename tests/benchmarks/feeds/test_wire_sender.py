"""The sender over real sockets: the exchanges' own decoders take every frame as a quote, as many as are wanted."""

import contextlib
import json
import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from benchmarks.feeds import sent_node
from benchmarks.feeds.frame_templates import PROBE, mantissa_of
from benchmarks.feeds.wire_sender import PROBES_PER_SECOND, SENT, TIMES, WANTED, main, open_control
from benchmarks.generators.checks import Ints
from benchmarks.servers.processes import START_SECONDS_MAX, free_port
from feeds.exchanges.contract import Quote, Reconnect, Refusal
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.clock import SystemClock
from trinity.markets import load_catalog


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Ints, Path]]:
    """(its port, its control words, its markets)"""
    folder = tmp_path_factory.mktemp("wire")
    port, control_file, markets_file = free_port(), folder / "control.i64", folder / "markets.toml"
    markets_file.write_text(sent_node._toml(sent_node._markets()))
    control = open_control(control_file, "w+")
    arguments = [str(port), str(control_file), str(markets_file)]
    process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    process.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.05)
    yield port, control, markets_file
    process.terminate()
    process.join()


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES)
def test_every_frame_is_a_quote_to_the_exchange_s_decoder(sender: tuple[int, Ints, Path], exchange: str) -> None:
    """None is refused, none breaks a sequence; all markets come with new prices, and the probe says its number."""
    port, control, markets_file = sender
    module, markets = EXCHANGE_MODULES[exchange], load_catalog(markets_file).markets_of(exchange)
    symbols, clock = [module.symbol_of(market) for market in markets], SystemClock()
    decoder = module.new_decoder()
    control[WANTED] = 1_000
    seen: Counter[str] = Counter()
    texts: dict[str, set[str]] = {symbol: set() for symbol in symbols}
    probes = []
    with connect(f"ws://127.0.0.1:{port}/{exchange}{module.PROFILE.ws_path}", compression=None) as client:
        for text in decoder.subscribe(symbols, clock.monotonic_ns()):
            client.send(text)
        while min(seen.get(symbol, 0) for symbol in symbols) < 5:
            frame = client.recv(timeout=START_SECONDS_MAX)
            assert isinstance(frame, str)
            events = decoder.on_frame(frame.encode())
            assert not [event for event in events if isinstance(event, Refusal | Reconnect)], frame
            for event in events:
                if isinstance(event, Quote):
                    seen[event.symbol] += 1
                    texts[event.symbol].add(frame)
                    if event.symbol.startswith(PROBE):
                        probes.append(json.loads(frame)["data"][0]["last"])
    control[WANTED] = 0
    assert all(len(texts[symbol]) >= 4 for symbol in symbols), "prices and times move"
    numbers = [round(price * 10_000) for price in probes[1:]]  # behind the first, which is what stood at the start
    first = (numbers[0] - mantissa_of(0)) // 2 if numbers else 0
    assert numbers == [mantissa_of(first + turn) for turn in range(len(numbers))]
    assert bool(numbers) is (exchange == sent_node.PROBE_EXCHANGE)


def test_the_rate_is_what_is_wanted_and_probes_are_written_down(sender: tuple[int, Ints, Path]) -> None:
    """Beside each other; nothing when nothing is wanted."""
    port, control, markets_file = sender
    exchange = sent_node.PROBE_EXCHANGE
    module, markets = EXCHANGE_MODULES[exchange], load_catalog(markets_file).markets_of(exchange)
    with connect(f"ws://127.0.0.1:{port}/{exchange}{module.PROFILE.ws_path}", compression=None) as client:
        for text in module.new_decoder().subscribe([module.symbol_of(market) for market in markets], 1):
            client.send(text)
        for _ in range(len(markets)):
            client.recv(timeout=START_SECONDS_MAX)
        before = int((control[TIMES:] > 0).sum())
        control[WANTED] = 500
        started, sent = time.monotonic(), int(control[SENT])
        while time.monotonic() - started < 2:
            with contextlib.suppress(TimeoutError):
                client.recv(timeout=0.1)
        passed, count = time.monotonic() - started, int(control[SENT]) - sent
        control[WANTED] = 0
        probes = int((control[TIMES:] > 0).sum()) - before
        time.sleep(0.1)
        still = int(control[SENT])
        time.sleep(0.3)
        assert int(control[SENT]) - still == 0
    assert 0.3 * 500 < count / passed < 1.2 * (500 + PROBES_PER_SECOND)
    assert 0 < probes <= 1.2 * PROBES_PER_SECOND * passed
    times = control[TIMES:][control[TIMES:] > 0]
    assert (times[1:] > times[:-1]).all()
    assert times[-1] <= time.monotonic_ns()
