"""A whole node, seen by its users: what HTTP, UDP, health and the command line say."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.node.harness import Node
from trinity.markets import load_catalog
from trinity.version import version

PRICE_TEXT = re.compile(r'"price":(\d+(?:\.\d+)?)[,}]')


def test_a_price_is_built_from_six_exchanges(healthy: Node) -> None:
    """GET /price gives the documented object, and says plainly that its sources are simulated."""
    status, price = healthy.price()
    assert status == 200
    assert (price["asset"], price["currency"], price["source"], price["status"]) == ("BTC", "USD", "consensus", "fresh")
    assert price["sources"] == 6
    assert price["rejected"] == 0
    assert price["price"] > 0
    assert price["confidence"] >= 0
    assert sorted(price["exchanges"]) == sorted(f"simulated:{name}" for name in load_catalog().exchanges)


def test_http_and_udp_give_the_same_object(healthy: Node) -> None:
    """Text and JSON datagrams are answered with the fields of HTTP; an id comes back."""
    _, http = healthy.price("eth")
    assert healthy.ask(b"eth").keys() == http.keys()
    assert healthy.ask(b'{"asset":"ETH","id":7}')["id"] == 7
    both = healthy.ask(b"BTC,ETH")
    assert [item["asset"] for item in both["prices"]] == ["BTC", "ETH"]


def test_every_asset_of_the_catalog_has_a_price(healthy: Node) -> None:
    """GET /prices lists all assets fresh, GET /assets names them all."""
    names = [asset.name for asset in load_catalog().assets]
    _, listed = healthy.get("/prices")
    assert [item["asset"] for item in listed["prices"]] == names
    assert {item["status"] for item in listed["prices"]} == {"fresh"}
    _, assets = healthy.get("/assets")
    assert names == [item if isinstance(item, str) else item["asset"] for item in assets["assets"]]


def test_a_renamed_coin_is_found_by_its_old_name_on_every_surface(healthy: Node) -> None:
    """HTTP, UDP in text and JSON, lists, one exchange, reports and drop-ins: TON is answered as GRAM."""
    for name in ("TON", "ton", "GRAM"):
        for exchange in (None, "okx"):
            status, price = healthy.price(name, exchange)
            assert (status, price["asset"], price["status"]) == (200, "GRAM", "fresh")
        assert healthy.ask(name.encode())["asset"] == "GRAM"
        assert healthy.ask(b'{"asset":"%s"}' % name.encode())["asset"] == "GRAM"
        _, listed = healthy.get(f"/prices?assets=BTC,{name}")
        assert [item["asset"] for item in listed["prices"]] == ["BTC", "GRAM"]
    _, assets = healthy.get("/assets")
    assert assets["aliases"] == {"TON": "GRAM"}


def test_no_price_is_ever_written_with_an_exponent(healthy: Node) -> None:
    """The smallest price (PEPE) is plain digits."""
    url = f"http://127.0.0.1:{healthy.ports['TCP_PORT_LPO']}/prices"
    with urllib.request.urlopen(url, timeout=30) as response:
        text = response.read().decode()
    prices = PRICE_TEXT.findall(text)
    assert len(prices) == len(load_catalog().assets)
    assert all(float(price) > 0 for price in prices)


@pytest.mark.parametrize("exchange", load_catalog().exchanges)
def test_each_exchange_has_its_own_price(healthy: Node, exchange: str) -> None:
    """&exchange= gives that exchange's price in its own currency, and says how it came."""
    status, price = healthy.price("BTC", exchange)
    assert status == 200
    market = next(m for m in load_catalog().markets_of(exchange) if m.asset == "BTC")
    assert (price["source"], price["currency"]) == (exchange, market.quote)
    assert price["via"] in ("ws", "rest")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/price?asset=NOPE", 404, "unknown_asset"),
        ("/price", 400, "missing_asset"),
        ("/price?asset=BTC&exchange=nope", 404, "unknown_exchange"),
        ("/nothing", 404, "unknown_path"),
        ("/price?asset=BTC&max_age=5", 400, "bad_parameter"),
    ],
)
def test_bad_questions_get_stable_codes(healthy: Node, path: str, status: int, code: str) -> None:
    """Every refusal is JSON with a code and a message."""
    answered, body = healthy.get(path)
    assert (answered, body["error"]["code"]) == (status, code)
    assert body["error"]["message"]


def test_health_and_metrics_tell_the_truth(healthy: Node) -> None:
    """Both health ports answer; /health names every process and says that it is simulated; /metrics parses."""
    from prometheus_client.parser import text_string_to_metric_families

    for port in ("HEALTH_PORT_LPO", "HEALTH_PORT_LRS"):
        assert healthy.get("/live", port)[0] == 200
        assert healthy.get("/ready", port)[0] == 200
        status, report = healthy.get("/health", port)
        assert status == 200
        assert report["simulated"] is True
        assert set(load_catalog().exchanges) <= set(report["feeds"])
        assert report["version"] == version()
    of_node, of_reports = (
        {family.name for family in text_string_to_metric_families(healthy.text("/metrics", port))}
        for port in ("HEALTH_PORT_LPO", "HEALTH_PORT_LRS")
    )
    assert {
        "trinity_source_last_update_timestamp_seconds",
        "trinity_price_sources_used",
        "trinity_stablecoin_usd_index",
        "trinity_report_requests",
    } <= of_node
    assert of_reports < of_node
    assert "trinity_price_sources_used" not in of_reports
    for name in healthy.processes():
        # Counted in hundredths of a second: a process that was just started may have none yet.
        healthy.wait(
            f"work of {name}", lambda name=name: healthy.metrics("trinity_process_cpu_seconds_total", process=name)[0]
        )
        assert healthy.metrics("trinity_process_resident_memory_bytes", process=name)[0] > 0
    assert 0 < healthy.metrics("trinity_data_disk_free_bytes")[0] <= healthy.metrics("trinity_data_disk_size_bytes")[0]


def test_every_process_is_called_by_its_name(healthy: Node) -> None:
    """`ps` shows `trinity: worker 0 [node]`, the supervisor included; what `top` shows is the beginning of it."""
    node = healthy.environment["CLUSTER_NODE"]
    assert healthy.process is not None
    titles = {name: f"trinity: {name.replace('-', ' ', 1)} [{node}]" for name in healthy.processes()}
    pids = {name: healthy.pid(name) for name in titles} | {"supervisor": healthy.process.pid}
    titles["supervisor"] = f"trinity: supervisor [{node}]"
    for name, title in titles.items():
        shown = subprocess.run(
            ["ps", "-o", "comm=,args=", "-p", str(pids[name])], capture_output=True, text=True, check=True
        )
        short, _, whole = shown.stdout.partition(title)
        assert short.strip() == title[:15].strip()
        assert whole.strip() == ""


def test_the_tools_read_a_running_node(healthy: Node) -> None:
    """`trinity top --once` shows the assets and `trinity explain BTC` each step, without disturbing the node."""
    for command, expected in ((["top", "--once"], "ETH"), (["explain", "BTC"], "kraken")):
        run = subprocess.run(
            [sys.executable, "-m", "trinity", *command],
            env=healthy.environment | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert expected in run.stdout
    assert healthy.price()[0] == 200


def test_logs_are_json_lines_one_stream_a_process(healthy: Node) -> None:
    """Each process writes its own file, every line is an object that names it."""
    files = sorted((healthy.data_dir / "logs").glob("*.jsonl"))
    assert len(files) >= 8
    for file in files:
        for line in Path(file).read_text().splitlines():
            assert json.loads(line)["process"] == file.stem
