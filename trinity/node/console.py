"""What the terminal shows while a node runs: where it listens, when it is ready, what to try.

Rules: plain lines, flushed at once; simulated prices are called simulated before anything else.
Logs do not come here.
"""

import sys
from typing import TextIO

from trinity.clock import NS_PER_SECOND
from trinity.config import Config, worker_count
from trinity.limits import READY_HINT_NS
from trinity.markets import Catalog
from trinity.memory.node import NodeMemory
from trinity.net.ports import host_in_url, listeners_of, local_host
from trinity.observe.readings import read_assets, read_processes
from trinity.store.database import database_url, is_embedded, shown_url
from trinity.terminal import say


class NodeConsole:
    """The lines of one node's life."""

    def __init__(self, config: Config, catalog: Catalog, with_simulator: bool, stream: TextIO | None = None) -> None:
        self._config = config
        self._catalog = catalog
        self._with_simulator = with_simulator
        self._stream = stream or sys.stdout
        self._started_ns: int | None = None
        self._is_ready = False
        self._has_hinted = False

    def show_start(self) -> None:
        """Who starts, and what will listen where."""
        node = self._config.node
        exchanges, assets = len(self._catalog.exchanges), len(self._catalog.assets)
        if self._config.feeds.simulated:
            self._say("SIMULATED PRICES: the exchanges of this node are simulated; none of its prices is real.")
        self._say(f"trinity: starting node {node.name}: {exchanges} exchanges, {assets} assets")
        rows = [
            (listener.purpose, f"{host_in_url(node.bind_host)}:{listener.port}", listener.name)
            for listener in listeners_of(self._config, self._with_simulator)
        ]
        rows += [
            ("request workers", str(worker_count(self._config.request)), "REQUEST_WORKERS"),
            ("data and logs", str(node.data_dir), "TRINITY_DATA_DIR"),
            ("database", self._database(), "DATABASE_URL"),
        ]
        for what, value, variable in rows:
            self._say(f"  {what:<22} {value:<21} {variable}")

    def show_compiling(self, why: str) -> None:
        """Said before the only wait of a start that is long, and happens once."""
        self._say(f"trinity: compiling the request loop, {why}: half a minute on two cores")

    def on_turn(self, memory: NodeMemory, now_ns: int) -> bool:
        """Called at every turn of the supervisor: says once that the node is ready, or once that it is not.

        True once the node was ready.
        """
        if self._is_ready:
            return True
        self._started_ns = self._started_ns or now_ns
        waited_ns = now_ns - self._started_ns
        fresh = sum(asset.fresh for asset in read_assets(memory, now_ns))
        serving = any(view.alive for view in read_processes(memory, now_ns) if view.kind == "worker")
        if fresh and serving:
            self._is_ready = True
            self._show_ready(fresh, waited_ns)
        elif waited_ns > READY_HINT_NS and not self._has_hinted:
            self._has_hinted = True
            host, port = host_in_url(local_host(self._config.node.bind_host)), self._config.ports.health_port_lpo
            self._say("trinity: still no fresh price; `trinity doctor` says what to do,")
            self._say(f"  and `curl http://{host}:{port}/ready` what is missing")
        return self._is_ready

    def _show_ready(self, fresh: int, waited_ns: int) -> None:
        ports, host = self._config.ports, host_in_url(local_host(self._config.node.bind_host))
        marked = " SIMULATED" if self._config.feeds.simulated else ""
        seconds = waited_ns / NS_PER_SECOND
        self._say(f"trinity: ready after {seconds:.1f} s: {fresh} assets have a fresh{marked} price. Try:")
        self._say(f"  curl 'http://{host}:{ports.tcp_port_lpo}/price?asset=BTC'")
        self._say(f"  curl 'http://{host}:{ports.tcp_port_lpo}/price?asset=BTC&exchange=kraken'")
        self._say(f"  printf BTC | nc -u -w1 {local_host(self._config.node.bind_host)} {ports.udp_port_lpo}")

    def _database(self) -> str:
        if is_embedded(self._config):
            return "embedded"
        return shown_url(database_url(self._config))

    def _say(self, line: str) -> None:
        say(line, self._stream)
