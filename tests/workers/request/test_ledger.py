"""Usage records as the routes leave them."""

import ipaddress
from typing import Any

import numpy as np
import pytest

from trinity.compiled import refer_to
from trinity.memory.answer_table import SLOT_WORDS
from trinity.memory.cell import publish
from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES
from workers.request import ledger
from workers.request.forwarded import set_peer
from workers.request.http import parse, response, routes
from workers.request.http.context import response_bytes_max

pytestmark = pytest.mark.uncompiled

NOW = 10**18


@pytest.fixture(scope="module")
def private(make_private: Any, make_answer: Any) -> Any:
    made = make_private()
    publish(made.words, 0, SLOT_WORDS, make_answer("BTC", valid_until_ns=NOW + 1).view(np.uint64))
    set_peer(made.context.caller, address_words("2001:db8::7"), 0)
    return made


def ask(private: Any, target: str, method: str = "GET") -> bytes:
    buffer = octets_of(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert parse.parse_head(buffer, 0, buffer.size, private.context.head) == parse.REQUEST
    out = np.zeros(response_bytes_max(private.context), dtype=np.uint8)
    return bytes(out[: routes.answer_request(refer_to(private.context), buffer, False, NOW, out, 0)])


@pytest.mark.parametrize(
    ("target", "method", "asset", "assets", "status", "source", "code"),
    [
        ("/price?asset=btc", "GET", b"BTC", 1, 200, "consensus", "ok"),
        ("/price?asset=BTC", "HEAD", b"BTC", 1, 200, "consensus", "ok"),
        ("/price?asset=BTC&exchange=okx", "GET", b"BTC", 1, 503, "okx", "stale_price"),
        ("/price?asset=BTC&min_sources=9", "GET", b"BTC", 1, 503, "consensus", "too_few_sources"),
        ("/price?asset=DOGE", "GET", b"DOGE", 1, 503, "consensus", "stale_price"),
        ("/price?asset=NOPE", "GET", b"", 1, 404, "consensus", "unknown_asset"),
        ("/prices", "GET", b"", 1, 200, "consensus", "ok"),
        ("/prices?assets=eth", "GET", b"ETH", 0, 200, "consensus", "ok"),
        ("/prices?assets=BTC,nope,btc", "GET", b"", 2, 200, "consensus", "ok"),
        ("/prices?assets=BTC,nope&exchange=kraken", "GET", b"", 0, 200, "kraken", "ok"),
        ("/prices?assets=,", "GET", b"", 0, 400, "none", "bad_parameter"),
        ("/price?asset=BTC&x=1", "GET", b"", 0, 400, "none", "bad_parameter"),
        ("/price", "GET", b"", 0, 400, "none", "missing_asset"),
        ("/price?asset=BTC&exchange=nyse", "GET", b"", 0, 404, "none", "unknown_exchange"),
        ("/assets", "GET", b"", 0, 200, "none", "ok"),
        ("/health", "GET", b"", 0, 200, "none", "ok"),
        ("/price", "OPTIONS", b"", 0, 204, "none", "ok"),
        ("/nothing", "GET", b"", 0, 404, "none", "unknown_path"),
        ("/price", "POST", b"", 0, 405, "none", "method_not_allowed"),
    ],
)
def test_every_answer_leaves_one_record_that_says_what_it_was(
    private: Any, target: str, method: str, asset: bytes, assets: int, status: int, source: str, code: str
) -> None:
    """Time, request id as shown, address, asset, prices that cost, status, protocol, source, code, latency."""
    private.context.ledger.tally[ledger.WALL_OFFSET_NS] = 500
    shown = int(ask(private, target, method).split(b"X-Request-Id: ")[1][:16], 16)
    found = private.record(NOW, NOW + 1234)
    assert (found["time_ns"], found["request_id"], found["latency_ns"]) == (NOW + 500, shown, 1234)
    assert ipaddress.ip_address(found["address"].tobytes()) == ipaddress.ip_address("2001:db8::7")
    assert (found["asset"], found["assets"], found["key_id"]) == (asset, assets, 0)
    assert (found["status"], PROTOCOLS[found["protocol"]]) == (status, "http")
    assert (SOURCES[found["source"]], CODES[found["code"]]) == (source, code)


@pytest.mark.parametrize(
    "error", [*range(len(parse.REFUSALS)), response.REQUEST_TIMEOUT, response.TOO_MANY_CONNECTIONS]
)
def test_what_is_no_request_leaves_a_record_too(private: Any, error: int) -> None:
    """Parser refusals, time-outs and full workers; nothing of the answer before stays in it."""
    ask(private, "/price?asset=BTC")
    out = np.zeros(2000, dtype=np.uint8)
    routes.refuse(private.context, error, out, 0)
    found = private.record()
    status, code, *_ = response.ERRORS[error]
    assert (found["status"], CODES[found["code"]], found["asset"], found["assets"]) == (status, code, b"", 0)
    assert found["request_id"] == int(bytes(out).split(b"X-Request-Id: ")[1][:16], 16)


def test_a_full_ring_is_said_and_stops_nothing(make_private: Any) -> None:
    """The answer is made as before; the ring counts what it refused."""
    private = make_private()
    for _ in range(private.ring.capacity):
        private.record()
    assert ask(private, "/health").startswith(b"HTTP/1.1 200 OK")
    assert not ledger.record(private.context.ledger, private.context.caller, 0, 0)
    assert (private.ring.refused, private.ring.written - private.ring.released) == (1, private.ring.capacity)


def test_a_clock_that_seems_to_run_backwards_gives_no_latency(private: Any) -> None:
    """Never a number of four seconds out of a negative one."""
    ask(private, "/health")
    assert private.record(NOW, NOW - 5)["latency_ns"] == 0
