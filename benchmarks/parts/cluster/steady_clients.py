"""Clients of a load balancer that ask without a pause, each a process with one question at a time, and count.

    http   one kept connection. What a reused connection ends without a byte of an answer is asked again on a new one,
           as HTTP's clients do (RFC 9110, 9.2.2): `resent`. Anything else that is no 200 is a failure.
    udp    one socket. What is not answered within UDP_SECONDS, or by an empty datagram, is asked once more from a new
           socket: `resent`. No price after that is a failure.

Rules: a process ends when `stopping` is set; what it counted then comes through the queue, and on the way `asked` says
how far it is. Loopback only.
"""

import multiprocessing
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

HTTP_SECONDS, UDP_SECONDS = 10.0, 2.5
_HTTP_PORT, _UDP_PORT = 8080, 2679
_SHOWN = 20
_OK = b"HTTP/1.1 200 "


@dataclass
class Tally:
    """What one client, or all of a kind, asked and got."""

    questions: int = 0
    failures: int = 0
    resent: int = 0
    answers: int = 0  # of all tries, refusals included
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.questions += other.questions
        self.failures += other.failures
        self.resent += other.resent
        self.answers += other.answers
        self.examples = (self.examples + other.examples)[:_SHOWN]


class SteadyClients:
    """`each` processes of both kinds against one host."""

    def __init__(self, host: str, keys: dict[str, str], assets: Sequence[str], each: int) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        self._stopping = context.Event()
        self._results: Any = context.Queue()
        self._asked = {(kind, number): context.Value("q", 0, lock=False) for kind in _KINDS for number in range(each)}
        self._processes: list[SpawnProcess] = [
            context.Process(
                target=_run,
                args=(kind, host, keys[kind], list(assets), self._stopping, asked, self._results),
                daemon=True,
            )
            for (kind, _), asked in self._asked.items()
        ]

    def start(self) -> None:
        for process in self._processes:
            process.start()

    def asked(self) -> int:
        """Questions until now."""
        return sum(int(asked.value) for asked in self._asked.values())

    def stop(self) -> dict[str, Tally]:
        """End all; what each kind counted."""
        self._stopping.set()
        tallies = {kind: Tally() for kind in _KINDS}
        for _ in self._processes:
            kind, counted = self._results.get(timeout=60)
            tallies[kind].add(Tally(**counted))
        for process in self._processes:
            process.join(10)
        return tallies


def _run(kind: str, host: str, key: str, assets: list[str], stopping: Any, asked: Any, results: Any) -> None:
    tally, ask = Tally(), _KINDS[kind](host, key)
    while not stopping.is_set():
        failure = ask(assets[tally.questions % len(assets)], tally)
        tally.questions += 1
        asked.value = tally.questions
        if failure:
            tally.failures += 1
            tally.examples = [*tally.examples, failure][:_SHOWN]
    results.put((kind, asdict(tally)))


def http_asker(host: str, key: str, port: int = _HTTP_PORT) -> Callable[[str, Tally], str]:
    """Asks for an asset; "" or why it failed."""
    connection: socket.socket | None = None

    def ask(asset: str, tally: Tally) -> str:
        nonlocal connection
        request = f"GET /price?asset={asset} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        is_reused = connection is not None
        while True:
            received = b""
            try:
                if connection is None:
                    connection = socket.create_connection((host, port), HTTP_SECONDS)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(request)
                received, is_kept = _read_answer(connection)
            except OSError as error:
                _close(connection)
                connection = None
                if is_reused and not isinstance(error, TimeoutError):
                    is_reused = False
                    tally.resent += 1
                    continue
                return f"{asset}: {error!r}"
            if not is_kept:
                _close(connection)
                connection = None
            if received:
                tally.answers += 1
                return "" if received.startswith(_OK) else f"{asset}: {received[:160]!r}"
            if not is_reused:
                return f"{asset}: the connection ended without an answer"
            is_reused = False
            tally.resent += 1

    return ask


def udp_asker(host: str, key: str, port: int = _UDP_PORT) -> Callable[[str, Tally], str]:
    """Asks for an asset; "" or why it failed."""
    asking: socket.socket | None = None

    def ask(asset: str, tally: Tally) -> str:
        nonlocal asking
        said = ""
        for attempt in range(2):
            tally.resent += attempt
            if asking is None:
                asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                asking.settimeout(UDP_SECONDS)
                asking.connect((host, port))
            try:
                asking.send(f"{asset} key={key}".encode())
                received = asking.recv(65_536)
            except OSError as error:
                said, received = repr(error), b""
            else:
                said = said if received else "an empty datagram"
            if received:
                tally.answers += 1
                return "" if b'"price"' in received else f"{asset}: {received[:160]!r}"
            _close(asking)
            asking = None
        return f"{asset}: {said}"

    return ask


def _read_answer(connection: socket.socket) -> tuple[bytes, bool]:
    """(the answer, whether the connection stays); b"" where it ended before the first byte."""
    received = b""
    while True:
        piece = connection.recv(65_536)
        if not piece:
            if received:
                raise ConnectionResetError("the answer was broken off")
            return b"", False
        received += piece
        head, found, body = received.partition(b"\r\n\r\n")
        if found:
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            if len(body) >= length:
                return received, b"connection: close" not in lines


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()


_KINDS: dict[str, Callable[[str, str], Callable[[str, Tally], str]]] = {"http": http_asker, "udp": udp_asker}
