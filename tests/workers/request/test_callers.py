"""Who asks, seen from outside: real proxies and balancers, keys and limits over many connections of real workers."""

import hashlib
import ipaddress
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from trinity.client import Client, OracleError
from trinity.compiled import jit_enabled
from trinity.config import AccessSection
from trinity.native.addresses import address_words
from trinity.vocabulary import CODES, KeyState

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="the loop exists only compiled")

HOST = "127.0.0.1"
KEYS_ONLY = AccessSection(auth="required")


def add_key(node: Any, key_id: int, key: str, state: KeyState = KeyState.ACTIVE, **terms: int) -> None:
    """A key that the access process would have loaded; without limits unless `terms` says so."""
    free: dict[str, Any] = {"rate": 0, "burst": 0, "monthly_quota": 0, "dry_run": False}
    node.access.keys.write(key_id, hashlib.sha256(key.encode()).digest(), state, **(free | terms))
    node.access.keys.mark_loaded()


def callers_of(node: Any) -> set[str]:
    """The addresses in the usage records of worker 0."""
    found = {ipaddress.IPv6Address(address.tobytes()) for address in node.records()["address"]}
    return {str(address.ipv4_mapped or address) for address in found}


def raw_status(node: Any, head: bytes) -> bytes:
    """The status that a request in these very bytes gets."""
    with socket.create_connection((HOST, node.ports.tcp_port_lpo), timeout=10) as client:
        client.sendall(head)
        return client.recv(4096).split(b" ")[1]


# --- behind proxies -------------------------------------------------------------------------------------------

NGINX = """
daemon off; master_process off; error_log {dir}/error.log; pid {dir}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  upstream oracle {{ server {host}:{back}; keepalive 4; }}
  server {{ listen {host}:{front}; location / {{
    proxy_pass http://oracle; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}
}}
"""
HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend in
  bind {host}:{front}
  default_backend oracle
backend oracle
  option httpchk GET /health
  http-check send meth GET uri /health ver HTTP/1.1 hdr Host x
  server one {host}:{back} send-proxy-v2 check check-send-proxy inter 100ms
"""


@contextmanager
def proxy(program: str, config: str, arguments: list[str], folder: Path, back: int, free_port: Any) -> Iterator[int]:
    """A real proxy in front of port `back`; yields its own port."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    front, file = free_port(), folder / "proxy.conf"
    file.write_text(config.format(dir=folder, host=HOST, front=front, back=back))
    running = subprocess.Popen([path, *(part.format(file=file) for part in arguments)])
    try:
        deadline = time.monotonic() + 60
        while not _listens(front):
            assert time.monotonic() < deadline, f"{program} does not listen"
            time.sleep(0.01)
        yield front
    finally:
        running.terminate()
        running.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.mark.parametrize(
    ("trusted", "forwarded", "caller"),
    [
        ((HOST,), "198.51.100.7", "198.51.100.7"),
        ((HOST,), "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        ((HOST,), "nonsense", HOST),
        ((), "198.51.100.7", HOST),
    ],
)
def test_behind_nginx_the_caller_is_whom_the_trusted_proxy_names(
    node: Any, warm: None, tmp_path: Path, free_port: Any, trusted: tuple[str, ...], forwarded: str, caller: str
) -> None:
    """nginx appends its own peer, which is trusted here as a second hop; without trust nobody is believed."""
    node.start(access=AccessSection(auth="optional", trusted_proxies=trusted))
    arguments = ["-e", "{file}.log", "-c", "{file}"]
    with proxy("nginx", NGINX, arguments, tmp_path, node.ports.tcp_port_lpo, free_port) as front:
        answer = httpx.get(f"http://{HOST}:{front}/price?asset=BTC", headers={"X-Forwarded-For": forwarded})
    assert answer.status_code == 200
    assert callers_of(node) == {caller}


def test_behind_haproxy_the_caller_is_whom_its_proxy_header_names(
    node: Any, warm: None, tmp_path: Path, free_port: Any, wait_until: Any
) -> None:
    """Clients of another loopback address are told apart, and the balancer's own health checks are answered."""
    node.start(access=AccessSection(auth="optional", trusted_proxies=(HOST,), proxy_protocol=True))
    with proxy("haproxy", HAPROXY, ["-db", "-f", "{file}"], tmp_path, node.ports.tcp_port_lpo, free_port) as front:
        wait_until(lambda: HOST in callers_of(node), "a health check of the balancer")
        transport = httpx.HTTPTransport(local_address="127.0.0.77")
        with httpx.Client(transport=transport) as client:
            for _ in range(3):
                assert client.get(f"http://{HOST}:{front}/price?asset=BTC").json()["asset"] == "BTC"
    prices = [record for record in node.records() if record["asset"] == b"BTC"]
    assert {record["address"].tobytes() for record in prices} == {address_words("127.0.0.77").tobytes()}
    assert len(prices) == 3
    assert raw_status(node, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == b"200"
    with socket.create_connection((HOST, node.ports.tcp_port_lpo), timeout=10) as bare:
        bare.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert bare.recv(1) == b"", "a connection of the balancer without its header is closed"


# --- keys -----------------------------------------------------------------------------------------------------


def test_the_client_asks_with_its_key_over_every_protocol(node: Any, warm: None) -> None:
    """One argument; without it or with another key each protocol names the same code."""
    add_key(node, 5, "good-key")
    node.start(access=KEYS_ONLY)
    ports = node.ports.tcp_port_lpo, node.ports.udp_port_lpo
    for via in ("http", "text", "binary"):
        prices = Client(HOST, *ports, timeout=20, api_key="good-key").prices("BTC", "ETH", via=via)
        assert [price["status"] for price in prices] == ["fresh", "fresh"]
        for key, code in (("", "missing_key"), ("wrong", "invalid_key")):
            with pytest.raises(OracleError) as caught:
                Client(HOST, *ports, timeout=20, api_key=key).prices("BTC", via=via)
            assert caught.value.args[0] == code
    assert [record["key_id"] for record in node.records()] == [5, 0, 0] * 3


def test_a_changed_key_is_another_answer_at_once(node: Any, warm: None) -> None:
    """Suspended, revoked, good again: on one connection, without a restart; a recognised key too."""
    add_key(node, 5, "turning")
    node.start(access=KEYS_ONLY)
    url = f"http://{HOST}:{node.ports.tcp_port_lpo}/price?asset=BTC"
    with httpx.Client(headers={"Authorization": "Bearer turning"}) as client:
        for state, status in (
            (KeyState.ACTIVE, 200),
            (KeyState.SUSPENDED, 403),
            (KeyState.REVOKED, 403),
            (KeyState.ACTIVE, 200),
        ):
            add_key(node, 5, "turning", state)
            assert client.get(url).status_code == status
        node.access.blocks.write([ipaddress.ip_network("127.0.0.0/8")])
        assert client.get(url).json()["error"]["code"] == "address_blocked"
        node.access.blocks.write([])
        assert client.get(url).status_code == 200


def test_keys_of_any_bytes_are_wrong_and_no_error(node: Any, warm: None) -> None:
    """All bytes beyond ASCII, in header, token, parameter and datagram: 401, and the worker lives on."""
    add_key(node, 5, "good-key")
    node.start(access=KEYS_ONLY)
    high = bytes(range(0x80, 0x100))
    encoded = "".join(f"%{byte:02X}" for byte in range(256)).encode()
    for place in (b"X-API-Key: " + high, b"Authorization: Bearer " + high, b"X: x\r\nx-api-key:\t" + high[:3]):
        assert raw_status(node, b"GET /assets HTTP/1.1\r\nHost: x\r\n" + place + b"\r\n\r\n") == b"401"
    assert raw_status(node, b"GET /assets?api_key=" + encoded + b" HTTP/1.1\r\nHost: x\r\n\r\n") == b"401"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect((HOST, node.ports.udp_port_lpo))
        for datagram in (b"BTC key=" + high, b'{"asset":"BTC","api_key":"' + high[:60] + b'"}'):
            udp.send(datagram)
            assert json.loads(udp.recv(4096))["error"]["code"] == "invalid_key"
    assert node.counter("internal_errors_total") == 0
    assert node.counter("access_refusals_total", "invalid_key") == 6


# --- limits ---------------------------------------------------------------------------------------------------


def test_many_connections_to_two_workers_get_the_plan_and_not_one_request_more(node: Any, warm: None) -> None:
    """20 connections and both protocols share one key: its quota is given out exactly, its rate within the time."""
    add_key(node, 1, "quota", monthly_quota=300)
    add_key(node, 2, "rate", rate=100, burst=50)
    node.start(0, access=KEYS_ONLY)
    node.start(1, access=KEYS_ONLY)
    statuses: dict[str, list[int]] = {"quota": [], "rate": []}

    def ask(key: str, times: int) -> None:
        with httpx.Client(headers={"X-API-Key": key}) as client:
            for _ in range(times):
                answer = client.get(f"http://{HOST}:{node.ports.tcp_port_lpo}/price?asset=BTC")
                statuses[key].append(answer.status_code)

    started = time.monotonic()
    threads = [threading.Thread(target=ask, args=(key, 40)) for key in ("quota", "rate") for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    assert (statuses["quota"].count(200), statuses["quota"].count(429)) == (300, 100)
    assert 50 <= statuses["rate"].count(200) <= 50 + 100 * seconds + 1
    assert set(statuses["rate"]) == {200, 429}
    with pytest.raises(OracleError, match="quota_exceeded"):
        Client(HOST, udp_port=node.ports.udp_port_lpo, timeout=20, api_key="quota").prices("BTC", via="binary")
    records = [record for index in range(2) for record in node.records(index)]
    assert len(records) == 801, "every answer has one record"
    assert len({int(record["request_id"]) for record in records}) == 801
    over = [record for record in records if record["status"] == 429]
    assert {CODES[record["code"]] for record in over} == {"quota_exceeded", "rate_limited"}


FLOOD = 100_000
FLOODERS = 2
RATE = 20


def test_a_flood_of_new_addresses_pushes_nobody_out(node: Any, warm: None) -> None:
    """100,000 IPv6 networks through a trusted proxy: newcomers are served, and who is over its limit stays there."""
    node.start(access=AccessSection(auth="optional", anonymous_rate=RATE, trusted_proxies=(HOST,)))

    def ask(many: list[str]) -> list[bytes]:
        """One request each in the name of these addresses, pipelined; the statuses."""
        lines = "".join(f"GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n" for address in many)
        answers = b""
        with socket.create_connection((HOST, node.ports.tcp_port_lpo), timeout=30) as client:
            client.sendall(lines.encode())
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 16):
                answers += part
        return [answer[:3] for answer in answers.split(b"HTTP/1.1 ")[1:]]

    def flood(flooder: int) -> None:
        for first in range(0, FLOOD // FLOODERS, 200):
            numbers = range(first, first + 200)
            flooded.extend(ask([f"2001:db8:{flooder:x}{n >> 16:03x}:{n & 0xFFFF:x}::1" for n in numbers]))

    flooded: list[bytes] = []
    greedy, newcomers = "198.51.100.1", []
    started = time.monotonic()
    taken = ask([greedy] * 2 * RATE).count(b"404")
    threads = [threading.Thread(target=flood, args=(flooder,)) for flooder in range(FLOODERS)]
    for thread in threads:
        thread.start()
    number = 0
    while any(thread.is_alive() for thread in threads):
        newcomers.extend(ask([f"203.0.{number >> 8}.{number & 0xFF}"] * 3))
        taken += ask([greedy] * RATE).count(b"404")
        number += 1
    seconds = time.monotonic() - started
    assert len(flooded) == FLOOD
    assert number > 10
    assert newcomers.count(b"404") > 0.99 * len(newcomers), "404: let in, and there is no such path"
    assert taken <= RATE + RATE * seconds + 1


def test_a_proxy_that_does_not_say_who_asks_is_counted(node: Any, warm: None) -> None:
    """Its connection is closed without a word, so the operator finds the reason in a metric."""
    node.start(access=AccessSection(auth="optional", trusted_proxies=(HOST,), proxy_protocol=True))
    for head in (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31"):
        with socket.create_connection((HOST, node.ports.tcp_port_lpo), timeout=10) as bare:
            bare.sendall(head)
            assert bare.recv(1) == b""
    assert node.counter("proxy_headers_refused_total") == 2
