"""Peers are led to loopback, and what cannot be asked is said."""

import importlib.util
import sys
from pathlib import Path

import pytest

from benchmarks.feeds.peers import PEERS, WHY_NOT, _to_loopback
from benchmarks.parts.feeds.feeds import measure_peer
from trinity.vocabulary import EXCHANGES


def test_every_address_of_a_tree_is_replaced() -> None:
    """WebSocket addresses keep their paths; REST's stay, nobody asks there."""
    urls = {"ws": {"public": "wss://ws.kraken.com/v2"}, "spot": "wss://api.gateio.ws/ws/v4/", "rest": "https://a.b/c"}
    assert _to_loopback(urls, "ws://127.0.0.1:7/x") == {
        "ws": {"public": "ws://127.0.0.1:7/x/v2"},
        "spot": "ws://127.0.0.1:7/x/ws/v4/",
        "rest": "https://a.b/c",
    }


def test_what_is_not_asked_names_a_peer_and_an_exchange() -> None:
    """Each reason is of a pair that exists, and each peer is asked something."""
    assert {peer for peer, _ in WHY_NOT} <= set(PEERS)
    assert {exchange for _, exchange in WHY_NOT} < set(EXCHANGES)


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_takes_tickers(tmp_path: Path, peer: str) -> None:
    """Over a real socket, where it is installed; it costs more than nothing."""
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    assert measure_peer(tmp_path, peer, "okx", sys.executable, 1.0)["cpu_us"] > 1
