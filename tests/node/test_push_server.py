"""SERVER_TYPE=WEBHOOK_SERVER: a node that delivers, and answers nobody but for its health."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.node.harness import START_SECONDS, Node, new_node
from tests.support.receiver import Receiver
from tests.workers.push.conftest import wait_until
from trinity.store.connect import connect
from trinity.store.embedded import embedded_url

# Simulated exchanges of another process than the node: `trinity simulate`.
pytestmark = pytest.mark.long


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "authority.pem")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def node(tmp_path: Path, receiver: Receiver) -> Iterator[Node]:
    """With an embedded database, and simulated exchanges in a process beside it."""
    with new_node(tmp_path / "exchanges") as exchanges:
        exchanges.start("simulate")
        base = f"ws://127.0.0.1:{exchanges.ports['SIMULATOR_PORT']}"
        names = ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx")
        with new_node(
            tmp_path / "node",
            SERVER_TYPE="WEBHOOK_SERVER",
            FEEDS_SIMULATED="on",
            WS_BASE_URLS=",".join(f"{name}={base}/{name}" for name in names),
            REST_BASE_URLS=",".join(f"{name}={base.replace('ws:', 'http:')}/{name}" for name in names),
            PUSH_ALLOWED_TARGETS="127.0.0.1",
            PUSH_CA_FILE=str(receiver.ca_file),
        ) as started:
            started.start("run")
            started.wait_ready()
            yield started
            assert started.stop() == 0
        exchanges.stop()


def test_it_is_healthy_delivers_and_listens_for_its_health_alone(node: Node, receiver: Receiver) -> None:
    """Prices of its own feeds reach a subscriber; the delivery is in the database and in the metrics."""
    _, ready = node.get("/ready", "HEALTH_PORT_LPO")
    assert ready["ready"]
    assert ready["fresh_assets"] > 0
    wait_until(lambda: node.metrics("trinity_push_database_up") == [1.0], "the database", START_SECONDS)
    with connect(embedded_url(node.data_dir), "tests", autocommit=True) as connection:
        connection.execute(
            "WITH made AS (INSERT INTO accounts (name) VALUES ('shop') RETURNING id) "
            "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret) "
            "SELECT id, %s, '{BTC,ETH}', 3, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' FROM made",
            (receiver.url("/a"),),
        )
        wait_until(lambda: len(receiver.of("/a")) >= 2, "messages")
        data = json.loads(receiver.of("/a")[1].body)["data"]
        assert data["simulated"]
        assert all(price["sources"] >= 3 for price in data["prices"])
        wait_until(lambda: connection.execute("SELECT count(*) FROM push_deliveries").fetchall()[0][0] >= 2, "the log")
    assert sum(node.metrics("trinity_push_deliveries_total", outcome="delivered")) >= 2
    assert _listening(node) == {node.ports["HEALTH_PORT_LPO"]}
    assert node.health()["status"] in ("ok", "degraded")


def _listening(node: Node) -> set[int]:
    """Ports of the node's processes that others can reach, over TCP and UDP; PostgreSQL's socket is a file."""
    assert node.process is not None
    family = [psutil.Process(node.process.pid), *psutil.Process(node.process.pid).children(recursive=True)]
    found = set()
    for process in family:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                found.add(connection.laddr.port)
    return found
