"""A forked request worker on real sockets, asked by foreign clients."""

import asyncio
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from trinity.compiled import jit_enabled
from trinity.config import AccessSection, RequestSection
from trinity.errors import PortTakenError
from trinity.limits import DRAIN_WORKER_MAX_NS
from trinity.memory.control import COMMAND, HEARTBEAT_NS, Command
from trinity.process import WorkerMemory
from workers.request import loop

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="the loop exists only compiled")

HOST = "127.0.0.1"


def url(worker: Any, target: str) -> str:
    return f"http://{HOST}:{worker.ports.tcp_port_lpo}{target}"


def connect(worker: Any) -> socket.socket:
    return socket.create_connection((HOST, worker.ports.tcp_port_lpo), timeout=10)


def request(target: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def read_responses(client: socket.socket, count: int) -> list[tuple[int, Any]]:
    """Status and decoded body of the next `count` responses, which must be all that comes."""
    received, responses = b"", []
    while len(responses) < count:
        head, gap, rest = received.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]) if gap else 0
        if not gap or len(rest) < length:
            part = client.recv(1 << 16)
            assert part, f"the connection ended after {len(responses)} responses"
            received += part
            continue
        responses.append((int(head.split(b" ")[1]), json.loads(rest[:length])))
        received = rest[length:]
    assert received == b""
    return responses


# --- foreign clients ------------------------------------------------------------------------------------------


def test_httpx_gets_prices_over_one_connection(worker: Any) -> None:
    """A pooled client is answered again and again on the connection that it keeps."""
    with httpx.Client() as client:
        for asset in ("BTC", "eth", "Sol") * 5:
            answer = client.get(url(worker, "/price"), params={"asset": asset})
            assert (answer.status_code, answer.json()["asset"]) == (200, asset.upper())
        assert client.get(url(worker, "/price?asset=DOGE")).json()["error"]["code"] == "stale_price"
    assert worker.counter("http_connections_total") == 1
    assert worker.counter("http_responses_total", "200") == 15
    assert worker.counter("http_responses_total", "503") == 1
    assert worker.counter("lookups_total") == 16


async def test_aiohttp_gets_many_prices_at_once(worker: Any) -> None:
    """A hundred concurrent requests are each answered with their own asset."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:

        async def ask(asset: str) -> str:
            async with session.get(url(worker, "/price"), params={"asset": asset}) as answer:
                body: dict[str, str] = await answer.json()
                return body["asset"]

        wanted = ["BTC", "ETH", "SOL", "BTC"] * 25
        assert await asyncio.gather(*map(ask, wanted)) == wanted


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-X", "GET"], b"200"),
        (["--http1.0"], b"200"),
        (["--head"], b"200"),
        (["-X", "OPTIONS"], b"204"),
        (["-H", "Connection: close"], b"200"),
        (["-d", "body"], b"405"),
        (["-X", "GET", "-d", "body"], b"413"),
        (["-X", "GET", "-H", "Transfer-Encoding: chunked", "-d", "body"], b"400"),
        (["-H", "Expect: 100-continue"], b"400"),
    ],
)
def test_curl_is_answered_in_every_way_that_it_asks(worker: Any, arguments: list[str], status: bytes) -> None:
    """curl reads the status of each answer and finds its length right."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", *arguments]
    done = subprocess.run([*command, url(worker, "/price?asset=BTC")], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, status), done.stderr


def test_wrk_finds_no_error_in_a_second_of_load(worker: Any) -> None:
    """64 connections at full speed: every answer is a 2xx, no socket fails."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    command = ["wrk", "-t1", "-c64", "-d1", url(worker, "/price?asset=BTC")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "requests in" in report
    assert "Non-2xx" not in report
    assert "Socket errors" not in report


NGINX = """
daemon off; master_process off; error_log {dir}/error.log; pid {dir}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  upstream oracle {{ server {host}:{back}; keepalive 4; }}
  server {{ listen {host}:{front}; location / {{
    proxy_pass http://oracle; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend in
  bind {host}:{front}
  default_backend oracle
backend oracle
  http-reuse always
  server one {host}:{back}
"""


@pytest.mark.parametrize(
    ("program", "config", "arguments"),
    [("nginx", NGINX, ["-e", "{file}.log", "-c", "{file}"]), ("haproxy", HAPROXY, ["-db", "-f", "{file}"])],
)
def test_a_proxy_in_front_passes_every_kind_of_answer(
    worker: Any, tmp_path: Path, wait_until: Any, free_port: Any, program: str, config: str, arguments: list[str]
) -> None:
    """Good prices, errors and HEAD go through a proxy that reuses its connections to the worker."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    front = free_port()
    file = tmp_path / "proxy.conf"
    file.write_text(config.format(dir=tmp_path, host=HOST, front=front, back=worker.ports.tcp_port_lpo))
    proxy = subprocess.Popen([path, *(part.format(file=file) for part in arguments)])
    try:
        wait_until(lambda: _listens(front), f"{program} to listen")
        with httpx.Client(base_url=f"http://{HOST}:{front}") as client:
            for _ in range(10):
                assert client.get("/price?asset=BTC").json()["asset"] == "BTC"
                assert client.get("/price?asset=DOGE").status_code == 503
                assert client.head("/price?asset=BTC").status_code == 200
                assert client.get("/nothing").status_code == 404
    finally:
        proxy.terminate()
        proxy.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


# --- the wire -------------------------------------------------------------------------------------------------


def test_a_pipeline_longer_than_a_turn_is_answered_in_order(worker: Any) -> None:
    """300 requests sent at once come back in the order in which they were asked."""
    with connect(worker) as client:
        wanted = ["BTC", "ETH", "SOL"] * 100
        client.sendall(b"".join(request(f"/price?asset={asset}") for asset in wanted))
        assert [body["asset"] for _, body in read_responses(client, 300)] == wanted


def test_a_request_in_single_bytes_is_answered(worker: Any) -> None:
    """However slowly the bytes drip, the whole request gets its one answer."""
    with connect(worker) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("/price?asset=BTC"):
            client.send(bytes([byte]))
        assert read_responses(client, 1)[0][0] == 200
        assert select.select([client], [], [], 0.2)[0] == [], "something came that was not asked for"


def test_a_client_that_does_not_read_holds_up_nobody(worker: Any) -> None:
    """Its answers wait for it, others are served meanwhile, and nothing is lost when it reads at last."""
    with connect(worker) as lazy:
        lazy.settimeout(60)
        count, asked = 30_000, request("/prices", "X: " + "x" * 2000)  # 60 MB in, 24 MB out: more than sockets hold
        sender = threading.Thread(target=lazy.sendall, args=(asked * count,))
        sender.start()
        for _ in range(20):
            with connect(worker) as other:
                other.sendall(request("/price?asset=ETH"))
                assert read_responses(other, 1)[0][1]["asset"] == "ETH"
        assert sender.is_alive(), "the lazy client's requests were all read although it read no answer"
        answered, tail = 0, b""
        while answered < count:
            part = tail + lazy.recv(1 << 20)
            answered += part.count(b"HTTP/1.1 200 OK")
            tail = part[-14:]  # one byte less than what is counted
        sender.join(10)
        assert answered == count


def test_a_refusal_can_be_read_by_a_client_that_goes_on_sending(worker: Any) -> None:
    """The answer is not lost to a reset, and nothing behind the refused request is answered."""
    with connect(worker) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + request("/price?asset=BTC") * 500)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") == 1


def test_datagrams_are_answered_beside_http(worker: Any) -> None:
    """One worker serves both protocols."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, connect(worker) as other:
        client.settimeout(10)
        client.connect((HOST, worker.ports.udp_port_lpo))
        for _ in range(10):
            client.send(b"BTC")
            assert json.loads(client.recv(4096))["asset"] == "BTC"
            other.sendall(request("/price?asset=BTC"))
            assert read_responses(other, 1)[0][0] == 200
    assert worker.counter("udp_datagrams_total", "answered") == 10


def test_a_price_that_ages_while_the_node_runs_is_no_longer_served(node: Any, warm: None, make_answer: Any) -> None:
    """With no new word from the consensus process the worker itself says stale_price, with the last price."""
    node.write("BTC", make_answer("BTC", valid_until_ns=time.monotonic_ns() - 1))
    node.start()
    answer = httpx.get(url(node, "/price?asset=BTC"))
    assert answer.status_code == 503
    assert (answer.json()["error"]["code"], answer.json()["last_price"]) == ("stale_price", 71002.5)


def test_the_date_is_of_this_second_and_ids_differ_between_workers(node: Any, warm: None) -> None:
    """Two workers share the port; their request ids never meet."""
    node.start(0)
    node.start(1)
    ids = set()
    for _ in range(40):
        answer = httpx.get(url(node, "/health"))
        ids.add(answer.headers["x-request-id"])
        assert answer.headers["date"].endswith("GMT")
        assert answer.headers["date"] != "Thu, 01 Jan 1970 00:00:00 GMT"
    assert len(ids) == 40
    assert {number[:2] for number in ids} == {"00", "01"}


# --- life -----------------------------------------------------------------------------------------------------


def test_the_heartbeat_goes_on_without_any_request(worker: Any, wait_until: Any) -> None:
    """An idle worker still shows that its loop turns."""
    block = worker.contexts[0].block
    for _ in range(3):
        before = block.read(HEARTBEAT_NS)
        wait_until(lambda before=before: block.read(HEARTBEAT_NS) > before, "the next heartbeat")


@pytest.mark.parametrize("way", ["command", "SIGTERM", "SIGINT"])
def test_draining_answers_what_is_in_flight_and_ends_with_exit_code_0(worker: Any, wait_until: Any, way: str) -> None:
    """A kept connection gets its last answer with Connection: close, new ones are refused, the process ends."""
    context, process = worker.contexts[0], worker.processes[0]
    with connect(worker) as kept, connect(worker) as half:
        kept.sendall(request("/health"))
        read_responses(kept, 1)
        half.sendall(request("/price?asset=BTC")[:-1])
        wait_until(lambda: worker.counter("http_connections_total") == 2, "both connections")
        if way == "command":
            context.block.write(COMMAND, Command.DRAIN)
            os.eventfd_write(context.control_fd, 1)
        else:
            os.kill(process.pid, getattr(signal, way))
        wait_until(lambda: not _listens(worker.ports.tcp_port_lpo), "the listener to close")
        half.send(b"\n")
        last = b"".join(iter(lambda: half.recv(4096), b""))
        assert last.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nConnection: close\r\n" in last
        assert kept.recv(1) == b"", "an idle connection is closed"
    process.join(DRAIN_WORKER_MAX_NS / 1e9 + 5)
    assert process.exitcode == 0


def test_a_drain_does_not_wait_for_a_client_for_ever(worker: Any) -> None:
    """Half a request that is never finished costs at most the drain's time."""
    with connect(worker) as half:
        half.sendall(b"GET /price")
        os.kill(worker.processes[0].pid, signal.SIGTERM)
        worker.processes[0].join(DRAIN_WORKER_MAX_NS / 1e9 + 5)
        assert worker.processes[0].exitcode == 0


@pytest.mark.parametrize(("name", "kind"), [("TCP_PORT_LPO", socket.SOCK_STREAM), ("UDP_PORT_LPO", socket.SOCK_DGRAM)])
def test_a_taken_port_is_named(node: Any, name: str, kind: socket.SocketKind) -> None:
    """A port that another program holds stops the worker with the port's name."""
    port = getattr(node.ports, name.lower())
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((HOST, port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        memory = WorkerMemory(node.answers, node.access, node.rings[0], node.asker(0))
        with pytest.raises(PortTakenError) as caught:
            loop.run(node.context(0), memory, node.ports, RequestSection(pin=False), AccessSection(), HOST, 0)
    assert (caught.value.name, caught.value.port) == (name, port)


def test_a_worker_is_pinned_to_its_own_cpu(node: Any, warm: None) -> None:
    """Worker i runs on the i-th CPU that the node may use."""
    allowed = sorted(os.sched_getaffinity(0))
    node.start(0, RequestSection(pin=True))
    node.start(1, RequestSection(pin=True))
    found = [os.sched_getaffinity(process.pid) for process in node.processes]
    assert found == [{allowed[i % len(allowed)]} for i in range(2)]


def test_running_out_of_descriptors_neither_spins_nor_ends_the_worker(node: Any, warm: None, wait_until: Any) -> None:
    """Waiting clients are taken in as soon as others leave."""
    import resource

    node.start()
    pid = node.processes[0].pid
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    second_free = [fd for fd in range(1024) if fd not in taken][1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (second_free + 1, second_free + 1))
    first = [connect(node), connect(node)]
    for client in first:
        client.sendall(request("/health"))
        read_responses(client, 1)
    waiting = connect(node)
    waiting.sendall(request("/health"))
    ticks = _cpu_ticks(pid)
    assert select.select([waiting], [], [], 0.5)[0] == []
    assert _cpu_ticks(pid) - ticks < 25, "half a second of waiting took a quarter of a second of work"
    for client in first:
        client.close()
    assert read_responses(waiting, 1)[0][0] == 200
    waiting.close()


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
