"""A real Valkey for the tests, on loopback, with nothing on disk but what a test saves: alone, behind TLS with a user
of its own, or as a cluster of three; each can be paused, killed, emptied and filled.

valkey-server comes first, redis-server is the named second choice: its protocol is the same for all that is used here.
"""

import hashlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import valkey

from trinity.cache.address import CacheSettings, cache_settings
from trinity.cache.slots import CacheServer
from trinity.node.cluster.files import TEMPLATES

_START_SECONDS = 60
_SLOTS = 16_384
# The user of deploy/users.acl, with a password of the tests'.
USER, PASSWORD = "trinity", "a-word-of-the-tests"


def program() -> str:
    """The server's program; the test is skipped without one."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("neither valkey-server nor redis-server is installed: `make test-tools` installs one")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
    return port


class ValkeyServer:
    """One server."""

    def __init__(self, folder: Path, *arguments: str, certificates: Path | None = None) -> None:
        self.folder, self.port = folder, free_port()
        self.certificates = certificates  # of a server that speaks TLS alone
        self._arguments = arguments
        folder.mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        listening = ["--port", str(self.port)]
        if self.certificates is not None:
            own = {"cert-file": "server.pem", "key-file": "server.key", "ca-cert-file": "ca.pem"}
            listening = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            listening += [
                word for name, file in own.items() for word in (f"--tls-{name}", str(self.certificates / file))
            ]
        common = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), "--loglevel", "warning"]
        self.process = subprocess.Popen([program(), *listening, *common, *self._arguments], stdout=subprocess.DEVNULL)
        wait_until(self._answers, "the cache does not answer")

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the cache ended"
        try:
            with self.admin() as client:
                return bool(client.ping())
        except valkey.exceptions.ConnectionError:
            return False

    def admin(self) -> "valkey.Valkey":
        """A client that may do everything."""
        tls = {} if self.certificates is None else {"ssl": True, "ssl_ca_certs": str(self.certificates / "ca.pem")}
        return valkey.Valkey("127.0.0.1", self.port, socket_timeout=30, **tls)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        if self.certificates is not None:
            return f"valkeys://{USER}:{PASSWORD}@localhost:{self.port}"
        return f"valkey://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        return "" if self.certificates is None else str(self.certificates / "ca.pem")

    @property
    def settings(self) -> CacheSettings:
        return cache_settings(self.url, self.ca_file)

    def pause(self) -> None:
        """As a machine that stands still: connections stay, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once, paused or not."""
        self.process.kill()
        self.process.wait(30)

    def restart(self, *, empty: bool = True) -> None:
        """Kill it and start it again on its port."""
        saved = self.folder / "dump.rdb"
        saved.unlink(missing_ok=True)
        if not empty:
            with self.admin() as client:
                client.save()
        self.kill()
        self.start()

    def flush(self) -> None:
        with self.admin() as client:
            client.flushall()

    def fill(self) -> None:
        """From now on it takes nothing that needs memory, until `unfill`."""
        with self.admin() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    def unfill(self) -> None:
        with self.admin() as client:
            client.config_set("maxmemory", 0)


class ValkeyCluster:
    """Three primaries that have the slots, and a replica of the first, which takes over when that is gone."""

    def __init__(self, folder: Path) -> None:
        self.servers = []
        for number in range(4):
            arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                str(free_port()),
            ]
            arguments += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
            self.servers.append(ValkeyServer(folder / str(number), *arguments))
        ids = []
        for i, server in enumerate(self.servers):
            with server.admin() as client:
                ids.append(client.execute_command("CLUSTER MYID").decode())
                if i < 3:
                    first, last = i * _SLOTS // 3, (i + 1) * _SLOTS // 3 - 1
                    client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for i, server in enumerate(self.servers):
            with server.admin() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", i + 1)
                for other in self.servers[:i]:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, other._arguments[5])
        wait_until(lambda: all(self._knows(server, 4) for server in self.servers), "the servers do not meet")
        with self.servers[3].admin() as client:
            client.execute_command("CLUSTER REPLICATE", ids[0])
        wait_until(lambda: all(self.is_whole(server) for server in self.servers), "the cluster is not whole")
        wait_until(lambda: b"master_link_status:up" in self._said(self.servers[3], "INFO", "replication"), "no replica")

    @staticmethod
    def _said(server: ValkeyServer, *command: str) -> bytes:
        with server.admin() as client:
            connection = client.connection_pool.get_connection("")
            connection.send_command(*command)
            answer = connection.read_response()
            assert isinstance(answer, bytes)
            return answer

    def _knows(self, server: ValkeyServer, count: int) -> bool:
        return (
            self._said(server, "CLUSTER", "NODES").count(b"connected")
            - self._said(server, "CLUSTER", "NODES").count(b"disconnected")
            >= count
        )

    def is_whole(self, server: ValkeyServer) -> bool:
        return b"cluster_state:ok" in self._said(server, "CLUSTER", "INFO")

    @property
    def settings(self) -> CacheSettings:
        """By its last primary, which stays when the first is killed."""
        return cache_settings(self.servers[2].url, is_cluster=True)

    def server_at(self, server: CacheServer) -> ValkeyServer:
        return next(one for one in self.servers if one.port == server.port)

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that nobody disturbs, one a test module."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    yield server.url
    server.kill()


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own."""
    server = ValkeyServer(tmp_path / "valkey")
    yield server
    server.kill()


@pytest.fixture
def valkey_tls(tmp_path: Path) -> Iterator[ValkeyServer]:
    """The same, which speaks TLS alone, as `localhost`, with the users that are deployed; `default` is the test."""
    authority, folder = trustme.CA(), tmp_path / "certificates"
    folder.mkdir()
    own = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.private_key_pem.write_to_path(folder / "server.key")
    own.cert_chain_pems[0].write_to_path(folder / "server.pem")
    deployed = (TEMPLATES / "users.acl").read_text().splitlines()
    users = [line for line in deployed if not line.startswith("user default ")]
    assert len(users) == len(deployed) - 1
    text = "\n".join(["user default on nopass ~* &* +@all", *users])
    (tmp_path / "users.acl").write_text(
        text.replace("@CACHE_PASSWORD_SHA256@", hashlib.sha256(PASSWORD.encode()).hexdigest()) + "\n"
    )
    server = ValkeyServer(tmp_path / "valkey", "--aclfile", str(tmp_path / "users.acl"), certificates=folder)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A Valkey Cluster of three, one a test module."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("valkeys"))
    yield cluster
    cluster.kill()
