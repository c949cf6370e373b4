"""`make cluster`: three nodes, a push server, their stores and nginx, started and ended as one."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.node.local_cluster import LocalCluster, new_cluster
from trinity.balancer.watcher import read_standings
from trinity.cache.address import cache_settings
from trinity.node.cluster.layout import TLS_PORT
from trinity.node.cluster.monitoring import PROMETHEUS_PORT

# The ledger has IPv4 as ::ffff:a.b.c.d.
_ADDRESS = "replace(host(address), '::ffff:', '')"
# Beside a cluster of four nodes on two cores.
_PAUSE_SECONDS = 0.02
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(not (shutil.which("valkey-server") or shutil.which("redis-server")), reason="no valkey-server"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One cluster for all tests of this module; its end is a test as well."""
    with new_cluster(tmp_path_factory.mktemp("cluster")) as started:
        started.start()
        started.wait_ready()
        yield started
        assert started.stop() == 0
        assert started.processes() == {}, "nothing is left behind"


@pytest.fixture(scope="module")
def key(cluster: LocalCluster) -> str:
    """Without limits, known to all nodes."""
    made = cluster.make_key()
    cluster.wait_known(made)
    return made


def test_the_examples_on_the_page_work(cluster: LocalCluster) -> None:
    """The key that was made is answered over HTTP and UDP; the dashboard is there."""
    key = (cluster.layout.secrets / "api_key").read_text().strip()
    assert cluster.wait("price", lambda: cluster.get("/price?asset=BTC", key).status == 200)
    assert cluster.get("/history?asset=BTC", key, port=9090).status == 200
    assert cluster.ask(f"ETH key={key}")["asset"] == "ETH"
    assert cluster.get("/", key, port=9090).headers["Content-Type"].startswith("text/html")


def test_all_three_nodes_answer_over_nginx_and_their_rows_name_the_client(cluster: LocalCluster, key: str) -> None:
    """Over HTTP and UDP, at addresses that are neither nginx's nor a header's of the client."""
    sources = {"127.0.0.71": "http", "127.0.0.72": "udp"}
    for _ in range(30):
        assert cluster.get("/price?asset=BTC", key, source="127.0.0.71").status == 200
        assert cluster.ask(f"BTC key={key}", source="127.0.0.72")["asset"] == "BTC"

    def rows() -> list[tuple[str, str]]:
        return cluster.rows(  # type: ignore[return-value]
            f"SELECT DISTINCT {_ADDRESS}, node_id::text FROM usage_log WHERE {_ADDRESS} LIKE '127.0.0.7_'"
        )

    assert cluster.wait("rows of all nodes", lambda: len(rows()) == len(sources) * len(cluster.layout.answering), 30)
    assert {address for address, _ in rows()} == set(sources)


def test_an_address_that_a_client_claims_is_not_believed(cluster: LocalCluster, key: str) -> None:
    """nginx says who asks, whatever stands in the request; a node believes nobody else."""
    for host in ("", cluster.layout.answering[0].host):
        with socket.create_connection((host or cluster.layout.proxy, 8080), 10) as client:
            lines = ("GET /price?asset=BTC HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", "Connection: close")
            client.sendall("\r\n".join((*lines, "X-Forwarded-For: 203.0.113.9", "", "")).encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    cluster.get("/price?asset=BTC", key, source="127.0.0.73")
    last = f"SELECT count(*) FROM usage_log WHERE {_ADDRESS} = %s"
    assert cluster.wait("later row", lambda: cluster.rows(last, "127.0.0.73")[0][0], 30)
    assert cluster.rows(last, "203.0.113.9") == [(0,)]


def test_the_cache_speaks_tls_to_its_user_alone(cluster: LocalCluster) -> None:
    """Plain TCP, another password and another name are refused; the node's own user may not empty it."""
    import valkey

    layout = cluster.layout
    url = (layout.secrets / "cache_url").read_text().strip()
    address = cache_settings(url, str(layout.authority)).address
    tls = {"ssl": True, "ssl_ca_certs": str(layout.authority), "ssl_check_hostname": True}
    with valkey.Valkey(address.host, address.port, username=address.user, password=address.password, **tls) as own:  # type: ignore[arg-type]
        assert own.ping()
        with pytest.raises(valkey.exceptions.NoPermissionError):
            own.flushall()
        with pytest.raises(valkey.exceptions.NoPermissionError):
            own.set("anything", 1)
    with valkey.Valkey(address.host, address.port, **tls) as nobody, pytest.raises(valkey.exceptions.ValkeyError):  # type: ignore[arg-type]
        nobody.ping()
    with valkey.Valkey(address.host, address.port) as plain, pytest.raises((valkey.exceptions.ValkeyError, OSError)):
        plain.ping()


def test_a_node_killed_at_once_is_not_noticed_by_clients_with_one_retry(cluster: LocalCluster, key: str) -> None:
    """Three nodes in turn, each back before the next; each client's second try is answered at the latest."""
    stopping = threading.Event()
    failures: list[tuple[str, ...]] = []
    answered: Counter[str] = Counter()

    def keep_asking(kind: str) -> None:
        while not stopping.wait(_PAUSE_SECONDS):
            tries = [_outcome(cluster, kind, key)]
            if tries[0] != "good":
                tries.append(_outcome(cluster, kind, key))
            if tries[-1] != "good":
                failures.append((kind, *tries))
            answered[kind] += 1

    clients = [threading.Thread(target=keep_asking, args=(kind,)) for kind in ("http", "udp") * 2]
    for client in clients:
        client.start()
    try:
        for node in cluster.layout.answering:
            pid, before = cluster.pids()[node.name], Counter(answered)
            os.kill(pid, signal.SIGKILL)
            cluster.wait("node again", lambda: cluster.pids()[node.name] != pid)  # noqa: B023
            cluster.wait("its answer", lambda: _is_answered(cluster, "http", key, node.host), 60)  # noqa: B023
            cluster.wait("answers", lambda: all(answered[kind] > before[kind] + 50 for kind in ("http", "udp")))  # noqa: B023
    finally:
        stopping.set()
        for client in clients:
            client.join(60)
    assert failures == []


def _outcome(cluster: LocalCluster, kind: str, key: str, host: str = "") -> str:
    """ "good", or why not."""
    try:
        if kind == "udp":
            said = cluster.ask(f"BTC key={key}", host)
            return "good" if said.get("asset") == "BTC" and "price" in said else str(said)
        heard = cluster.get("/price?asset=BTC", key, host)
        return "good" if heard.status == 200 else f"{heard.status} {heard.body!r}"
    except (OSError, http.client.HTTPException) as error:
        return repr(error)


def _is_answered(cluster: LocalCluster, kind: str, key: str, host: str = "") -> bool:
    return _outcome(cluster, kind, key, host) == "good"


def test_a_roll_of_all_nodes_is_not_noticed_by_clients(cluster: LocalCluster, key: str) -> None:
    """`trinity cluster roll`: each node is another process afterwards, and every first or second try was answered."""
    stopping = threading.Event()
    failures: list[tuple[str, ...]] = []

    def keep_asking(kind: str) -> None:
        while not stopping.wait(_PAUSE_SECONDS):
            tries = [_outcome(cluster, kind, key)]
            if tries[0] != "good":
                tries.append(_outcome(cluster, kind, key))
            if tries[-1] != "good":
                failures.append((kind, *tries))

    before = cluster.pids()
    cluster.wait("all asked", lambda: all(read_standings(cluster.layout.lists).values()))
    clients = [threading.Thread(target=keep_asking, args=(kind,)) for kind in ("http", "udp")]
    for client in clients:
        client.start()
    try:
        command = [sys.executable, "-m", "trinity", "cluster", "roll", "--network", cluster.network, "--json"]
        environment = os.environ | {"TRINITY_DATA_DIR": str(cluster.layout.folder.parent)}
        rolled = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert rolled.returncode == 0, rolled.stderr
    finally:
        stopping.set()
        for client in clients:
            client.join(60)
    assert failures == []
    assert [node["node"] for node in json.loads(rolled.stdout)["nodes"]] == [n.name for n in cluster.layout.answering]
    after = cluster.pids()
    assert all(after[node.name] != before[node.name] for node in cluster.layout.answering)


def test_one_https_port_answers_lookups_and_reports(cluster: LocalCluster, key: str) -> None:
    """Whoever believes the cluster's authority."""
    believing = ssl.create_default_context(cafile=str(cluster.layout.authority))
    for path in ("/price?asset=BTC", "/history?asset=BTC"):
        connection = http.client.HTTPSConnection(cluster.layout.proxy, TLS_PORT, timeout=10, context=believing)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            assert connection.getresponse().status == 200


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_prometheus_asks_every_node(cluster: LocalCluster) -> None:
    """Its own account of its targets."""

    def healthy() -> set[str]:
        said = cluster.get("/api/v1/targets", "", cluster.layout.prometheus, PROMETHEUS_PORT).json
        return {target["labels"]["instance"] for target in said["data"]["activeTargets"] if target["health"] == "up"}

    wanted = {f"{node.host}:8081" for node in cluster.layout.nodes}
    cluster.wait("all targets", lambda: wanted <= healthy(), 60)


def test_a_part_that_dies_is_started_again(cluster: LocalCluster, key: str) -> None:
    """Stores, simulator, nginx: lookups go on or come back, and the launcher says what happened."""
    for name in ("valkey", "simulator", "postgresql", "nginx"):
        pid = cluster.pids()[name]
        os.kill(pid, signal.SIGKILL)
        cluster.wait(f"{name} again", lambda: cluster.pids()[name] != pid, 60)  # noqa: B023
        assert f"{name}: killed by SIGKILL; it is started again" in cluster.output()
        cluster.wait("an answer", lambda: _is_answered(cluster, "http", key), 60)


def test_a_launcher_that_is_killed_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SIGKILL for it alone, as soon as nodes are starting: the kernel tells all parts."""
    with new_cluster(tmp_path_factory.mktemp("killed")) as started:
        started.start()
        started.wait("nodes", lambda: any("trinity: " in said for said in started.processes().values()), 120)
        assert started.process is not None
        started.process.kill()
        started.process.wait()
        started.process = None
        started.wait("end of all", lambda: not started.processes(), 30)
