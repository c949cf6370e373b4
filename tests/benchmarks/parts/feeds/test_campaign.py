"""What a campaign takes for wrong: against a small node of our own that is told what to say."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.parts.feeds.campaign import Look, Truth, _Campaign, ranges_of
from benchmarks.progress import Progress
from benchmarks.servers.node import Node
from benchmarks.servers.processes import start
from trinity.clock import SystemClock

MARKETS = [
    {"exchange": "kraken", "asset": "BTC", "currency": "USD", "bid": 100.0, "ask": 100.1},
    {"exchange": "okx", "asset": "BTC", "currency": "USDT", "bid": 100.0, "ask": 100.1},
    {"exchange": "kraken", "asset": "USDT", "currency": "USD", "bid": 0.99, "ask": 1.01},
    {"exchange": "okx", "asset": "USDC", "currency": "USDT", "bid": 1.0, "ask": 1.0},
]


def test_the_honest_range_takes_converted_quotes_at_the_extremes() -> None:
    """USDT quotes are worth what USDT was on any exchange; USDC is known through USDT alone here."""
    assert ranges_of(MARKETS) == {
        "BTC": (99.0, pytest.approx(101.101)),
        "USDT": (0.99, 1.01),
        "USDC": (0.99, 1.01),
    }


def test_a_price_is_held_against_all_that_was_true_lately() -> None:
    """Within the window's extremes it is right; what is older than the window counts no more."""
    truth = Truth()
    truth.add(Look(0.0, {"BTC": (100.0, 101.0)}))
    truth.add(Look(20.0, {"BTC": (102.0, 103.0)}))
    assert truth.off_bps("BTC", 100.5) == 0
    assert truth.off_bps("BTC", 99.0) == 100
    truth.add(Look(32.0, {"BTC": (102.0, 103.0)}))
    assert truth.off_bps("BTC", 100.5) == pytest.approx(147.06, abs=0.01)


class StubNode(BaseHTTPRequestHandler):
    """Node and simulator in one: every price is `price`, every fault is taken."""

    protocol_version = "HTTP/1.1"
    price: float | None = 1.0

    def do_GET(self) -> None:
        if self.path == "/market":
            markets = [{"asset": "BTC", "currency": "USD", "bid": 1.0, "ask": 1.0, "exchange": "kraken"}]
            self._answer(200, {"markets": markets})
        elif self.price is None:
            self._answer(503, {"error": {"code": "sources_disagree"}})
        else:
            self._answer(200, {"asset": "BTC", "price": self.price})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, {})

    def log_message(self, *_: Any) -> None:
        """Nothing to standard error."""

    def _answer(self, status: int, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with ThreadingHTTPServer(("127.0.0.1", 0), StubNode) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        child = start("stub", ["sleep", "60"], tmp_path)
        try:
            yield Node("stub", child, server.server_port, 0, ["BTC"], [], server.server_port)
        finally:
            child.stop()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("price", "wrong"), [(1.0, False), (1.0049, False), (0.9949, True), (1.051, True), (None, False)]
)
def test_only_a_fresh_price_that_is_far_off_is_wrong(
    node: Node, monkeypatch: pytest.MonkeyPatch, price: float | None, wrong: bool
) -> None:
    """50 bps are right, more is wrong with an example that says who lied; a refusal is counted by its code."""
    monkeypatch.setattr(StubNode, "price", price)
    campaign = _Campaign(node, Random(2), SystemClock())
    campaign.run(1.0, Progress(SystemClock(), quiet=True))
    campaign.close()
    found = campaign.found()

    assert (found["judged"] > 0) is (price is not None)
    assert (found["wrong"] == found["judged"]) is (wrong or price is None)
    assert bool(found["examples"]) is wrong
    assert bool(found["refused"].get("sources_disagree")) is (price is None)
