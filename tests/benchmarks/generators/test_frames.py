"""The binary frames as the load generator makes and checks them."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generators import checks
from benchmarks.generators.frames import FrameMemory, check_frame, id_of_reply, request_frame, write_id

RECORDS = [(7_100_250, 20, 5, -2, 0, 5, 0), (350_012, 9, 40, -2, 0, 4, 1)]


def reply_frame(request_id: int, time_ms: int, records: list[tuple[int, ...]], status: int = 0) -> bytes:
    """A reply written from the protocol's text: mantissa, confidence, age, exponent, status, sources, rejected."""
    head = struct.pack("<4sBBBBQQ", b"\xd7TRA", 1, status, len(records), 0, request_id, time_ms)
    bodies = [
        struct.pack("<qIIbbBBBB", mantissa, confidence, age, exponent, exponent, state, sources, rejected, 0)
        for mantissa, confidence, age, exponent, state, sources, rejected in records
    ]
    return head + b"".join(bodies)


def _check(reply: bytes, count: int = 2, memory: FrameMemory | None = None) -> int:
    known = memory or FrameMemory(2)
    octets = np.frombuffer(reply, dtype=np.uint8)
    return check_frame(octets, len(reply), count, known.last_times, known.last_prices)


@pytest.mark.uncompiled
def test_a_right_frame_passes_again_and_again() -> None:
    """Records with fresh prices pass, also when the age grows and the time with it."""
    memory = FrameMemory(2)
    for later in (0, 1, 500):
        records = [(mantissa, c, age + later, *rest) for mantissa, c, age, *rest in RECORDS]
        assert _check(reply_frame(9, 1_760_000_000_000 + later, records), memory=memory) == -1


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (reply_frame(1, 2_000, RECORDS, status=1), checks.REFUSED),
        (reply_frame(1, 2_000, [RECORDS[0], (0, 0, 5, 0, 1, 0, 0)]), checks.REFUSED),
        (reply_frame(1, 2_000, [RECORDS[0], (0, 0, 5, 0, 0, 5, 0)]), checks.NO_PRICE),
        (reply_frame(1, 2_000, [RECORDS[0], (5, 0, 2**32 - 1, 0, 0, 5, 0)]), checks.NO_PRICE),
        (reply_frame(1, 2_000, RECORDS[:1]), checks.NOT_AN_ANSWER),
        (reply_frame(1, 2_000, RECORDS) + b"x", checks.NOT_AN_ANSWER),
        (reply_frame(1, 2_000, RECORDS[::-1]), checks.WRONG_ASSET),
        (reply_frame(1, 900, RECORDS), checks.TIME_WENT_BACK),
    ],
)
def test_each_lie_in_a_frame_is_named(reply: bytes, fault: int) -> None:
    """A refused, empty, short, long, mixed-up or old frame each has its own fault."""
    memory = FrameMemory(2)
    assert _check(reply_frame(0, 31_000, RECORDS), memory=memory) == -1
    assert _check(reply, memory=memory) == fault


@pytest.mark.uncompiled
@settings(max_examples=50, deadline=None)
@given(request_id=st.integers(0, 2**63 - 1))
def test_ids_are_written_and_read_back(request_id: int) -> None:
    """An id put into a request stands at byte 8, little-endian, and comes back out of a reply."""
    request = np.frombuffer(request_frame(["BTC", "ETH"]), dtype=np.uint8).copy()
    write_id(request, 0, request_id)
    assert request.tobytes() == request_frame(["BTC", "ETH"], request_id)
    reply = reply_frame(request_id, 1, RECORDS)
    assert id_of_reply(np.frombuffer(reply, dtype=np.uint8), len(reply)) == request_id


@pytest.mark.uncompiled
@pytest.mark.parametrize("reply", [b"", b"\xd7TRA", b"\xd7TRQ" + b"\0" * 30, b'{"error":{"code":"bad_request"}}'])
def test_what_is_no_reply_frame_has_no_id(reply: bytes) -> None:
    """Short datagrams, requests and JSON are told from a reply frame."""
    assert id_of_reply(np.frombuffer(reply, dtype=np.uint8), len(reply)) == -1
