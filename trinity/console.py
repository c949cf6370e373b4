"""What the terminal shows while a node runs: where it listens, when it is ready, what to try.

Rules: plain lines on standard output, flushed at once; simulated prices are called simulated before anything else.
Logs do not come here.
"""

from typing import NamedTuple

from trinity.clock import NS_PER_SECOND
from trinity.config import Config, worker_count
from trinity.limits import READY_HINT_NS
from trinity.markets import Catalog
from trinity.memory.node import NodeMemory
from trinity.overview import read_assets, read_processes


class Listener(NamedTuple):
    """A port that the node opens; `name` is the variable that sets it."""

    name: str
    port: int
    udp: bool = False


class Console:
    """The lines of one node's life."""

    def __init__(self, config: Config, catalog: Catalog, with_simulator: bool) -> None:
        self._config = config
        self._catalog = catalog
        self._with_simulator = with_simulator
        self._started_ns: int | None = None
        self._is_ready = False
        self._has_hinted = False

    @property
    def listeners(self) -> list[Listener]:
        """All ports that the node opens."""
        ports = self._config.ports
        opened = [
            Listener("TCP_PORT_LPO", ports.tcp_port_lpo),
            Listener("UDP_PORT_LPO", ports.udp_port_lpo, udp=True),
            Listener("HEALTH_PORT_LPO", ports.health_port_lpo),
            Listener("HEALTH_PORT_LRS", ports.health_port_lrs),
        ]
        return opened + [Listener("SIMULATOR_PORT", self._config.simulator.port)] * self._with_simulator

    def show_start(self) -> None:
        """Who starts, and what will listen where."""
        node, ports = self._config.node, self._config.ports
        exchanges, assets = len(self._catalog.exchanges), len(self._catalog.assets)
        if self._config.feeds.simulated:
            _say("SIMULATED PRICES: the exchanges of this node are simulated; none of its prices is real.")
        _say(f"trinity: starting node {node.name}: {exchanges} exchanges, {assets} assets")
        rows = [
            ("HTTP lookups", f"{node.bind_host}:{ports.tcp_port_lpo}", "TCP_PORT_LPO"),
            ("UDP lookups", f"{node.bind_host}:{ports.udp_port_lpo}", "UDP_PORT_LPO"),
            ("health, metrics", f"{node.bind_host}:{ports.health_port_lpo}", "HEALTH_PORT_LPO"),
            ("health, metrics", f"{node.bind_host}:{ports.health_port_lrs}", "HEALTH_PORT_LRS"),
        ]
        if self._with_simulator:
            rows.append(("simulator", f"{node.bind_host}:{self._config.simulator.port}", "SIMULATOR_PORT"))
        rows += [
            ("request workers", str(worker_count(self._config.request)), "REQUEST_WORKERS"),
            ("data and logs", str(node.data_dir), "TRINITY_DATA_DIR"),
        ]
        for what, value, variable in rows:
            _say(f"  {what:<16} {value:<24} {variable}")

    def on_turn(self, memory: NodeMemory, now_ns: int) -> None:
        """Called at every turn of the supervisor: says once that the node is ready, or once that it is not."""
        if self._is_ready:
            return
        self._started_ns = self._started_ns or now_ns
        waited_ns = now_ns - self._started_ns
        fresh = sum(asset.fresh for asset in read_assets(memory, now_ns))
        serving = any(view.alive for view in read_processes(memory, now_ns) if view.kind == "worker")
        if fresh and serving:
            self._is_ready = True
            self._show_ready(fresh, waited_ns)
        elif waited_ns > READY_HINT_NS and not self._has_hinted:
            self._has_hinted = True
            host, port = self.host, self._config.ports.health_port_lpo
            _say("trinity: still no fresh price; `trinity doctor` says what to do,")
            _say(f"  and `curl http://{host}:{port}/ready` what is missing")

    @property
    def host(self) -> str:
        """Where a user of this machine finds the listeners."""
        bind_host = self._config.node.bind_host
        return "127.0.0.1" if bind_host in ("0.0.0.0", "") else bind_host

    def _show_ready(self, fresh: int, waited_ns: int) -> None:
        ports, host = self._config.ports, self.host
        marked = " SIMULATED" if self._config.feeds.simulated else ""
        seconds = waited_ns / NS_PER_SECOND
        _say(f"trinity: ready after {seconds:.1f} s: {fresh} assets have a fresh{marked} price. Try:")
        _say(f"  curl 'http://{host}:{ports.tcp_port_lpo}/price?asset=BTC'")
        _say(f"  curl 'http://{host}:{ports.tcp_port_lpo}/price?asset=BTC&exchange=kraken'")
        _say(f"  printf BTC | nc -u -w1 {host} {ports.udp_port_lpo}")


def _say(line: str) -> None:
    print(line, flush=True)
