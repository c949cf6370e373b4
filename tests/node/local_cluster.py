"""A whole cluster as a user starts it: `trinity cluster run` as a subprocess, on a loopback network of its own."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.machine_code import share_machine_code
from tests.support.patience import PATIENCE
from trinity.access import keys
from trinity.node.cluster.layout import ClusterLayout, parse_network
from trinity.store.embedded import embedded_url

# A first start makes the database and starts four nodes on two cores.
START_SECONDS, STOP_SECONDS = 120.0, 30.0


class Heard(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LocalCluster:
    """The running cluster, and how to talk to it."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        # Not those of anybody's cluster of this machine; two test processes have different ones, most likely.
        self.network = f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}.0"
        _, x, y, _ = self.network.split(".")
        self.layout = ClusterLayout((data_dir / f"cluster-{x}-{y}").resolve(), parse_network(self.network))
        self.output_file = data_dir / "output"
        self._environment = os.environ | {"TRINITY_DATA_DIR": str(data_dir)} | environment
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.output_file.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trinity", "cluster", "run", "--network", self.network],
                env=self._environment,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.output_file.read_text()

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Poll until `ready()` is true, and return it; fail with the launcher's output long after `seconds`."""
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            if value := ready():
                return value
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"the cluster ended ({self.process.returncode}) while waiting for {what}:\n{self.output()}")
            time.sleep(0.05)
        return pytest.fail(f"no {what} within {seconds * PATIENCE} s:\n{self.output()[-4000:]}")

    def wait_ready(self) -> None:
        self.wait("ready cluster", lambda: "Ctrl-C ends all of it." in self.output(), START_SECONDS)

    def pids(self) -> dict[str, int]:
        """The parts' numbers now."""
        return dict(json.loads((self.layout.folder / "parts.json").read_text()))

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """One signal to the launcher, as Ctrl-C sends it to all that have its group: its exit code."""
        assert self.process is not None
        os.killpg(self.process.pid, number)
        return self.process.wait(STOP_SECONDS * PATIENCE)

    def make_key(self, plan: str = "unlimited", **limits: int) -> str:
        with psycopg.connect(embedded_url(self.layout.folder)) as connection:
            wanted = keys.NewKey("tests", plan, limits=keys.OwnLimits(**limits))
            return keys.create(connection, wanted, 1000)[1]

    def get(self, path: str, key: str, host: str = "", port: int = 8080, source: str = "") -> Heard:
        """GET through nginx, or of the node at `host`; raises OSError and HTTPException."""
        bound = (source, 0) if source else None
        connection = http.client.HTTPConnection(host or self.layout.proxy, port, timeout=10, source_address=bound)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            return Heard(answer.status, answer.headers, answer.read())

    def ask(self, text: str, host: str = "", port: int = 2679, source: str = "127.0.0.1") -> dict[str, Any]:
        """A datagram from a socket of its own; {} when nothing came, or an empty one: of nginx, whose node is gone."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(5)
            asker.bind((source, 0))
            asker.sendto(text.encode(), (host or self.layout.proxy, port))
            try:
                received = asker.recv(65536)
            except OSError:
                return {}
            return dict(json.loads(received)) if received else {}

    def wait_known(self, key: str) -> None:
        """Until every node knows the key."""
        hosts = [node.host for node in self.layout.answering]
        self.wait("known key", lambda: all(self.get("/price?asset=BTC", key, host).status == 200 for host in hosts))

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(embedded_url(self.layout.folder)) as connection:
            return connection.execute(statement, parameters).fetchall()  # type: ignore[arg-type]

    def processes(self) -> dict[int, str]:
        """Every process of the cluster that lives: by an address of its network, its folder, or a node's name."""
        stem = self.network.removesuffix(".0")
        marks = (str(self.layout.folder), f"{stem}.", *(f"[{node.name}]" for node in self.layout.nodes))
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(mark in said for mark in marks) and f"--network {self.network}" not in said:
                    found[pid] = said
        return found


@contextlib.contextmanager
def new_cluster(data_dir: Path, **environment: str) -> Iterator[LocalCluster]:
    """A cluster that is not started yet; what is left of it at the end is killed."""
    data_dir.mkdir(exist_ok=True)
    share_machine_code(data_dir)
    cluster = LocalCluster(data_dir, **environment)
    try:
        yield cluster
    finally:
        if cluster.process is not None and cluster.process.poll() is None:
            cluster.process.kill()
            cluster.process.wait(15)
        for node in cluster.layout.nodes:
            for leftover in Path("/dev/shm").glob(f"trinity-{node.name}-*"):
                leftover.unlink(missing_ok=True)
