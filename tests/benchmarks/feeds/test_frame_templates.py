"""Prepared frames are read by the node's own decoders as the quotes that they say they are."""

import json
import random
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.feeds.frame_templates import (
    FIRST_SEQUENCE,
    PROBE,
    Prepared,
    Prices,
    mantissa_of,
    patch,
    places_in,
    renumbered,
    write_calendar,
    write_digits,
)
from trinity.clock import NS_PER_SECOND

pytestmark = pytest.mark.uncompiled

WALL_NS = 1_795_946_880_123_456_789
LATER_NS = WALL_NS + 86_400 * NS_PER_SECOND + 111_111_111
TEXT = (
    '{"channel":"ticker","timestamp":"2026-11-29T10:08:00.123456789Z","sequence_num":1000000007,"t":1795946880123,'
    '"E":1795946880123456789,"s":1795946880,"u":40013503861,"b":"85851.21000","a":"85851.26","h":"185851.21","c":85851.23}'
)
PRICES = Prices("85851.21", "85851.23", "85851.26")


def _patched(text: str, is_probe: bool, prices: Prices, turn: int = 0, number: int = 0) -> tuple[str, int]:
    prepared = Prepared.of([(0, '{"before":"1"}', []), (0, text, places_in(text, prices, WALL_NS, is_probe))])
    taken = patch(prepared, 1, LATER_NS, turn, number, FIRST_SEQUENCE + 8)
    before, patched = prepared.texts()
    assert before == '{"before":"1"}'
    assert len(patched) == len(text)
    return patched, taken


@pytest.mark.parametrize("turn", [0, 1, 2, 3, 1_000_001])
def test_prices_times_and_the_sequence_number_are_overwritten_and_nothing_else(turn: int) -> None:
    """In each form in which an exchange writes them; what only looks like one of them stands."""
    patched, taken = _patched(TEXT, False, PRICES, turn)
    message = json.loads(patched)
    assert taken == 1
    assert message == json.loads(TEXT) | {
        "timestamp": "2026-11-30T10:08:00.234567900Z",
        "sequence_num": FIRST_SEQUENCE + 8,
        "t": LATER_NS // 10**6,
        "E": LATER_NS,
        "s": LATER_NS // 10**9,
        "b": f"85851.2{1 + turn % 3}000",
        "a": f"85851.2{6 + turn % 3}",
        "c": float(f"85851.2{3 + turn % 3}"),
    }


@pytest.mark.parametrize("number", [0, 1, 12_345, 99_999])
def test_a_frame_of_the_probe_has_a_price_of_its_own(number: int) -> None:
    """The middle of its book tells its number."""
    text = f'{{"symbol":"{PROBE}/USD","bid":100.0000,"ask":100.0002,"last":100.0001}}'
    patched, _ = _patched(text, True, Prices("100.0000", "100.0001", "100.0002"), 0, number)
    bid, ask, last = (round(json.loads(patched)[field] * 10_000) for field in ("bid", "ask", "last"))
    assert (bid, last, ask) == (mantissa_of(number) - 1, mantissa_of(number), mantissa_of(number) + 1)


def test_a_text_has_the_next_sequence_number_where_it_has_one() -> None:
    """Whoever says it: frames that were prepared and others count as one row."""
    assert renumbered('{"sequence_num":7,"x":1}', 1_000_000_012) == ('{"sequence_num":1000000012,"x":1}', 1_000_000_013)
    assert renumbered('{"x":7}', 5) == ('{"x":7}', 5)


@given(st.integers(0, 2**63 // NS_PER_SECOND - 1), st.integers(0, 999_999_999), st.integers(1, 9))
def test_a_calendar_time_is_that_of_the_library(seconds: int, rest_ns: int, width: int) -> None:
    """From 1970 to the year 2262, which is what 64 bits of nanoseconds hold, with any number of digits."""
    octets = np.frombuffer(bytearray(b"0000-00-00T00:00:00.000000000Z"), dtype=np.uint8)
    write_calendar(octets, 0, width, seconds * NS_PER_SECOND + rest_ns)
    expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    written = octets.tobytes().decode()
    assert written[: 20 + width].lstrip("0") == f"{expected}.{f'{rest_ns:09d}'[:width]}".lstrip("0")


@given(st.integers(0, 10**18), st.integers(1, 19))
def test_digits_are_the_last_ones(value: int, width: int) -> None:
    """A number that is too long loses its front, one that is short has zeros there."""
    octets = np.full(width + 2, ord("x"), dtype=np.uint8)
    write_digits(octets, 1, width, value)
    assert octets.tobytes().decode() == f"x{f'{value:0{width}d}'[-width:]}x"


def test_frames_are_web_socket_frames_of_any_length() -> None:
    """As a foreign implementation reads them: short ones, and those whose length has two bytes."""
    from websockets.client import ClientProtocol
    from websockets.protocol import OPEN
    from websockets.uri import parse_uri

    random.seed(1)
    texts = ["x" * length for length in (1, 125, 126, 300, 4_000)]
    prepared = Prepared.of([(number % 2, text, []) for number, text in enumerate(texts)])
    client = ClientProtocol(parse_uri("ws://localhost"), state=OPEN)
    client.receive_data(prepared.octets.tobytes())
    assert [bytes(event.data).decode() for event in client.events_received()] == texts  # type: ignore[union-attr]
    assert prepared.connections.tolist() == [0, 1, 0, 1, 0]
    assert list(prepared.texts()) == texts
    assert not re.search("[^x]", "".join(prepared.texts()))
