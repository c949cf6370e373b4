"""Clients of a cluster who ask once more when they were not answered, and keep account of everything.

    http-front, udp-front    through the load balancer; UDP asks again from a new socket
    http-node, udp-node      a node directly, and another one when that does not answer

Rules: a client is a thread with one question at a time; an answer counts when it was read whole. What a try left behind
that was not answered may stand in the ledger or not: it is counted as well.
"""

import http.client
import itertools
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from trinity.clock import NS_PER_SECOND, Clock

TRIES = 2
HTTP_SECONDS, UDP_SECONDS = 6.0, 2.5
_HTTP_PORT, _UDP_PORT = 8080, 2679


class Reply(NamedTuple):
    """An answer that was read whole; `request_id` is 0 where the answer has none."""

    status: int
    body: dict[str, Any]
    request_id: int


class Way(Protocol):
    """How a question is put; None when it was not answered."""

    def ask(self, asset: str, key: str) -> Reply | None: ...
    def close(self) -> None: ...


class HttpWay:
    """One connection after the other; after a failure the next of the hosts."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = itertools.cycle(hosts)
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, asset: str, key: str) -> Reply | None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(next(self._hosts), _HTTP_PORT, timeout=HTTP_SECONDS)
        try:
            self._connection.request("GET", f"/price?asset={asset}", headers={"Authorization": f"Bearer {key}"})
            answer = self._connection.getresponse()
            body = json.loads(answer.read())
            return Reply(answer.status, body, int(answer.headers.get("X-Request-Id") or "0", 16))
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class UdpWay:
    """One socket after the other; after a failure the next of the hosts."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = itertools.cycle(hosts)
        self._socket: socket.socket | None = None

    def ask(self, asset: str, key: str) -> Reply | None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.settimeout(UDP_SECONDS)
            self._socket.connect((next(self._hosts), _UDP_PORT))
        try:
            self._socket.send(f"{asset} key={key}".encode())
            received = self._socket.recv(65536)
            if not received:  # nginx, of a node that is gone
                raise ConnectionRefusedError
            body = json.loads(received)
        except (OSError, ValueError):
            self.close()
            return None
        return Reply(200 if "price" in body else 503, body, 0)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Account:
    """What all clients of one kind asked and got; shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.answers = 0  # of tries, refusals included
        self.unanswered = 0  # tries
        self.served = 0  # questions that have their price after all tries
        self.failures: list[str] = []  # the others, with the last reason
        self.retried = 0
        self.ids: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.prices: list[tuple[float, str, float]] = []  # since they were last taken: (when, asset, price)

    def on_try(self, reply: Reply | None) -> None:
        with self._lock:
            if reply is None:
                self.unanswered += 1
                return
            self.answers += 1
            if reply.request_id:
                self.ids[reply.request_id] += 1
            if reply.status != http.HTTPStatus.OK:
                self.refusals[reply.body["error"]["code"]] += 1

    def on_question(self, tries: int, failure: str, price: tuple[float, str, float] | None) -> None:
        with self._lock:
            self.retried += tries > 1
            if price is None:
                self.failures.append(failure)
            else:
                self.served += 1
                self.prices.append(price)

    def take_prices(self) -> list[tuple[float, str, float]]:
        with self._lock:
            taken, self.prices = self.prices, []
        return taken


class Client(threading.Thread):
    """Asks for one asset after the other until told to stop."""

    def __init__(
        self, way: Way, key: str, assets: Sequence[str], account: Account, clock: Clock, pause_seconds: float, seed: int
    ) -> None:
        super().__init__(daemon=True)
        self._way, self._key, self._assets, self._account, self._clock = way, key, assets, account, clock
        self._pause_seconds = pause_seconds
        self._chance = random.Random(seed)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(self._chance.uniform(0.5, 1.5) * self._pause_seconds):
            self._ask(self._chance.choice(self._assets))
        self._way.close()

    def tell_to_stop(self) -> None:
        self._stopping.set()

    def _ask(self, asset: str) -> None:
        failure, price, tries = "", None, 0
        while price is None and tries < TRIES:
            tries += 1
            reply = self._way.ask(asset, self._key)
            self._account.on_try(reply)
            if reply is not None and reply.status == http.HTTPStatus.OK:
                price = (self._clock.monotonic_ns() / NS_PER_SECOND, asset, float(reply.body["price"]))
                continue
            failure = "no answer" if reply is None else f"{reply.status} {reply.body['error']['code']}"
            if reply is not None:
                self._way.close()  # its node said no: another one is asked
        self._account.on_question(tries, f"{asset}: {failure}", price)
