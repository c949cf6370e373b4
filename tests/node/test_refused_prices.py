"""Old and disputed prices of a whole node: every surface says of them what a lookup says, and none shows them as good.

The faults are on ETH alone, so that one node is good for all tests. Everything is asked over sockets.
"""

import json
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.harness import Node
from trinity.client import Client

EXCHANGES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
LIARS = EXCHANGES[:3]
ETH_FEED = "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"
# The five stopped one after the other, and the sixth moves the middle from one to another.
APART_MS = 1_000
SURE_MS = 2_000  # older than any honest price of the demo, younger than ETH's limit of 10 s


def _binary(node: Node, max_age_ms: int = 0, flags: int = 0) -> dict[str, Any]:
    """ETH's record of a binary reply, and the time of the answer."""
    request = struct.pack("<4sBBBBQII16s", b"\xd7TRQ", 1, flags, 1, 0, 7, max_age_ms, 0, b"ETH")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.sendto(request, ("127.0.0.1", node.ports["UDP_PORT_LPO"]))
        reply = asker.recv(2048)
    time_ms = struct.unpack_from("<Q", reply, 16)[0]
    names = ("price", "confidence", "age_ms", "exponent", "places", "status", "sources", "rejected")
    return dict(zip(names, struct.unpack("<qIIbbBBBx", reply[24:]), strict=True)) | {"time_ms": time_ms}


def _report(node: Node, path: str) -> Any:
    return node.get(path, "TCP_PORT_LRS")[1]


def _wait_reports(node: Node) -> None:
    """A node is ready for lookups before its reporting service answers."""
    node.wait("the reporting service", lambda: "assets" in _report(node, "/node"), 60)


def _first_event(node: Node, path: str) -> dict[str, Any] | None:
    """The first data of a stream that is opened now; None when nothing but a heartbeat came within 3 s."""
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}{path}"
    with urllib.request.urlopen(url, timeout=3) as response:
        try:
            for line in response:
                if line.startswith(b"data: {") and line != b"data: {}\n":
                    found: dict[str, Any] = json.loads(line[6:])
                    return found
        except TimeoutError:
            return None
    return None


def _top(node: Node, asset: str) -> tuple[dict[str, Any], set[str]]:
    """One asset and its sources' verdicts of `trinity top --json`."""
    command = [sys.executable, "-m", "trinity", "top", "--json"]
    shown = json.loads(
        subprocess.run(command, env=node.environment, capture_output=True, check=True, timeout=60).stdout
    )
    sources = [source for source in shown["sources"] if source["asset"] == asset]
    return next(one for one in shown["assets"] if one["asset"] == asset), {one["verdict"] for one in sources}


@pytest.fixture
def disputed(healthy: Node) -> Iterator[Node]:
    """Three of six say 10 % more of ETH, so there is no price of it."""
    _wait_reports(healthy)
    for exchange in LIARS:
        healthy.fault(exchange=exchange, asset="ETH", fault="scale_price", value=1.1, seconds=300)
    healthy.wait("refusal", lambda: healthy.price("ETH")[1].get("status") == "sources_disagree")
    yield healthy
    healthy.clear_faults()
    healthy.wait_all_sources("ETH")


@pytest.fixture
def ageing(healthy: Node) -> Iterator[Node]:
    """Only OKX still sends anything of ETH; the others' quotes are older than SURE_MS and not too old yet."""
    _wait_reports(healthy)
    for exchange in EXCHANGES[:5]:
        healthy.fault(exchange=exchange, fault="rest_500", seconds=300)
        healthy.fault(exchange=exchange, asset="ETH", fault="freeze", seconds=300)

    def old_enough() -> bool:
        return all(_age(healthy, exchange) > SURE_MS for exchange in EXCHANGES[:5])

    healthy.wait("five old quotes", old_enough)
    yield healthy
    healthy.clear_faults()
    healthy.wait_all_sources("ETH")


def _age(node: Node, exchange: str) -> float:
    rows = _report(node, "/node/asset?asset=ETH").get("exchanges", [])
    return float(next((row["age_ms"] for row in rows if row["exchange"] == exchange), 0))


def test_an_old_price_is_old_on_every_surface(ageing: Node) -> None:
    """One fresh source of six: age, times and max_age_ms are those of the median, the newest is told beside it."""
    status, price = ageing.price("ETH")
    assert (status, price["sources"]) == (200, 6)
    assert price["newest_timestamp"] - price["timestamp"] > SURE_MS - 500

    limit = f"max_age_ms={SURE_MS // 2}"
    assert ageing.get(f"/price?asset=ETH&{limit}")[1]["status"] == "price_too_old"
    assert ageing.get(f"/prices?assets=ETH,BTC&{limit}")[1]["prices"][0]["status"] == "price_too_old"
    refused = ageing.ask(b'{"asset":"ETH","max_age_ms":%d}' % (SURE_MS // 2))
    assert (refused["status"], refused["age_ms"] > SURE_MS) == ("price_too_old", True)
    assert ageing.ask(b"ETH")["timestamp"] < ageing.ask(b"ETH")["newest_timestamp"] - SURE_MS + 500
    frame = _binary(ageing, SURE_MS // 2)
    assert (frame["status"], frame["price"], frame["age_ms"] > SURE_MS) == (5, 0, True)
    good = _binary(ageing)
    assert (good["status"], good["age_ms"] > SURE_MS) == (0, True)
    assert abs(good["time_ms"] - good["age_ms"] - price["timestamp"]) < APART_MS
    client = Client("127.0.0.1", ageing.ports["TCP_PORT_LPO"], ageing.ports["UDP_PORT_LPO"], timeout=20)
    for via in ("http", "text", "binary"):
        assert client.prices("ETH", via=via, max_age_ms=SURE_MS // 2)[0]["status"] == "price_too_old"  # type: ignore[arg-type]

    shown = _report(ageing, "/node/asset?asset=ETH")
    assert shown["age_ms"] > SURE_MS
    assert abs(shown["timestamp"] - price["timestamp"]) < APART_MS
    assert ageing.metrics("trinity_price_age_seconds", asset="ETH")[0] > SURE_MS / 1000
    event = _first_event(ageing, "/stream/prices?assets=ETH")
    assert event is not None
    assert abs(event["timestamp"] - price["timestamp"]) < APART_MS
    hermes = _report(ageing, f"/v2/updates/price/latest?ids[]={ETH_FEED}")["parsed"][0]
    assert abs(hermes["price"]["publish_time"] - price["timestamp"] // 1000) <= 1
    query = "/api/v3/simple/price?ids=ethereum&vs_currencies=usd&include_last_updated_at=true"
    assert abs(_report(ageing, query)["ethereum"]["last_updated_at"] - price["timestamp"] // 1000) <= 1
    explained = _report(ageing, "/explain?asset=ETH")
    assert explained["age_ms"] > SURE_MS > explained["newest_age_ms"]
    assert _top(ageing, "ETH")[0]["age_ns"] > SURE_MS * 1e6


def test_a_disputed_price_is_refused_on_every_surface(disputed: Node) -> None:
    """No surface has a number as `price` or counts a source as used or good; the last price has a name of its own."""
    asset = next(one for one in _report(disputed, "/node")["assets"] if one["asset"] == "ETH")
    shown = _report(disputed, "/node/asset?asset=ETH")
    for state in (asset, shown):
        assert (state["status"], state["price"], state["timestamp"]) == ("sources_disagree", None, None)
        assert (state["sources"], state["voters"], state["majority"], state["confidence_bps"]) == (0, 6, 4, None)
        assert state["last_price"] > 0
        assert state["age_ms"] > 0
        assert 800 < state["disagreement_bps"] < 1100
        assert state["reason"].endswith("4 of them within 100 bps are needed")
    assert {row["verdict"] for row in shown["exchanges"]} == {"disputed"}

    assert disputed.metrics("trinity_price_usd", asset="ETH") == []
    assert disputed.metrics("trinity_last_price_usd", asset="ETH")[0] > 0
    assert disputed.metrics("trinity_price_sources_used", asset="ETH") == [0.0]
    assert disputed.metrics("trinity_source_used", asset="ETH") == [0.0] * 6
    assert disputed.metrics("trinity_source_used", asset="BTC") == [1.0] * 6
    assert "ETH" in disputed.health()["consensus"]["unavailable"]

    for datagram in (b"ETH", b'{"asset":"ETH"}'):
        body = disputed.ask(datagram)
        assert (body["status"], "price" in body, body["last_price"] > 0) == ("sources_disagree", False, True)
    frame = _binary(disputed)
    assert (frame["price"], frame["confidence"], frame["status"], frame["sources"]) == (0, 0, 3, 0)

    event = _first_event(disputed, "/stream/prices?assets=ETH")
    assert event is not None
    assert (event["status"], "price" in event) == ("sources_disagree", False)
    status, problem = disputed.get(f"/v2/updates/price/latest?ids[]={ETH_FEED}", "TCP_PORT_LRS")
    assert (status, problem["code"]) == (503, "sources_disagree")
    assert _report(disputed, "/api/v3/simple/price?ids=ethereum&vs_currencies=usd") == {"ethereum": {}}
    assert _report(disputed, "/api/v3/simple/price?ids=bitcoin&vs_currencies=eth") == {"bitcoin": {}}

    explained = _report(disputed, "/explain?asset=ETH")
    assert (explained["price"], explained["used"], explained["age_ms"]) == (None, [], None)
    assert {source["verdict"] for source in explained["sources"]} == {"disputed"}
    assert (explained["majority"]["needed"], explained["majority"]["low"]) == (4, None)
    top, verdicts = _top(disputed, "ETH")
    assert (top["price"], top["sources"], verdicts) == (None, 0, {"disputed"})
    assert float(top["last_price"]) == pytest.approx(asset["last_price"])
