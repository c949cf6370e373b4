"""Datagrams over real sockets: the client and raw bytes against a forked request worker."""

import random
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from trinity.client import Client, Via, encode
from trinity.limits import UDP_REQUEST_BYTES_MAX

HOST = "127.0.0.1"
RESULTS = ("answered", "error", "dropped")


def client_of(worker: Any) -> Client:
    return Client(HOST, worker.ports.tcp_port_lpo, worker.ports.udp_port_lpo, timeout=20)


def counts(worker: Any) -> list[int]:
    return [worker.counter("udp_datagrams_total", result) for result in RESULTS]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("via", ["http", "text", "binary"])
async def test_the_client_reads_the_same_price_over_every_protocol(worker: Any, via: Via) -> None:
    """Blocking and asyncio; one asset that is unknown or unmet never fails the others."""
    client = client_of(worker)
    for prices in (
        client.prices("BTC", "NOPE", "doge", via=via),
        await client.prices_async("BTC", "NOPE", "doge", via=via),
    ):
        assert [price["status"] for price in prices] == ["fresh", "unknown_asset", "stale_price"]
        assert (prices[0]["price"], prices[0]["confidence"]) == (Decimal("71002.5"), Decimal("17.5"))
        assert [price["asset"].upper() for price in prices] == ["BTC", "NOPE", "DOGE"]
    unmet = client.prices("BTC", via=via, max_conf_bps=2.464)
    assert [price["status"] for price in unmet] == ["confidence_too_wide"]
    assert "price" not in unmet[0]


def test_every_datagram_is_counted_by_its_result(worker: Any) -> None:
    """Answered, refused, too long, not a request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((HOST, worker.ports.udp_port_lpo))
        udp.settimeout(10)
        for request, replied in (
            (b"BTC", True),
            (b"BTC,,", True),
            (b"x" * (UDP_REQUEST_BYTES_MAX + 1), False),
            (b"\xd7", False),
            (b'{"error":1}', False),
            (b"ETH".ljust(UDP_REQUEST_BYTES_MAX), True),
        ):
            udp.send(request)
            if replied:
                assert udp.recv(65535).startswith(b"{")
        wait_for(lambda: counts(worker) == [2, 1, 3])
    assert worker.counter("lookups_total") == 2
    assert worker.counter("internal_errors_total") == 0


def test_noise_costs_the_worker_nothing(worker: Any) -> None:
    """Thousands of mutated requests: no internal error, and the next lookup is right."""
    chance = random.Random(1)
    seeds = [b"BTC,ETH@kraken key=k", encode("text", ("BTC",), {}, 7), encode("binary", ("BTC", "ETH"), {}, 7)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for sent in range(1, 5001):
            noise = bytearray(chance.choice(seeds))
            for _ in range(chance.randint(1, 4)):
                noise[chance.randrange(min(len(noise), 60))] = chance.randrange(256)
            udp.sendto(noise, (HOST, worker.ports.udp_port_lpo))
            if sent % 500 == 0:  # less than the socket's queue holds
                wait_for(lambda sent=sent: sum(counts(worker)) == sent)
    assert worker.counter("internal_errors_total") == 0
    assert client_of(worker).prices("ETH", via="binary")[0]["price"] == Decimal("71002.5")
