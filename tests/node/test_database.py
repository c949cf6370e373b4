"""A whole node whose database is killed, broken or away: prices are answered all the same, from the first second."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.node.harness import START_SECONDS, Node
from tests.trinity.store.frozen import frozen
from trinity.store.embedded import embedded_url
from trinity.store.watch import SILENCE_SECONDS

# A frozen database is known within SILENCE_SECONDS; the rest is for the machine of the tests.
KNOWN_SECONDS = SILENCE_SECONDS + 3.0


def _database_pid(node: Node) -> int:
    process = node.health().get("processes", {}).get("database", {})
    return int(process["pid"]) if process.get("alive") else 0


def _postgres(node: Node) -> psutil.Process | None:
    """The server, as the child of the process that looks after it."""
    try:
        children = psutil.Process(_database_pid(node)).children()
        return next((child for child in children if child.name() == "postgres"), None)
    except psutil.NoSuchProcess:
        return None  # it was killed a moment ago


def _answers(node: Node) -> bool:
    try:
        with psycopg.connect(embedded_url(node.data_dir), connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def _metric(node: Node, name: str) -> float:
    lines = node.text("/metrics", "HEALTH_PORT_LPO").splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name + " ")), -1.0)


def _wait_price(node: Node) -> None:
    """On a busy machine a price may be stale for a moment, whatever the database does."""
    node.wait("a price", lambda: node.price()[0] == 200, 60)


def test_a_frozen_database_is_told_by_all_who_use_it(node: Node) -> None:
    """Every process of the server stopped: health, a report and a command say so within seconds, prices go on."""
    node.wait("the database", lambda: _metric(node, "trinity_database_up") == 1.0, 120)
    node.wait("the ledger", lambda: (node.health().get("ledger") or {}).get("database_up"), 60)
    server = node.wait("a server", lambda: _postgres(node), 60)
    with frozen(server.pid):
        node.wait("health says so", lambda: not node.health()["ledger"]["database_up"], KNOWN_SECONDS)
        command = subprocess.run(
            [sys.executable, "-m", "trinity", "keys", "list"],
            env=node.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert command.returncode == 1
        assert "does not answer" in command.stderr
        assert "start the node" not in command.stderr
        _wait_price(node)
    node.wait("the ledger again", lambda: node.health()["ledger"]["database_up"], 60)


def test_prices_go_on_while_the_database_is_killed_and_it_comes_back(node: Node) -> None:
    """SIGKILL for the server, then for the process that looks after it: both are replaced, prices go on."""
    node.wait("the database", lambda: _answers(node), 120)
    node.wait("the gauge", lambda: _metric(node, "trinity_database_up") == 1.0, 60)
    for victim in ("server", "owner"):
        server = node.wait("a server", lambda: _postgres(node), 60)
        pid = server.pid if victim == "server" else _database_pid(node)
        os.kill(pid, signal.SIGKILL)

        _wait_price(node)

        def is_replaced(old: int = server.pid) -> bool:
            new = _postgres(node)
            return new is not None and new.pid != old and _answers(node)

        node.wait("the next server", is_replaced, 120)
    assert node.process is not None
    assert node.process.poll() is None


def test_a_database_that_cannot_start_costs_no_price(fresh_node: Node, tmp_path: Path) -> None:
    """Broken from the start: the node becomes ready, says what is wrong in its log, and drains as always."""
    broken = fresh_node.data_dir / "database" / "cluster"
    broken.mkdir(parents=True)
    (broken / "PG_VERSION").write_text("9\n")
    fresh_node.start()
    fresh_node.wait_ready()
    log = fresh_node.data_dir / "logs" / "database.jsonl"
    fresh_node.wait("the reason", lambda: log.exists() and "StoreUnavailableError" in log.read_text(), 30)
    _wait_price(fresh_node)
    assert _metric(fresh_node, "trinity_database_up") == 0.0
    assert (broken / "PG_VERSION").read_text() == "9\n"
    assert fresh_node.stop() == 0


@pytest.mark.parametrize("how", ["refusing", "silent"])
def test_a_database_that_is_away_costs_no_price_from_the_first_second(fresh_node: Node, how: str) -> None:
    """DATABASE_URL names a port that refuses, or a server that takes the connection and says nothing: no embedded one
    is started, and a node that listens answers without waiting for either, with a price as soon as one is there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "silent":
            listener.listen()
        fresh_node.environment["DATABASE_URL"] = f"postgresql://user:secret@127.0.0.1:{listener.getsockname()[1]}/name"
        fresh_node.start()
        fresh_node.wait("a listener", lambda: _is_listening(fresh_node), START_SECONDS)
        fresh_node.wait("an answer", lambda: fresh_node.price()[0] in (200, 503))
        fresh_node.wait_ready()
        _wait_price(fresh_node)
        assert _metric(fresh_node, "trinity_usage_database_up") == 0.0
        assert "database" not in fresh_node.health()["processes"]
        assert fresh_node.stop() == 0
        assert "secret" not in fresh_node.output()


def _is_listening(node: Node) -> bool:
    with socket.socket() as asker:
        return asker.connect_ex(("127.0.0.1", node.ports["TCP_PORT_LPO"])) == 0


def test_a_drained_node_leaves_no_server(node: Node) -> None:
    """The last of the node's processes to go is the database, in order."""
    server = node.wait("a server", lambda: _postgres(node), 60)
    assert node.stop() == 0
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()
    assert "postmaster.pid" not in os.listdir(node.data_dir / "database" / "cluster")
