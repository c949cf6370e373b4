"""A whole cluster for a benchmark: `trinity cluster run` on a loopback network of its own.

Rules: a started cluster is our child and is stopped by its pid; its folder is new. Parts are killed by the pids that
the launcher wrote down, and are started again by it.
"""

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import valkey

from benchmarks.errors import PeerError
from benchmarks.servers.processes import Server, data_dir, start
from trinity.access import keys
from trinity.node.cluster.layout import ClusterLayout, parse_network
from trinity.store.embedded import embedded_url

READY = "Ctrl-C ends all of it."
START_SECONDS_MAX = 400
STOP_SECONDS = 40
ASKING_SECONDS = 2.0
_POLL_SECONDS = 0.2


class MeasuredCluster:
    """The running cluster."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        chosen = hashlib.sha256(f"{os.getpid()} {folder}".encode()).digest()
        x, y = chosen[0] % 200 + 20, chosen[1] % 250 + 1
        own = folder / f"cluster-{os.getpid()}"
        own.mkdir()
        (own / "compiled").symlink_to(data_dir() / "compiled")
        self.layout = ClusterLayout((own / f"cluster-{x}-{y}").resolve(), parse_network(f"127.{x}.{y}.0"))
        command = [sys.executable, "-m", "trinity", "cluster", "run", "--network", f"127.{x}.{y}.0"]
        given = {"TRINITY_DATA_DIR": str(own), "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._server: Server = start("cluster", command, folder, environment=given)

    def wait_ready(self) -> None:
        """PeerError with the end of its log when it does not come up."""
        for _ in range(int(START_SECONDS_MAX / _POLL_SECONDS)):
            if READY in self._server.log_file.read_text(errors="replace"):
                return
            if self._server.ended_within(_POLL_SECONDS):
                break
        raise PeerError("cluster", self._server.log_file.read_text(errors="replace")[-600:])

    def stop(self) -> None:
        """As Ctrl-C does; then whatever is left."""
        if not self._server.ended_within(0):
            os.kill(self._server.pid, signal.SIGINT)
            self._server.ended_within(STOP_SECONDS)
        self._server.stop()

    def has_ended(self) -> bool:
        return self._server.ended_within(0)

    def said(self, words: str) -> int:
        """How often the launcher's lines say this."""
        return self._server.log_file.read_text(errors="replace").count(words)

    def pid(self, part: str) -> int:
        pids: dict[str, int] = json.loads((self.layout.folder / "parts.json").read_text())
        return pids[part]

    def kill(self, part: str) -> None:
        """SIGKILL for the program alone: what it started ends by the kernel's word."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid(part), signal.SIGKILL)

    def make_key(self, plan: str = "unlimited", **limits: int) -> tuple[int, str]:
        """(its number, the key)."""
        with psycopg.connect(embedded_url(self.layout.folder)) as connection:
            wanted = keys.NewKey("benchmarks", plan, limits=keys.OwnLimits(**limits))
            key, secret = keys.create(connection, wanted, 1000)
        return key.id, secret

    def wait_known(self, key: str) -> None:
        """Until every node answers this key."""
        for _ in range(int(START_SECONDS_MAX / _POLL_SECONDS)):
            if all(
                self.status(node.host, "/price?asset=BTC", key) == http.HTTPStatus.OK for node in self.layout.answering
            ):
                return
            threading.Event().wait(_POLL_SECONDS)
        raise PeerError("cluster", "a key was never known to all nodes")

    def status(self, host: str, path: str, key: str = "") -> int:
        return self.get(host, 8080, path, key)[0]

    def get(self, host: str, port: int, path: str, key: str = "") -> tuple[int, Any]:
        """(status, JSON) of one GET; (0, None) when there is no answer."""
        connection = http.client.HTTPConnection(host, port, timeout=ASKING_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(embedded_url(self.layout.folder)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def save_cache(self) -> None:
        """Let Valkey write what it has to the disk, so that its next start finds it.

        Its only user may not do that: one who may is written into its list, which it reads at a start.
        """
        password = (self.layout.secrets / "keeper").read_text()
        tls = {"ssl": True, "ssl_ca_certs": str(self.layout.authority), "ssl_check_hostname": True}
        with valkey.Valkey(self.layout.cache, 6379, username="keeper", password=password, **tls) as client:  # type: ignore[arg-type]
            client.save()

    def add_cache_keeper(self) -> None:
        """From the next start of Valkey on somebody may save it."""
        password = secrets.token_urlsafe(24)
        (self.layout.secrets / "keeper").write_text(password)
        with (self.layout.data_dir("valkey") / "users.acl").open("a") as users:
            users.write(f"user keeper on #{hashlib.sha256(password.encode()).hexdigest()} +save\n")
