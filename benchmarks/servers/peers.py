"""The servers that ours is measured beside: how each is started, asked and made to send an answer as long as ours.

Rules: every peer is one process on the server's core (nginx and granian have a parent that idles), without access
log, with an answer of our body's bytes. A peer that is not installed is skipped by name. `make peers` installs them.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.errors import PeerError
from benchmarks.generators import checks
from benchmarks.generators.http import HttpTarget, price_requests
from benchmarks.servers.processes import Server, free_port, start, wait_for_port

ASSET = "BTC"
_HERE = Path(__file__).resolve().parent
_GO_BUILD_SECONDS_MAX = 300
# The floor listens first and compiles with its first client: some seconds, a minute on a busy machine.
_FIRST_ANSWER_SECONDS_MAX = 120


@dataclass(frozen=True)
class Place:
    """Where and with which answer a peer is started."""

    folder: Path
    cpu: int
    head: bytes
    body: bytes

    @property
    def body_file(self) -> Path:
        path = self.folder / "body.json"
        path.write_bytes(self.body)
        return path


@dataclass(frozen=True)
class Peer:
    """A server to compare with; `start` returns None when it is not installed."""

    name: str
    what: str
    start: Callable[[Place, int], Server | None]
    framing: int = checks.FRAMING_HTTP


def start_peer(peer: Peer, place: Place) -> tuple[Server, HttpTarget] | None:
    """Start it and wait until it answers; None when it is not installed, PeerError when it does not start."""
    port = free_port()
    server = peer.start(place, port)
    if server is None:
        return None
    wait_for_port(server, port)
    requests = price_requests([ASSET])
    if peer.framing == checks.FRAMING_RESP:
        _resp(port, ["SET", f"price:{ASSET}", place.body.decode()])
        requests = [_resp_request(["GET", f"price:{ASSET}"])]
    else:
        _wait_for_answer(port, requests[0])
    return server, HttpTarget("127.0.0.1", port, [ASSET], requests, peer.framing)


def versions() -> Mapping[str, str]:
    """The first line that each installed peer says about itself."""
    found = {name: _first_line(command) for name, command in _VERSION_COMMANDS.items() if shutil.which(command[0])}
    for name in ("granian", "uvicorn"):
        if find_spec(name) is not None:
            found[name] = _first_line([sys.executable, "-m", name, "--version"])
    return found


_VERSION_COMMANDS = {
    "nginx": ["nginx", "-v"],
    "go": ["go", "version"],
    "valkey": ["valkey-server", "--version"],
    "redis": ["redis-server", "--version"],
}


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout or done.stderr).strip().partition("\n")[0][:120]


def _start_floor(place: Place, port: int) -> Server | None:
    answer = place.folder / "answer.bin"
    answer.write_bytes(place.head + place.body)
    return start(
        "floor",
        [sys.executable, "-m", "benchmarks.servers.floor", "http", str(port), str(answer)],
        place.folder,
        place.cpu,
    )


def start_udp_floor(place: Place, echo: bool) -> tuple[Server, int]:
    """The compiled recvmmsg/sendmmsg loop: an echo, or a reply as long as ours."""
    port = free_port(socket.SOCK_DGRAM)
    kind = "echo" if echo else "udp"
    command = [sys.executable, "-m", "benchmarks.servers.floor", kind, str(port)] + (
        [] if echo else [str(place.body_file)]
    )
    server = start(f"udp_{kind}", command, place.folder, place.cpu)
    _wait_for_datagrams(server, port)
    return server, port


def _wait_for_datagrams(server: Server, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.2)
        for _ in range(150):
            try:
                probe.send(ASSET.encode())
                probe.recv(2048)
            except OSError:
                if server.ended_within(0.05):
                    break
            else:
                return
    server.stop()
    raise PeerError(server.name, "did not answer a datagram")


_NGINX = """daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type application/json; return 200 '{body}'; }}
    }}
}}
"""


def _start_nginx(place: Place, port: int) -> Server | None:
    if shutil.which("nginx") is None:
        return None
    folder = place.folder.resolve()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port, body=place.body.decode()))
    command = ["nginx", "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(configuration)]
    return start("nginx", command, place.folder, place.cpu)


def _start_granian(place: Place, port: int) -> Server | None:
    if find_spec("granian") is None:
        return None
    options = f"--interface rsgi --host 127.0.0.1 --port {port} --workers 1 --no-ws --http 1 --backlog 4096"
    quiet = "--no-access-log --log-level warning"
    command = [
        sys.executable,
        "-m",
        "granian",
        *options.split(),
        *quiet.split(),
        "benchmarks.servers.fixed_answer:rsgi",
    ]
    return _start_python("granian", command, place)


def _start_uvicorn(place: Place, port: int) -> Server | None:
    if find_spec("uvicorn") is None:
        return None
    options = f"--host 127.0.0.1 --port {port} --lifespan off --backlog 4096 --timeout-keep-alive 600"
    quiet = "--no-access-log --log-level warning"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        *options.split(),
        *quiet.split(),
        "benchmarks.servers.fixed_answer:asgi",
    ]
    return _start_python("uvicorn", command, place)


def _start_python(name: str, command: list[str], place: Place) -> Server:
    return start(name, command, place.folder, place.cpu, {"FIXED_ANSWER_FILE": str(place.body_file)})


def _start_store(place: Place, port: int) -> Server | None:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        return None
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --tcp-backlog 4096 --dir {place.folder.resolve()}"
    return start("store", [program, *options.split(), "--save", ""], place.folder, place.cpu)


def _start_go(place: Place, port: int) -> Server | None:
    if shutil.which("go") is None:
        return None
    program = place.folder.resolve() / "go-price"
    environment = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(place.folder.resolve() / "go-cache")}
    build = subprocess.run(
        ["go", "build", "-o", str(program), str(_HERE / "price.go")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_GO_BUILD_SECONDS_MAX,
    )
    if build.returncode != 0:
        raise PeerError("go", f"did not compile: {build.stderr.strip()[-300:]}")
    return start("go", [str(program), str(port), str(place.body_file)], place.folder, place.cpu)


def _wait_for_answer(port: int, request: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=_FIRST_ANSWER_SECONDS_MAX) as connection:
        connection.sendall(request)
        connection.recv(1024)


def _resp_request(words: list[str]) -> bytes:
    """A command as RESP 2 wants it: an array of bulk strings."""
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()


def _resp(port: int, words: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(_resp_request(words))
        answer = connection.recv(1024)
    if not answer.startswith(b"+OK"):
        raise PeerError("store", f"refused {words[0]}: {answer[:80]!r}")


# In the order of the table.
PEERS = (
    Peer("floor", "epoll_wait, recv, send; nothing else", _start_floor),
    Peer("nginx", "static `return 200`", _start_nginx),
    Peer("valkey or redis", "GET of a string", _start_store, checks.FRAMING_RESP),
    Peer("go", "net/http, sync.Map, encoding/json", _start_go),
    Peer("granian", "RSGI, fixed answer", _start_granian),
    Peer("uvicorn", "ASGI, fixed answer", _start_uvicorn),
)
