"""workers/request/udp/frame.py"""

import struct
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trinity.clock import NS_PER_MS
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.limits import COUNTER_WORDS, UDP_ASSETS_MAX, UDP_PAYLOAD_BYTES_MAX
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import ANSWER_DTYPE, ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from workers.request.answer import VERDICT_CODES, make_names, make_record
from workers.request.http.context import make_private_context
from workers.request.udp.frame import (
    FRAME_BAD_REQUEST,
    FRAME_BAD_VERSION,
    FRAME_OK,
    FRAME_PAD_REQUEST,
    answer_frame,
    check_frame,
    is_request_frame,
    write_frame_status,
)

ASSETS, EXCHANGES = ("BTC", "ETH", "SIXTEENLETTERSXY", "NEVER"), ("kraken", "okx")
ASSET_NAMES, EXCHANGE_NAMES = make_names(ASSETS), make_names(EXCHANGES)
NOW_NS = 10**15
# Nobody is asked for what the catalog does not name.
_NOBODY = make_private_context(
    np.zeros(1, dtype=np.uint64),
    load_catalog(),
    np.zeros(COUNTER_WORDS, dtype=np.uint64),
    AccessSection(),
    AccessMemory.private(),
)
BEYOND, GATE, ADDRESS = refer_to(_NOBODY.beyond), refer_to(_NOBODY.gate), np.zeros(2, dtype=np.uint64)
TIMESTAMP_MS = 1_767_225_600_000
NO_AGE = 2**32 - 1


class Reply(NamedTuple):
    magic: bytes
    version: int
    status: int
    count: int
    zero: int
    request_id: int
    time_ms: int


class PriceRecord(NamedTuple):
    price: int
    confidence: int
    age_ms: int
    exponent: int
    confidence_exponent: int
    status: int
    sources: int
    rejected: int


def table(**changes: int) -> NDArray[np.uint64]:
    """Shared words with one good price for every asset but NEVER; `changes` are other values of BTC's answer."""
    words = np.zeros(len(ASSETS) * (1 + len(EXCHANGES)) * ROW_WORDS, dtype=np.uint64)
    for i, name in enumerate(ASSETS[:3]):
        answer = np.zeros(1, dtype=ANSWER_DTYPE)
        fields = {
            "state": AnswerState.GOOD, "valid_until_ns": NOW_NS + 1, "received_at_ns": NOW_NS - 250 * NS_PER_MS,
            "timestamp_ms": TIMESTAMP_MS, "price": 7_100_250 + i, "confidence": 1750, "confidence_milli_bps": 2465,
            "scale": 2, "sources": 5, "rejected": 1, "has_last_good": 1,
        }  # fmt: skip
        for field, value in (fields | changes if name == "BTC" else fields).items():
            answer[field] = value
        publish(words, i * (1 + len(EXCHANGES)) * ROW_WORDS, SLOT_WORDS, answer.view(np.uint64))
    return words


def frame(names: list[bytes], flags: int = 0, min_sources: int = 0, max_age_ms: int = 0, max_conf: int = 0) -> bytes:
    """A request frame as docs/protocol.md has it."""
    head = struct.pack("<4sBBBBQII", b"\xd7TRQ", 1, flags, len(names), min_sources, 2**63 + 7, max_age_ms, max_conf)
    return head + b"".join(name.ljust(16, b"\0") for name in names)


def ask(request: bytes, words: NDArray[np.uint64]) -> tuple[bytes, int, int]:
    """(reply, frame status, lookups); request and reply lie in the middle of larger buffers."""
    buffer = np.frombuffer(b"?" + request + b"?", dtype=np.uint8).copy()
    reply = np.full(2000, 0xEE, dtype=np.uint8)
    end, status, lookups = 3, FRAME_BAD_REQUEST, 0
    if is_request_frame(buffer, 1, 1 + len(request)):
        status = check_frame(buffer, 1, 1 + len(request))
        if status == FRAME_OK:
            record = make_record()
            end, lookups = answer_frame(
                words, record, ASSET_NAMES, EXCHANGE_NAMES, BEYOND, GATE, ADDRESS, buffer, 1, reply, 3, NOW_NS
            )
        else:
            end = write_frame_status(buffer, 1, status, 0, reply, 3)
    assert np.all(reply[end:] == 0xEE)
    return bytes(reply[3:end]), status, lookups


def read(reply: bytes) -> tuple[Reply, list[PriceRecord]]:
    head = Reply(*struct.unpack_from("<4sBBBBQQ", reply))
    assert len(reply) == 24 + 22 * head.count
    return head, [PriceRecord(*fields) for fields in struct.iter_unpack("<qIIbbBBBx", reply[24:])]


@pytest.mark.uncompiled
def test_a_reply_has_a_record_for_each_name_in_the_order_asked() -> None:
    """Known names in any case, unknown ones, one that never had a price, one asked for twice."""
    names = [b"eth", b"NOPE", b"BTC", b"SIXTEENLETTERSXY", b"NEVER", b"", b"BTC"]
    reply, status, lookups = ask(frame(names), table())
    head, records = read(reply)
    assert (status, lookups) == (FRAME_OK, 4), "what has no price costs nothing"
    assert head == Reply(b"\xd7TRA", 1, 0, 7, 0, 2**63 + 7, TIMESTAMP_MS + 250)
    btc = PriceRecord(7_100_250, 1750, 250, -2, -2, 0, 5, 1)
    unknown = PriceRecord(0, 0, NO_AGE, 0, 0, VERDICT_CODES.index("unknown_asset"), 0, 0)
    assert records[0] == btc._replace(price=7_100_251)
    assert records[1] == records[5] == unknown
    assert records[2] == records[6] == btc
    assert records[3] == btc._replace(price=7_100_252)
    assert records[4] == PriceRecord(0, 0, NO_AGE, 0, 0, VERDICT_CODES.index("stale_price"), 0, 0)


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("changes", "limits", "code"),
    [
        ({"state": AnswerState.STALE}, {}, "stale_price"),
        ({"valid_until_ns": NOW_NS}, {}, "stale_price"),
        ({"state": AnswerState.TOO_FEW_SOURCES}, {}, "too_few_sources"),
        ({"state": AnswerState.SOURCES_DISAGREE}, {}, "sources_disagree"),
        ({}, {"max_age_ms": 249}, "price_too_old"),
        ({}, {"min_sources": 6}, "too_few_sources"),
        ({}, {"max_conf": 2464}, "confidence_too_wide"),
    ],
)
def test_a_price_that_is_not_good_enough_is_not_given(
    changes: dict[str, int], limits: dict[str, int], code: str
) -> None:
    """The status says why; the old number is there only for who asks for it, with its age and the same status."""
    records = read(ask(frame([b"BTC", b"ETH"], **limits), table(**changes))[0])[1]
    assert VERDICT_CODES[records[0].status] == code
    assert (records[0].price, records[0].confidence, records[0].age_ms) == (0, 0, 250)
    assert records[0].sources == (0 if changes else 5), "a price that the node does not have stands on nobody"
    records = read(ask(frame([b"BTC", b"ETH"], flags=1, **limits), table(**changes))[0])[1]
    assert VERDICT_CODES[records[0].status] == code
    assert (records[0].price, records[0].exponent, records[0].age_ms) == (7_100_250, -2, 250)
    assert records[1].status == (0 if changes else records[0].status)


@pytest.mark.uncompiled
def test_limits_that_are_met_change_nothing() -> None:
    """Each at its very value."""
    reply, _, _ = ask(frame([b"BTC"], min_sources=5, max_age_ms=250, max_conf=2465), table())
    assert read(reply)[1][0].status == 0


@pytest.mark.uncompiled
def test_the_status_numbers_of_the_wire_do_not_change() -> None:
    """They are part of the protocol."""
    assert VERDICT_CODES == (
        "fresh", "stale_price", "too_few_sources", "sources_disagree", "unknown_market", "price_too_old",
        "too_few_sources", "confidence_too_wide", "unknown_asset", "asset_resolving", "miss_budget_exceeded",
    )  # fmt: skip


@pytest.mark.uncompiled
@settings(max_examples=100)
@given(price=st.integers(1, 10**18 - 1), confidence=st.integers(0, 10**18 - 1), scale=st.integers(0, 18))
def test_a_confidence_of_more_than_32_bits_is_rounded_up(price: int, confidence: int, scale: int) -> None:
    """It keeps at least nine digits and is never narrower than it was; the price is exact."""
    reply, _, _ = ask(frame([b"BTC"]), table(price=price, confidence=confidence, scale=scale))
    record = read(reply)[1][0]
    assert (record.price, record.exponent) == (price, -scale)
    step = 10 ** (record.confidence_exponent + scale)
    assert confidence <= record.confidence * step < confidence + step
    assert step == 1 or record.confidence > 2**32 // 10


@pytest.mark.uncompiled
def test_a_full_frame_is_one_ethernet_packet() -> None:
    """64 assets in, 64 records out."""
    reply, _, lookups = ask(frame([b"BTC"] * UDP_ASSETS_MAX), table())
    assert lookups == UDP_ASSETS_MAX
    assert len(reply) == 24 + 22 * 64 <= UDP_PAYLOAD_BYTES_MAX


GOOD_FRAME = frame([b"BTC", b"ETH"])


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GOOD_FRAME + b"\0" * 40, FRAME_OK),
        (GOOD_FRAME[:4] + b"\x02" + GOOD_FRAME[5:], FRAME_BAD_VERSION),
        (GOOD_FRAME[:5] + b"\x02" + GOOD_FRAME[6:], FRAME_BAD_REQUEST),
        (GOOD_FRAME[:6] + b"\x00" + GOOD_FRAME[7:], FRAME_BAD_REQUEST),
        (GOOD_FRAME[:6] + b"\x41" + GOOD_FRAME[7:] + bytes(16 * 63), FRAME_BAD_REQUEST),
        (GOOD_FRAME[:-1], FRAME_BAD_REQUEST),
        (GOOD_FRAME[:24], FRAME_BAD_REQUEST),
    ],
)
def test_a_frame_that_cannot_be_read_gets_a_header_that_says_why(request_: bytes, status: int) -> None:
    """It echoes the id, holds no record and is no longer than the request."""
    reply, found, _ = ask(request_, table())
    assert found == status
    head, records = read(reply)
    assert (head.magic, head.status, head.request_id) == (b"\xd7TRA", status, 2**63 + 7)
    assert len(records) == (2 if status == FRAME_OK else 0)


@pytest.mark.uncompiled
def test_what_has_not_a_request_header_gets_nothing() -> None:
    """Too short, another magic, and above all a reply."""
    reply = ask(GOOD_FRAME, table())[0]
    for request in (GOOD_FRAME[:23], b"\xd7TRX" + GOOD_FRAME[4:], b"\xd7xRQ" + GOOD_FRAME[4:], reply):
        assert ask(request, table()) == (b"", FRAME_BAD_REQUEST, 0)


@pytest.mark.uncompiled
def test_a_bare_status_is_a_header() -> None:
    """As it is sent for `pad_request`."""
    reply = np.zeros(30, dtype=np.uint8)
    end = write_frame_status(np.frombuffer(GOOD_FRAME, dtype=np.uint8).copy(), 0, FRAME_PAD_REQUEST, 0, reply, 0)
    assert read(bytes(reply[:end])) == (Reply(b"\xd7TRA", 1, FRAME_PAD_REQUEST, 0, 0, 2**63 + 7, 0), [])


@pytest.mark.uncompiled
@settings(max_examples=200)
@given(noise=st.binary(max_size=80), keep=st.integers(0, 40))
def test_random_bytes_never_raise(noise: bytes, keep: int) -> None:
    """Behind every beginning of a good frame; a reply is as long as its count says."""
    reply, status, _ = ask(GOOD_FRAME[:keep] + noise, table())
    assert reply == b"" or read(reply)[0].status == status
