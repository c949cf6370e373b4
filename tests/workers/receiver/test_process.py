"""workers/receiver/process.py: the listener, as a node forks it, with real TLS, a real database and real datagrams."""

import datetime
import json
import multiprocessing
import os
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.contexts import open_context
from trinity.markets import load_catalog
from trinity.push import store
from trinity.push.datagram import Datagram, PushedPrice, encode
from trinity.push.secret import read_secret
from trinity.push.signature import webhook_headers
from trinity.store.connect import connect
from workers.receiver import process
from workers.receiver.certificate import AUTHORITIES, make_certificate
from workers.receiver.process import ReceiverSettings

EPOCH = 1 << 32


class Running:
    """A receiver, and a client that trusts it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._tls = ssl.create_default_context(cafile=folder / AUTHORITIES)

    def ask(self, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, None
        except OSError:
            return 0, None

    def until(self, is_so: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while not (found := is_so()):
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
        return found


@pytest.fixture
def running(database_url: str, tmp_path: Path) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    make_certificate(tmp_path, datetime.datetime.now(datetime.UTC))
    settings = ReceiverSettings("127.0.0.1", port, tmp_path, database_url)
    with open_context("receiver", "receiver", load_catalog()) as context:
        child = multiprocessing.get_context("fork").Process(target=process.run, args=(context, settings))
        child.start()
        yield Running(port, tmp_path)
        os.kill(child.pid or 0, signal.SIGTERM)
        child.join(60)
        assert child.exitcode == 0


def test_what_is_signed_with_the_demo_s_secrets_is_shown(running: Running, database_url: str) -> None:
    """Over HTTPS and as a datagram; what anybody else sends is refused, and changes nothing."""

    def made() -> Any:
        with connect(database_url, "tests", autocommit=True) as connection:
            return store.list_for(connection, None, 0, 9)

    numbers = [one.id for one in running.until(made)]
    with connect(database_url, "tests", autocommit=True) as connection:
        secrets = {number: read_secret(store.find(connection, number, None).secret) for number in numbers}
    told = {"subscription": numbers[0], "sequence": EPOCH + 1, "reason": "interval", "prices": [{"asset": "BTC"}]}
    body = json.dumps({"type": "price.update", "timestamp": "t", "data": told}).encode()

    def post(secret: bytes) -> int:
        headers = webhook_headers([secret], "msg_1", int(time.time()), body)
        return running.ask("/prices", {key.decode(): value.decode() for key, value in headers}, body)[0]

    running.until(lambda: post(secrets[numbers[0]]) == 200)
    assert post(b"somebody else's secret, of 32 by") == 401
    frame = Datagram(numbers[2], EPOCH + 1, time.time_ns(), 3000, 0, True, (PushedPrice("BTC", 0, 1, 1, 1, 0, 0, 6),))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def shown() -> Any:
            sender.sendto(encode(frame, secrets[numbers[2]]), ("127.0.0.1", running.port))
            found = running.ask("/")[1]["subscriptions"]
            return found if len(found) == 2 else None

        found = running.until(shown)
    assert [(one["subscription"], one["over"], one["sequence"]) for one in found] == [
        (numbers[0], "https", EPOCH + 1), (numbers[2], "udp", EPOCH + 1),
    ]  # fmt: skip
    assert running.ask("/prices", {}, b"x" * 100_000)[0] in (0, 401, 413), "a body has a bound"
