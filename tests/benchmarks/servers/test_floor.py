"""The floors answer what they were given and nothing else."""

import socket
import sys
import time
from pathlib import Path

from benchmarks.generators.http import HttpGenerator, HttpTarget, price_requests
from benchmarks.generators.load import Load
from benchmarks.servers import processes

BODY = b'{"asset":"BTC","price":1.5,"timestamp":1}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def test_the_http_floor_answers_every_connection(tmp_path: Path) -> None:
    """Sixteen connections under load get right answers only, also from a floor that accepts in between."""
    (tmp_path / "answer").write_bytes(ANSWER)
    port = processes.free_port()
    command = [sys.executable, "-m", "benchmarks.servers.floor", "http", str(port), str(tmp_path / "answer")]
    server = processes.start("floor", command, tmp_path)
    try:
        processes.wait_for_port(server, port)
        for _ in range(2):
            generator = HttpGenerator(HttpTarget("127.0.0.1", port, ["BTC"], price_requests(["BTC"])), 16)
            outcome = generator.run(Load(0.1))
            generator.close()
            assert outcome.answered == outcome.sent >= 16
            assert outcome.faults == {}
    finally:
        server.stop()


def test_the_udp_floors_answer_or_echo(tmp_path: Path) -> None:
    """`udp` sends the file's bytes, `echo` what came; both to the sender, again and again."""
    (tmp_path / "answer").write_bytes(BODY)
    for kind, arguments in (("udp", [str(tmp_path / "answer")]), ("echo", [])):
        port = processes.free_port(socket.SOCK_DGRAM)
        command = [sys.executable, "-m", "benchmarks.servers.floor", kind, str(port), *arguments]
        server = processes.start(kind, command, tmp_path)
        try:
            _wait_until_up(port, server)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.connect(("127.0.0.1", port))
                client.settimeout(5)
                for text in (b"BTC", b"a longer request", b"ETH"):
                    client.send(text)
                    assert client.recv(2048) == (BODY if kind == "udp" else text)
        finally:
            server.stop()


def _wait_until_up(port: int, server: processes.Server) -> None:
    """Ask from a socket of its own until it answers; it compiles first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.2)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                probe.send(b"x")
                probe.recv(2048)
            except OSError:
                assert not server.ended_within(0.05)
            else:
                return
    raise AssertionError("no answer")
