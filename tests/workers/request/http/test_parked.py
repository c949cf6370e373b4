"""workers/request/http/parked.py; on real sockets: test_waiting.py."""

from typing import Any

import numpy as np
import pytest

from tests.workers.request.beyond_desk import Desk
from trinity.compiled import jit_enabled, refer_to
from trinity.limits import HEAD_BYTES_MAX, MISS_MAX_NS
from trinity.native.octets import octets_of
from workers.request.beyond import NEVER_NS, NEXT_NS, WAITS, parked_count
from workers.request.http import parse, routes, slots
from workers.request.http.parked import end_request, is_waiting, park, wait_parked

pytestmark = [
    pytest.mark.uncompiled,
    pytest.mark.skipif(jit_enabled(), reason="the loop that calls these is what is compiled: test_waiting.py"),
]

PEPE = b"GET /price?asset=PEPE HTTP/1.1\r\nHost: x\r\n\r\n"


class Line:
    """One connection of a desk, whose bytes are in its slot."""

    def __init__(self, request: bytes = PEPE, behind: bytes = b"") -> None:
        self.desk = Desk()
        self.at = slots.make_connections(0, self.desk.context, 2)
        self.at.table[1, slots.FD] = 99
        raw = octets_of(request + behind)
        context = self.desk.context
        assert parse.parse_head(raw, 0, raw.size, context.head) == parse.REQUEST
        routes.answer_request(refer_to(context), raw, False, self.desk.now_ns, self.desk.out, 0)
        assert self.desk.beyond.state[WAITS] == 1
        park(self.at, context, 1, 0, self.desk.now_ns)
        self.at.inputs[HEAD_BYTES_MAX : HEAD_BYTES_MAX + raw.size] = raw
        self.at.table[1, slots.KEPT] = raw.size
        self.place = int(self.at.parks[1]) - 1

    def end(self) -> Any:
        assert end_request(self.at, self.desk.context, self.place, self.desk.now_ns + 5) == self.desk.now_ns
        return self.at.table[1]


def test_what_stands_behind_a_request_is_served_next() -> None:
    """The answered bytes go, the rest moves to the front, and the connection has a request's time again."""
    line = Line(behind=b"GET /asse")
    assert wait_parked(line.at, 1, line.desk.now_ns)
    assert line.at.table[1, slots.PHASE] == slots.PARKED
    row = line.end()
    assert (row[slots.KEPT], row[slots.PHASE], row[slots.ENDING]) == (9, slots.HEAD, slots.STAYS)
    assert bytes(line.at.inputs[HEAD_BYTES_MAX : HEAD_BYTES_MAX + 9]) == b"GET /asse"
    assert not wait_parked(line.at, 1, line.desk.now_ns)


@pytest.mark.parametrize(
    ("header", "behind", "draining", "ending"),
    [
        (b"", b"", 0, slots.STAYS),
        (b"Connection: close\r\n", b"", 0, slots.CLOSES),
        (b"Connection: close\r\n", b"GET", 0, slots.LINGERS),
        (b"", b"", 1, slots.LINGERS),
    ],
)
def test_a_connection_ends_behind_its_answer_as_any_other(
    header: bytes, behind: bytes, draining: int, ending: int
) -> None:
    """Closed at once where nothing can be lost by it."""
    line = Line(PEPE[:-2] + header + b"\r\n", behind)
    line.at.state[slots.DRAINING] = draining
    assert line.end()[slots.ENDING] == ending


def test_a_place_whose_client_is_gone_is_free_again() -> None:
    """Also where its slot has another request that waits by then."""
    line = Line()
    line.at.parks[1] = 0
    assert not is_waiting(line.at, line.desk.context, line.place)
    assert parked_count(line.desk.beyond) == 0
    line = Line()
    line.at.parks[1] = line.place + 2
    assert not is_waiting(line.at, line.desk.context, line.place)
    assert parked_count(line.desk.beyond) == 0


def test_a_client_that_does_not_take_its_answers_keeps_its_place() -> None:
    """What came before goes out first; its deadline stands."""
    line = Line()
    line.at.table[1, slots.PHASE] = slots.STALLED
    line.desk.beyond.state[NEXT_NS] = NEVER_NS
    assert not is_waiting(line.at, line.desk.context, line.place)
    assert int(line.desk.beyond.state[NEXT_NS]) == line.desk.now_ns + MISS_MAX_NS
    assert wait_parked(line.at, 1, line.desk.now_ns)
    assert is_waiting(line.at, line.desk.context, line.place)
    assert np.count_nonzero(line.at.parks) == 1
