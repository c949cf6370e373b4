"""Our node for a benchmark, on free ports: the bare worker (answer path alone) or the whole node with simulators.

Rules: a started node is our child and is stopped by its pid; its name holds our pid and its data directory is new, so
that a benchmark never meets a node in service, nor another benchmark's. `assets` are those of the default catalog, in
its order.
"""

import http.client
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpTarget, price_requests
from benchmarks.generators.udp import BINARY, TEXT, UdpTarget
from benchmarks.servers.processes import START_SECONDS_MAX, Server, data_dir, free_port, start, wait_for_port
from trinity.markets import load_catalog
from trinity.memory.control import PID
from trinity.memory.node import NodeMemory

_POLL_SECONDS = 0.2
_UDP_ASSETS_MAX = 64
# What a node that is starting may answer: nothing, or that there is no price yet. Any other refusal stays.
_NO_ANSWER = 0
_MAY_PASS = (_NO_ANSWER, http.HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True)
class Node:
    """A node that answers; `worker_pids` are the processes whose processor time is an answer's cost."""

    name: str
    server: Server
    tcp_port: int
    udp_port: int
    assets: list[str]
    worker_pids: list[int]
    simulator_port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)  # it was started with

    def http_target(self, assets: list[str] | None = None) -> HttpTarget:
        """`GET /price` of all assets in turn, or of those named."""
        names = assets or self.assets
        return HttpTarget("127.0.0.1", self.tcp_port, names, price_requests(names))

    def udp_target(self, binary: bool = False) -> UdpTarget:
        """All assets in turn as text, or 64 in each binary frame: all of them, and again from the first."""
        names = self.assets
        if binary:
            names = [self.assets[i % len(self.assets)] for i in range(_UDP_ASSETS_MAX)]
        return UdpTarget("127.0.0.1", self.udp_port, names, BINARY if binary else TEXT)

    def answer(self, asset: str = "BTC") -> tuple[bytes, bytes]:
        """(head, body) of one answer as the node sends it now."""
        with socket.create_connection(("127.0.0.1", self.tcp_port), timeout=5) as connection:
            connection.sendall(price_requests([asset])[0])
            received = b""
            while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n", body

    def stop(self) -> None:
        self.server.stop()


def start_bare(folder: Path, cpu: int | None, target_ms: float | None = None) -> Node:
    """One request worker over hand-written answers, pinned to `cpu`; `target_ms` 0 is a worker without a governor."""
    tcp_port, udp_port = free_port(), free_port(socket.SOCK_DGRAM)
    name = f"bench-bare-{os.getpid()}-{tcp_port}"
    command = [sys.executable, "-m", "benchmarks.servers.bare_worker", name, str(tcp_port), str(udp_port)]
    command += [] if target_ms is None else [str(target_ms)]
    server = start(f"bare_worker-{tcp_port}", command, folder, cpu)
    wait_for_port(server, tcp_port)
    assets = [asset.name for asset in load_catalog().assets]
    return Node(name, server, tcp_port, udp_port, assets, [server.pid])


def start_whole(
    folder: Path, workers: int, quotes_per_second: int = 300, extra: Mapping[str, str] | None = None
) -> Node:
    """`trinity demo` on free ports, once every asset of the catalog is answered; PeerError when it does not come up.
    `extra` are more settings."""
    environment = {"REQUEST_WORKERS": str(workers), "SIMULATOR_QUOTES_PER_SECOND": str(quotes_per_second)}
    environment |= extra or {}
    return _start_command(folder, ["demo"], environment, [asset.name for asset in load_catalog().assets])


def start_run(folder: Path, config_file: Path, markets_file: Path, assets: list[str], workers: int) -> Node:
    """`trinity run` with this configuration, which must lead to loopback exchanges, once `assets` are answered."""
    environment = {"REQUEST_WORKERS": str(workers), "MARKETS_FILE": str(markets_file)}
    return _start_command(folder, ["run", "--config", str(config_file)], environment, assets)


def _start_command(folder: Path, command: list[str], extra: Mapping[str, str], assets: list[str]) -> Node:
    tcp_names = ("TCP_PORT_LPO", "TCP_PORT_LRS", "HEALTH_PORT_LPO", "HEALTH_PORT_LRS", "SIMULATOR_PORT")
    ports = {name: free_port() for name in tcp_names}
    ports |= {name: free_port(socket.SOCK_DGRAM) for name in ("UDP_PORT_LPO", "UDP_PORT_LRS")}
    node = f"bench-{os.getpid()}"
    environment = {name: str(port) for name, port in ports.items()}
    environment |= {"CLUSTER_NODE": node, "BIND_HOST": "127.0.0.1", "TRINITY_DATA_DIR": str(_own_data(folder)), **extra}
    environment |= {"AUTH": "optional", "PUSH": "false"}  # the generators have no key, and nobody is pushed to
    server = start("node", [sys.executable, "-m", "trinity", *command], folder, environment=environment)
    wait_for_port(server, ports["TCP_PORT_LPO"])
    _wait_until_fresh(server, ports["TCP_PORT_LPO"], assets)
    worker_pids = [pid for name, pid in pids_by_name(node).items() if name.startswith("worker")]
    return Node(
        node,
        server,
        ports["TCP_PORT_LPO"],
        ports["UDP_PORT_LPO"],
        assets,
        worker_pids,
        ports["SIMULATOR_PORT"],
        environment,
    )


def _own_data(folder: Path) -> Path:
    """A data directory for one node in `folder`, which shares nothing with others but machine code."""
    own = Path(tempfile.mkdtemp(prefix="node-", dir=folder))
    (own / "compiled").symlink_to(data_dir() / "compiled")
    return own


def pids_by_name(node: str) -> dict[str, int]:
    """The processes of a running node, out of its shared memory."""
    memory = NodeMemory.attach(node)
    return {entry.name: memory.control.block(i).read(PID) for i, entry in enumerate(memory.card.processes)}


def _wait_until_fresh(server: Server, port: int, assets: list[str]) -> None:
    """Until every asset has a good price: before that an answer is rightly 503, and would count as refused."""
    statuses = dict.fromkeys(assets, _NO_ANSWER)
    for _ in range(int(START_SECONDS_MAX / _POLL_SECONDS)):
        statuses = {asset: status for asset in statuses if (status := _status(port, asset)) != http.HTTPStatus.OK}
        if not statuses:
            return
        hopeless = [status for status in statuses.values() if status not in _MAY_PASS]
        if hopeless or server.ended_within(_POLL_SECONDS):
            break
    server.stop()
    last = ", ".join(f"{asset} ({status})" for asset, status in list(statuses.items())[:5])
    raise PeerError(server.name, f"no fresh price, the last answers were {last}: see {server.log_file}")


def _status(port: int, asset: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"/price?asset={asset}")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return _NO_ANSWER
    finally:
        connection.close()
