"""benchmarks/parts/cluster/steady_clients.py"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.parts.cluster.steady_clients import Tally, http_asker, udp_asker

HOST = "127.0.0.1"
BODY = b'{"price":1}'
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def _http_server(*connections: list[bytes]) -> Iterator[int]:
    """Accepts as many connections, answers as many requests on each as it has answers, then ends it."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            for answers in connections:
                connection, _ = listening.accept()
                with connection:
                    for answer in answers:
                        connection.recv(4096)
                        connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        serving.join(10)


def test_what_an_ended_connection_did_not_answer_is_asked_again_on_a_new_one() -> None:
    """And counts as resent, not as a failure; on a new connection it would be one."""
    tally = Tally()
    with _http_server([GOOD], [GOOD, GOOD], []) as port:
        ask = http_asker(HOST, "key", port)
        assert [ask("BTC", tally) for _ in range(3)] == ["", "", ""]
        said = ask("BTC", tally)
        assert any(words in said for words in ("ended without an answer", "Reset", "BrokenPipe"))
    assert tally.answers == 3
    assert tally.resent >= 1


def test_a_refusal_is_a_failure() -> None:
    """It is an answer and has its row."""
    tally = Tally()
    with _http_server([REFUSED]) as port:
        assert "503" in http_asker(HOST, "key", port)("BTC", tally)
    assert (tally.answers, tally.resent) == (1, 0)


def test_an_empty_datagram_is_asked_again_once() -> None:
    """From a new socket; a second one is a failure."""
    tally = Tally()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind((HOST, 0))
        ports = []

        def serve() -> None:
            for answer in (b"", BODY, b"", b""):
                _, client = node.recvfrom(4096)
                ports.append(client[1])
                node.sendto(answer, client)

        serving = threading.Thread(target=serve)
        serving.start()
        ask = udp_asker(HOST, "key", node.getsockname()[1])
        assert ask("BTC", tally) == ""
        assert ask("ETH", tally) == "ETH: an empty datagram"
        serving.join(10)
    assert (tally.answers, tally.resent) == (1, 2)
    assert ports[0] != ports[1]
