"""Response heads: dates, request ids, and h11's opinion of every error."""

import datetime
import json

import h11
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.memory.record_ring import RELEASED, WRITTEN
from trinity.memory.usage_ring import append_record, private_ring
from trinity.native.octets import octets_of
from trinity.vocabulary import HTTP_STATUSES
from workers.request.http import parse as http1
from workers.request.http import response

pytestmark = pytest.mark.uncompiled


def parse(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """The one response in `raw` as h11 reads it as a client; fails when it is none or more follows."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return head, body


@given(st.integers(0, 253_402_300_799))
def test_the_date_is_the_one_that_the_library_writes(seconds: int) -> None:
    """Every second until the year 9999, leap years included, is written as RFC 9110 wants it."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    stamp = response.make_stamp(private_ring(0, 1))
    response.write_date(stamp.octets, seconds)
    assert f"Date: {when:%a, %d %b %Y %H:%M:%S} GMT\r\n".encode() in bytes(stamp.octets)


@given(st.integers(0, 127), st.integers(0, 2**56 - 1))
def test_the_request_id_is_that_of_the_next_usage_record_in_16_digits(worker: int, position: int) -> None:
    """Every id is written as the library writes it, in both halves and with all letters."""
    ring = private_ring(worker, 1)
    ring[WRITTEN] = ring[RELEASED] = position
    stamp, out = response.make_stamp(ring), np.zeros(200, dtype=np.uint8)
    end = response.append_head_end(stamp, response.CONNECTION_SILENT, out, 0)
    shown = bytes(out[:end]).split(b"X-Request-Id: ")[1].split(b"\r\n")[0]
    assert shown == f"{worker << 56 | position:016x}".encode()


def test_an_answer_without_a_record_has_an_id_of_its_own() -> None:
    """While the ring is full an id begins with 8 to f, which no record's does, and differs from answer to answer."""
    ring = private_ring(3, 1)
    stamp, out = response.make_stamp(ring), np.zeros(200, dtype=np.uint8)
    nothing = np.zeros(2, dtype=np.uint64)
    ids = []
    for _ in range(3):
        response.append_head_end(stamp, response.CONNECTION_SILENT, out, 0)
        ids.append(bytes(out).split(b"X-Request-Id: ")[1][:16])
        append_record(ring, 0, nothing, nothing, 0, 0, 200, 0, 0, 0, 0)
    assert ids == [b"0300000000000000", b"8300000000000000", b"8300000000000001"]


@pytest.mark.parametrize("error", range(len(response.ERRORS)))
def test_every_error_is_a_whole_json_response(error: int) -> None:
    """Status, code and text are those of the table; h11 finds the length right."""
    status, code, message, field = response.ERRORS[error]
    body, out = np.zeros(400, dtype=np.uint8), np.zeros(1000, dtype=np.uint8)
    length = response.write_error(error, body)
    stamp = response.make_stamp(private_ring(0, 1))
    end = response.append_response(
        response.error_status(error), body, length, True, stamp, response.CONNECTION_CLOSED, out, 0
    )
    head, read = parse(bytes(out[:end]))
    headers = dict(head.headers)
    assert head.status_code == status
    assert json.loads(read)["error"] == {"code": code, "message": message} | ({"field": field} if field else {})
    assert headers[b"connection"] == b"close"
    assert headers[b"cache-control"] == b"no-store"
    assert (headers.get(b"allow") is not None) == (status == 405)
    assert headers.get(b"www-authenticate") == (b"Bearer" if status == 401 else None)
    assert end - length <= response.HEAD_BYTES_MAX


def test_an_answer_to_head_has_the_length_and_not_the_body() -> None:
    """HEAD gets every header of GET and no byte behind them."""
    stamp, out = response.make_stamp(private_ring(0, 1)), np.zeros(1000, dtype=np.uint8)
    end = response.append_response(
        response.STATUS_OK, octets_of(b"{}"), 2, False, stamp, response.CONNECTION_KEPT, out, 0
    )
    head, body = parse(bytes(out[:end]), "HEAD")
    assert body == b""
    assert dict(head.headers)[b"content-length"] == b"2"
    assert dict(head.headers)[b"connection"] == b"keep-alive"


def test_options_is_answered_for_browsers() -> None:
    """204 with what a preflight request asks for, without a length."""
    out = np.zeros(1000, dtype=np.uint8)
    end = response.append_no_content(response.make_stamp(private_ring(0, 1)), response.CONNECTION_SILENT, out, 0)
    head, body = parse(bytes(out[:end]), "OPTIONS")
    headers = dict(head.headers)
    assert (head.status_code, body) == (204, b"")
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"GET" in headers[b"access-control-allow-methods"]
    assert b"content-length" not in headers


def test_every_status_that_can_be_answered_is_counted() -> None:
    """All statuses of the error table are declared in the metrics."""
    assert {str(problem.status) for problem in response.ERRORS} <= set(HTTP_STATUSES)
    assert response.ERRORS[: len(http1.REFUSALS)] == http1.REFUSALS
