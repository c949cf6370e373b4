"""benchmarks/parts/cluster/clients.py"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.parts.cluster import clients
from benchmarks.parts.cluster.clients import Account, Client, Reply, UdpWay
from trinity.clock import SystemClock

GOOD = Reply(http.HTTPStatus.OK, {"price": 71.5}, 9)
REFUSED = Reply(http.HTTPStatus.SERVICE_UNAVAILABLE, {"error": {"code": "stale_price"}}, 10)


class FakeWay:
    """Answers with what it was given, one after the other."""

    def __init__(self, *replies: Reply | None) -> None:
        self.replies = list(replies)
        self.closed = 0

    def ask(self, asset: str, key: str) -> Reply | None:
        return self.replies.pop(0)

    def close(self) -> None:
        self.closed += 1


def _asked(*replies: Reply | None) -> Account:
    account = Account()
    client = Client(FakeWay(*replies), "key", ["BTC"], account, SystemClock(), 0.0, 1)
    client._ask("BTC")
    return account


def test_a_question_that_is_answered_at_the_second_try_is_no_failure() -> None:
    """The first one was asked and not answered."""
    account = _asked(None, GOOD)
    assert (account.served, account.retried, account.unanswered, account.answers) == (1, 1, 1, 1)
    assert account.failures == []
    assert account.ids == {9: 1}
    assert [(asset, price) for _, asset, price in account.take_prices()] == [("BTC", 71.5)]
    assert account.take_prices() == []


@pytest.mark.parametrize(("second", "said"), [(None, "BTC: no answer"), (REFUSED, "BTC: 503 stale_price")])
def test_a_question_without_a_price_after_two_tries_is_a_failure_with_its_reason(
    second: Reply | None, said: str
) -> None:
    """A refusal is an answer, but no price."""
    account = _asked(REFUSED, second)
    assert account.failures == [said]
    assert account.served == 0
    assert account.refusals["stale_price"] == account.answers


@contextmanager
def _udp_server(host: str, *answers: bytes) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind((host, 0))
        served.settimeout(10)

        def serve() -> None:
            for answer in answers:
                _, asker = served.recvfrom(100)
                served.sendto(answer, asker)

        serving = threading.Thread(target=serve)
        serving.start()
        yield served.getsockname()[1]
        serving.join(10)


def test_an_empty_datagram_is_no_answer_and_the_next_try_has_a_new_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nginx sends it when the node of a session is gone."""
    with _udp_server("127.0.0.1", b"", json.dumps({"price": 1.0}).encode()) as port:
        monkeypatch.setattr(clients, "_UDP_PORT", port)
        way = UdpWay(["127.0.0.1"])
        assert way.ask("BTC", "key") is None
        assert way._socket is None
        reply = way.ask("BTC", "key")
        assert reply is not None
        assert reply.status == http.HTTPStatus.OK
        way.close()
