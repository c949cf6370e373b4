"""workers/push/process.py: datagrams of the real process, received as a customer's program receives them."""

import datetime
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.push.conftest import CATALOG, MakeNode, Subscribe, wait_until
from trinity.client import PushReceiver
from trinity.push import store
from trinity.push.secret import make_secret
from trinity.store.connect import connect
from trinity.vocabulary import DELIVERY_OUTCOMES


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(60)
        yield opened


def pushed(port: socket.socket, receiver: PushReceiver) -> dict[str, Any]:
    """The next datagram that is believed."""
    while (push := receiver.accept(port.recv(2048))) is None:
        pass
    return push


def test_datagrams_go_on_with_higher_sequences_after_a_kill(
    make_node: MakeNode, subscribe: Subscribe, port: socket.socket
) -> None:
    """A receiver that keeps its last sequences believes each datagram of both lives, and the ring has them as sent."""
    number, secret = subscribe(f"udp://127.0.0.1:{port.getsockname()[1]}", interval_s=3)
    receiver, node = PushReceiver(secret), make_node("one")
    node.start()
    first = pushed(port, receiver)
    assert (first["subscription"], first["reason"], first["simulated"]) == (number, "interval", True)
    assert [price["asset"] for price in first["prices"]] == [asset.name for asset in CATALOG.assets[:3]]
    assert {price["status"] for price in first["prices"]} == {"fresh"}
    assert str(first["prices"][1]["price"]) == "100.01"
    assert 0 < first["expires_at_ms"] - first["time_ns"] // 10**6 <= 3000
    wait_until(lambda: len(node.records) > 0, "its record")  # it is written when the kernel has the datagram
    node.kill()
    node.start()
    second = pushed(port, receiver)
    assert second["sequence"] >> 32 > first["sequence"] >> 32, "an epoch of its own"
    assert node.drain() == 0
    records = node.records
    assert {DELIVERY_OUTCOMES[outcome] for outcome in records["outcome"]} == {"sent"}
    assert [first["sequence"], second["sequence"]] == [
        sequence for sequence in records["sequence"].tolist() if sequence in (first["sequence"], second["sequence"])
    ]


def test_a_rotation_is_missed_by_nobody_who_knows_both_secrets(
    make_node: MakeNode, subscribe: Subscribe, port: socket.socket, database_url: str
) -> None:
    """The old secret signs while it is valid; once it is not, the new one alone."""
    number, old = subscribe(f"udp://127.0.0.1:{port.getsockname()[1]}", interval_s=3)
    node = make_node("one")
    node.start()
    new = rotated(database_url, number, datetime.timedelta(hours=1))
    before = PushReceiver(old, new)
    assert pushed(port, before)["subscription"] == number
    newest = rotated(database_url, number, datetime.timedelta(0))
    assert pushed(port, PushReceiver(newest))["subscription"] == number
    assert before.accept(port.recv(2048)) is None, "neither of these two signs any more"
    assert node.drain() == 0


def rotated(url: str, number: int, grace: datetime.timedelta) -> str:
    """Another secret of the subscription, as its owner makes it."""
    secret = make_secret(os.urandom)
    with connect(url, "tests", autocommit=True) as connection:
        store.rotate(connection, number, None, grace, secret)
    return secret
