"""What the terminal shows while a node runs: where it listens, how its start gets on, when it is ready, what to try.

`tell` gets the newest of it in one line, for `systemctl status`.

Rules: plain lines, flushed at once; simulated prices are called simulated before anything else. A line about the start
begins with the seconds since it began, and is in the supervisor's log as well. Logs do not come here.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TextIO

from trinity.clock import NS_PER_SECOND
from trinity.config import Config, services_of, worker_count
from trinity.limits import READY_HINT_NS
from trinity.markets import Catalog
from trinity.memory.control import ProcessBlock
from trinity.memory.node import NodeMemory
from trinity.net.ports import health_listeners_of, host_in_url, listeners_of, local_host
from trinity.observe.metrics import ACCESS, FEED, PUSHER, REPORTER
from trinity.observe.readings import read_assets, read_processes
from trinity.services import Service
from trinity.store.database import database_url, is_embedded, shown_url
from trinity.terminal import say

# How often a start that waits says for what.
START_NOTE_NS = 5 * NS_PER_SECOND


class StartStep(NamedTuple):
    """What a start waits for: how many parts of it are there, of how many, and how long that takes usually."""

    what: str
    usual: str
    progress: Callable[[NodeMemory], tuple[int, int]]


def _databases_up(memory: NodeMemory) -> tuple[int, int]:
    """A process that reads its tables has reached it, and they are this version's."""
    up = [block.read_gauge(gauge) == 1.0 for kind, gauge in _DATABASE_UP for block in _blocks_of(memory, kind)]
    return int(any(up)), 1


def _exchanges_connected(memory: NodeMemory) -> tuple[int, int]:
    """By WebSocket, or by REST in its place."""
    feeds = list(_blocks_of(memory, "feed"))
    return sum(any(block.read_gauge(gauge) == 1.0 for gauge in _CONNECTED) for block in feeds), len(feeds)


def _blocks_of(memory: NodeMemory, kind: str) -> Iterator[ProcessBlock]:
    entries = enumerate(memory.card.processes)
    return (memory.control.block(index) for index, entry in entries if entry.kind == kind)


_DATABASE_UP = (
    ("reporter", REPORTER.index("report_database_up")),
    ("pusher", PUSHER.index("push_database_up")),
    ("access", ACCESS.index("access_database_up")),
)
# Whose progress makes a node ready, by the first of its services.
SERVING: Mapping[Service, str] = {"lookups": "worker", "reports": "reporter", "push": "pusher"}
_CONNECTED = (FEED.index("ws_connected"), FEED.index("rest_active"))
STEPS = (
    StartStep("exchanges connected", "2 s", _exchanges_connected),
    StartStep("database up", "3 s, 15 s where it is made now", _databases_up),
)


class NodeConsole:
    """The lines of one node's life."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        with_simulator: bool,
        stream: TextIO | None = None,
        log: logging.Logger | None = None,
        tell: Callable[[str], None] = lambda _status: None,
        *,
        with_receiver: bool = False,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._services, self._health_port = services_of(config), health_listeners_of(config)[0].port
        self._with_simulator, self._with_receiver = with_simulator, with_receiver
        self._stream = stream or sys.stdout
        self._log = log
        self._tell = tell
        self._started_ns: int | None = None
        self._turning_since_ns: int | None = None
        self._noted_ns = 0
        self._steps = list(STEPS)  # those that are not done
        self._is_ready = False
        self._has_hinted = False

    def show_start(self, now_ns: int) -> None:
        """Who starts, and what will listen where; the seconds of the start count from here on."""
        self._started_ns = now_ns
        node = self._config.node
        exchanges, assets = len(self._catalog.exchanges), len(self._catalog.assets)
        if self._config.feeds.simulated:
            self._say("SIMULATED PRICES: the exchanges of this node are simulated; none of its prices is real.")
        self._say(f"trinity: starting node {node.name}: {exchanges} exchanges, {assets} assets")
        rows = [
            (listener.purpose, f"{host_in_url(node.bind_host)}:{listener.port}", listener.name)
            for listener in listeners_of(self._config, self._with_simulator, self._with_receiver)
        ]
        if "lookups" in self._services:
            rows.append(("request workers", str(worker_count(self._config.request)), "REQUEST_WORKERS"))
        rows += [
            ("data and logs", str(node.data_dir), "TRINITY_DATA_DIR"),
            ("database", self._database(), "DATABASE_URL"),
        ]
        for what, value, variable in rows:
            self._say(f"  {what:<22} {value:<21} {variable}")

    def show_compiling(self, why: str, now_ns: int) -> None:
        """Said before the only wait of a start that is long, and happens once."""
        self._step(f"compiling the request loop, {why}: usually half a minute on two cores", now_ns)

    def show_compiled(self, now_ns: int) -> None:
        """The end of that."""
        self._step("compiled", now_ns)

    def on_turn(self, memory: NodeMemory, now_ns: int) -> bool:
        """Called at every turn of the supervisor: says once that the node is ready, or once that it is not.

        True once the node was ready.
        """
        if self._steps:
            self._tell_steps(memory, now_ns)
        if self._is_ready:
            return True
        self._started_ns = self._started_ns or now_ns
        self._turning_since_ns = self._turning_since_ns or now_ns
        waited_ns = now_ns - self._turning_since_ns
        fresh = sum(asset.fresh for asset in read_assets(memory, now_ns))
        kind = SERVING[self._services[0]]
        serving = any(view.alive for view in read_processes(memory, now_ns) if view.kind == kind)
        if fresh and serving:
            self._is_ready = True
            self._show_ready(fresh, now_ns - self._started_ns)
        elif waited_ns > READY_HINT_NS and not self._has_hinted:
            self._has_hinted = True
            host, port = host_in_url(local_host(self._config.node.bind_host)), self._health_port
            self._tell("no fresh price yet; `trinity doctor` says what to do")
            self._say("trinity: still no fresh price; `trinity doctor` says what to do,")
            self._say(f"  and `curl http://{host}:{port}/ready` what is missing")
        return self._is_ready

    def _tell_steps(self, memory: NodeMemory, now_ns: int) -> None:
        """Each once it is done; before the node is ready also, now and then, what is missing."""
        missing = []
        for step in list(self._steps):
            there, wanted = step.progress(memory)
            of = f" ({there} of {wanted})" if wanted > 1 else ""
            if there == wanted:
                self._steps.remove(step)
                self._step(f"{step.what}{of}", now_ns)
            else:
                missing.append(f"{step.what}{of}, usually after {step.usual}")
        self._noted_ns = self._noted_ns or now_ns
        if missing and not self._is_ready and now_ns - self._noted_ns >= START_NOTE_NS:
            self._noted_ns = now_ns
            self._step(f"waiting for: {'; '.join(missing)}", now_ns)

    def _step(self, text: str, now_ns: int) -> None:
        seconds = (now_ns - (self._started_ns or now_ns)) / NS_PER_SECOND
        self._say(f"trinity: {seconds:5.1f} s  {text}")
        if not self._is_ready:
            self._tell(f"starting: {text}")
        if self._log is not None:
            self._log.info("start", extra={"fields": {"seconds": round(seconds, 1), "step": text}})

    def _show_ready(self, fresh: int, waited_ns: int) -> None:
        ports, host = self._config.ports, host_in_url(local_host(self._config.node.bind_host))
        marked = " SIMULATED" if self._config.feeds.simulated else ""
        seconds = waited_ns / NS_PER_SECOND
        self._say(f"trinity: ready after {seconds:.1f} s: {fresh} assets have a fresh{marked} price. Try:")
        self._tell(f"ready after {seconds:.1f} s{marked and ':'}{marked}{marked and ' PRICES'}")
        if self._log is not None:
            self._log.info("ready", extra={"fields": {"seconds": round(seconds, 1), "fresh_assets": fresh}})
        if "lookups" not in self._services:
            self._say(f"  curl http://{host}:{self._health_port}/health")
        answering = {"lookups": ports.tcp_port_lpo, "reports": ports.tcp_port_lrs}
        port = next((answering[service] for service in self._services if service in answering), None)
        if port is not None:
            self._say(f"  curl 'http://{host}:{port}/price?asset=BTC'")
            self._say(f"  curl 'http://{host}:{port}/price?asset=BTC&exchange=kraken'")
        if self._with_receiver:
            self._say(f"  curl -k https://{host}:{self._config.push.receiver_port}/  # what was pushed")
        if "lookups" in self._services:
            self._say(f"  printf BTC | nc -u -w1 {local_host(self._config.node.bind_host)} {ports.udp_port_lpo}")

    def _database(self) -> str:
        if is_embedded(self._config):
            return "embedded"
        return shown_url(database_url(self._config))

    def _say(self, line: str) -> None:
        say(line, self._stream)
