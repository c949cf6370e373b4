"""workers/request/http/price_routes.py; the forms of its answers: test_routes.py, waiting: test_beyond.py."""

import numpy as np
import pytest

from tests.workers.request.beyond_desk import Asked, Desk, parsed
from trinity.compiled import refer_to
from workers.request.beyond import begin_again, end_again
from workers.request.http.parse import HEAD_WORDS, KEEP_ALIVE, MINOR_VERSION
from workers.request.http.price_routes import answer_again, connection_of
from workers.request.http.response import CONNECTION_CLOSED, CONNECTION_KEPT, CONNECTION_SILENT

pytestmark = pytest.mark.uncompiled


def resume(desk: Desk, asked: Asked, last: bool) -> bytes:
    assert begin_again(refer_to(desk.beyond), refer_to(desk.context.gate), asked.place, desk.now_ns)
    end = answer_again(refer_to(desk.context), asked.raw, 100, asked.place, last, desk.now_ns, desk.out, 0)
    assert end_again(refer_to(desk.beyond), asked.place)
    return bytes(desk.out[:end])


@pytest.mark.parametrize(
    ("version", "last", "said"), [("1.1", False, None), ("1.1", True, "close"), ("1.0", False, "close")]
)
def test_an_answer_that_waited_ends_its_connection_as_it_would_have(version: str, last: bool, said: str | None) -> None:
    """What the client and the worker wish of the connection holds; other requests came between."""
    desk = Desk()
    asked = desk.get("/price?asset=PEPE&min_sources=2&exchange=kraken", version=version)
    assert isinstance(asked, Asked)
    desk.get("/prices?assets=BTC,ETH&max_age_ms=5")
    desk.resolve("PEPE")
    status, headers, body = parsed(resume(desk, asked, last))
    assert (status, body["status"], headers.get("Connection")) == (503, "too_few_sources", said)


@pytest.mark.parametrize(
    ("keep_alive", "minor", "last", "said"),
    [
        (1, 1, False, CONNECTION_SILENT),
        (1, 0, False, CONNECTION_KEPT),
        (1, 1, True, CONNECTION_CLOSED),
        (0, 1, False, CONNECTION_CLOSED),
    ],
)
def test_a_connection_stays_where_both_wish_it(keep_alive: int, minor: int, last: bool, said: int) -> None:
    """HTTP/1.0 is told so."""
    head = np.zeros(HEAD_WORDS, dtype=np.int64)
    head[KEEP_ALIVE], head[MINOR_VERSION] = keep_alive, minor
    assert connection_of(head, last) == said
