"""A whole node as a user starts it: `trinity demo` as a subprocess, on free ports, with its own name and data."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.machine_code import share_machine_code
from tests.support.patience import PATIENCE

PORT_NAMES = {
    "TCP_PORT_LPO": socket.SOCK_STREAM,
    "HEALTH_PORT_LPO": socket.SOCK_STREAM,
    "TCP_PORT_LRS": socket.SOCK_STREAM,
    "HEALTH_PORT_LRS": socket.SOCK_STREAM,
    "SIMULATOR_PORT": socket.SOCK_STREAM,
    "PUSH_RECEIVER_PORT": socket.SOCK_STREAM,
    "UDP_PORT_LPO": socket.SOCK_DGRAM,
    "UDP_PORT_LRS": socket.SOCK_DGRAM,
}
# Below the kernel's range for outgoing connections (ip_local_port_range, 32768 on): the port of a node that is not
# started yet could be given to anybody's client.
PORTS = range(12_000, 32_000)

# Deadlines, not sleeps: each wait polls and ends as soon as what it waits for is there.
START_SECONDS = 90.0
POLL_SECONDS = 0.02

Answer = tuple[int, dict[str, Any]]


@dataclass
class Node:
    """A running node and how to talk to it."""

    environment: dict[str, str]
    data_dir: Path
    process: "subprocess.Popen[str] | None" = None
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, *arguments: str) -> None:
        """Start `trinity <arguments>`, `trinity demo` by default; its output goes to files in the data directory."""
        out = (self.data_dir / "stdout").open("a")
        err = (self.data_dir / "stderr").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trinity", *(arguments or ("demo",))],
            env=self.environment,
            stdout=out,
            stderr=err,
            text=True,
        )
        out.close()
        err.close()

    def output(self) -> str:
        return (self.data_dir / "stdout").read_text() + (self.data_dir / "stderr").read_text()

    def get(self, path: str, port_name: str = "TCP_PORT_LPO") -> Answer:
        """GET on loopback -> (status, JSON); (0, {}) when nothing answers."""
        url = f"http://127.0.0.1:{self.ports[port_name]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}

    def text(self, path: str, port_name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[port_name]}{path}", timeout=5) as response:
            return str(response.read().decode())

    def price(self, asset: str = "BTC", exchange: str = "") -> Answer:
        return self.get(f"/price?asset={asset}" + (f"&exchange={exchange}" if exchange else ""))

    def ask(self, datagram: bytes) -> dict[str, Any]:
        """One UDP question and its answer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(5)
            asker.sendto(datagram, ("127.0.0.1", self.ports["UDP_PORT_LPO"]))
            answer: dict[str, Any] = json.loads(asker.recv(65536))
            return answer

    def fault(self, **fields: Any) -> None:
        """Set a fault in the simulated exchanges."""
        url = f"http://127.0.0.1:{self.ports['SIMULATOR_PORT']}/faults"
        request = urllib.request.Request(url, json.dumps(fields).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as response:
            assert response.status in (200, 201)

    def clear_faults(self) -> None:
        url = f"http://127.0.0.1:{self.ports['SIMULATOR_PORT']}/faults"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=5):
            pass

    def health(self) -> dict[str, Any]:
        return self.get("/health", "HEALTH_PORT_LPO")[1]

    def processes(self) -> dict[str, dict[str, Any]]:
        """Those that are meant to run, by name: not the spare worker and reporter, who rest."""
        return {name: found for name, found in self.health()["processes"].items() if not found["resting"]}

    def pid(self, name: str) -> int:
        """The present number of one of the node's processes, 0 while it is not there."""
        process = self.health().get("processes", {}).get(name, {})
        return int(process.get("pid", 0)) if process.get("alive") else 0

    def metrics(self, name: str, **labels: str) -> list[float]:
        """The values of a metric's series that have these labels."""
        try:
            families = list(text_string_to_metric_families(self.text("/metrics", "HEALTH_PORT_LPO")))
        except OSError:
            return []
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return [sample.value for sample in samples if labels.items() <= sample.labels.items()]

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Poll until `ready()` is true and return its value; fail with the node's output long after `seconds`."""
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            value = ready()
            if value:
                return value
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"node ended ({self.process.returncode}) while waiting for {what}:\n{self.output()}")
            time.sleep(POLL_SECONDS)
        return pytest.fail(f"no {what} within {seconds * PATIENCE} s; BTC {self.price()};\n{self.output()[-4000:]}")

    def wait_ready(self) -> None:
        self.wait("readiness", lambda: self.get("/ready", "HEALTH_PORT_LPO")[0] == 200, START_SECONDS)

    def wait_reports_ready(self) -> None:
        """The reporters start behind the workers: a node that answers lookups may answer no reports yet."""
        self.wait("readiness for reports", lambda: self.get("/ready", "HEALTH_PORT_LRS")[0] == 200, START_SECONDS)

    def wait_database(self) -> None:
        """Until every reporter says that it has its tables, and a report that reads them is not put off."""

        def is_there() -> bool:
            ups = self.metrics("trinity_report_database_up")
            return bool(ups) and min(ups) == 1.0 and self.get("/history?asset=BTC", "TCP_PORT_LRS")[0] not in (0, 503)

        self.wait("reports out of the database", is_there, START_SECONDS)

    def wait_all_sources(self, asset: str = "BTC", sources: int = 6) -> None:
        """Until the price of `asset` stands on all its exchanges again."""
        self.wait(f"{sources} sources of {asset}", lambda: self.price(asset)[1].get("sources") == sources, 60)

    def kill_all(self) -> None:
        """SIGKILL for every process of the node, PostgreSQL's included, as nearly at once as a loop can.

        No signal reaches them all: each of the node's processes has a process group of its own. So the numbers are
        collected first, and the loop does nothing else.
        """
        assert self.process is not None
        root = psutil.Process(self.process.pid)
        family = [root, *root.children(recursive=True)]
        for pid in [process.pid for process in family]:
            with contextlib.suppress(ProcessLookupError):  # its parent's death has killed it already
                os.kill(pid, signal.SIGKILL)
        self.process.wait(15)
        psutil.wait_procs(family, timeout=15)

    def stop(self) -> int:
        """SIGTERM, then the exit code; SIGKILL for the group when it does not end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(15)
            raise


def free_port(kind: int) -> int:
    """A port that nobody has at this moment; two test processes ask for different ones, most likely."""
    while True:
        port = random.choice(PORTS)
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port


@contextlib.contextmanager
def new_node(data_dir: Path, **environment: str) -> Iterator[Node]:
    """A node that is not started yet; whatever is left of it at the end is killed and removed."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    data_dir.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        share_machine_code(data_dir)
    ports: dict[str, int] = {}
    for port_name, kind in PORT_NAMES.items():
        ports[port_name] = next(port for port in iter(lambda: free_port(kind), None) if port not in ports.values())  # noqa: B023
    settings = {"CLUSTER_NODE": name, "TRINITY_DATA_DIR": str(data_dir), "REQUEST_WORKERS": "2"}
    settings["PUSH"] = "false"  # but where it is what a test is about: the demo has two processes more with it
    node = Node(os.environ | settings | {k: str(v) for k, v in ports.items()} | environment, data_dir, ports=ports)
    try:
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait(15)
        for leftover in Path("/dev/shm").glob(f"trinity-{name}-*"):
            leftover.unlink(missing_ok=True)
